"""Data for passes in tests: a model runs on each batch in ONNX Runtime."""

from __future__ import annotations

from graphopt.ir import clone_model
from graphopt.transforms.pruning.joined import cut_to
from tests.transforms.pruning.zeroing import run_model

__all__ = ["Batches"]


class Batches:
    """A calibration source of a few batches, each a dictionary of arrays by input."""

    def __init__(self, *batches) -> None:
        self.batches = batches

    def observe(self, model, observers):
        cut = clone_model(model)
        cut_to(cut, observers.keys())
        for batch in self.batches:
            found = {**run_model(cut, batch), **batch}
            for name, observer in observers.items():
                observer.observe(found[name])
        return len(self.batches)

    def ranges(self, model, names):
        raise NotImplementedError("no pruning pass asks for ranges")

    def forget(self, name) -> None:
        """Nothing is remembered."""
