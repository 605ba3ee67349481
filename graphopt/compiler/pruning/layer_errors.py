"""How far the output of each layer is from what the layer gave before, where channels are missing too: those that are left are compared.

Both models see the same few held-out examples; errors of the layers before are part of what a layer reads, as in use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.environment import Environment
from graphopt.compiler.pruning.trials import Trial
from graphopt.ir import Array, Model, dim_product
from graphopt.runtime.base import Feeds

__all__ = ["layer_errors", "outputs_of_layers"]

#: What is kept of the outputs of all layers, and examples that are looked at.
_MOST_BYTES: Final = 128 << 20
_MOST_EXAMPLES: Final = 8


def outputs_of_layers(
    environment: Environment, model: Model, layers: Mapping[str, str], feeds: Feeds, sized: Model, *, batched: bool
) -> tuple[dict[str, Array], Feeds]:
    """What some layers give, and the examples of a batch that were looked at: as many as there is room for.

    Args:
        environment: runs the model.
        model: it.
        layers: names of their outputs, by name of the layer.
        feeds: a batch.
        sized: the model with the sizes that this batch has.
        batched: whether the batch can be cut along the first axis of each input.
    """
    wanted = set(layers.values())
    sizes = [
        dim_product(value.shape) for value in sized.graph.values() if value.name in wanted and value.shape is not None
    ]
    room = sum(4 * size for size in sizes if isinstance(size, int))
    examples = max((len(array) for array in feeds.values() if isinstance(array, np.ndarray) and array.ndim), default=1)
    fits = max(1, min(_MOST_EXAMPLES, int(_MOST_BYTES / max(room / max(examples, 1), 1))))
    if batched:
        feeds = {name: array[:fits] if isinstance(array, np.ndarray) else array for name, array in feeds.items()}
    seen = {name: _Kept() for name in wanted}
    Batches(environment, lambda: [feeds]).observe(model, seen)
    return {name: item.array for name, item in seen.items() if item.array is not None}, feeds


class _Kept:
    """Keeps what it saw last."""

    def __init__(self) -> None:
        self.array: Array | None = None

    def observe(self, array: Array) -> None:
        """Keep a copy."""
        self.array = np.array(array)


class _Compared:
    """Compares what it sees with what was there before."""

    def __init__(self, name: str, expected: Array, trial: Trial) -> None:
        self._name, self._expected, self._trial = name, expected, trial
        self.db: float | None = None

    def observe(self, array: Array) -> None:
        """Work out the ratio of signal to noise."""
        reference = self._trial.reference
        expected = self._expected if reference is None else reference.left(self._name, self._expected)
        if expected.shape != array.shape:
            return
        wide = expected.astype(np.float64)
        noise, signal = float(np.sum((array.astype(np.float64) - wide) ** 2)), float(np.sum(wide * wide))
        if not noise:
            self.db = math.inf
        elif signal and math.isfinite(noise):
            self.db = 10 * math.log10(signal / noise)
        else:
            self.db = -math.inf


def layer_errors(
    environment: Environment, trial: Trial, layers: Mapping[str, str], before: Mapping[str, Array], feeds: Feeds
) -> dict[str, float]:
    """SQNR of the output of each layer in dB, by name of the layer; those that can't be compared are missing.

    Args:
        environment: runs the model.
        trial: a model that was pruned.
        layers: names of their outputs, by name of the layer.
        before: what they gave.
        feeds: for these examples.
    """
    assert trial.model is not None, "what failed is not compared"
    there = {value.name for value in trial.model.graph.values()}
    seen = {name: _Compared(name, array, trial) for name, array in before.items() if name in there}
    if not seen:
        return {}
    Batches(environment, lambda: [feeds]).observe(trial.model, seen)
    found = {layer: seen[name].db for layer, name in layers.items() if name in seen}
    return {layer: db for layer, db in found.items() if db is not None}
