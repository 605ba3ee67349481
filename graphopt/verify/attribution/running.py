"""Both models, run slice by slice: the part that lives in the child process. Only statistics leave it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.frontends.onnx import lift
from graphopt.ir import DType
from graphopt.runtime.base import Datum, Feeds, Runner
from graphopt.verify.attribution.exposing import ExposedModel
from graphopt.verify.attribution.result import LayerError
from graphopt.verify.attribution.statistics import measure
from graphopt.verify.feeds import find_samples
from graphopt.verify.hints import model_hints
from graphopt.verify.user_inputs import check_inputs, load_inputs

__all__ = ["LayerRuns", "Measured"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured at one pair of values; ``error`` is ``None`` where a value is no tensor."""

    dtype: str
    shape: tuple[int, ...]
    error: LayerError | None


class LayerRuns:
    """Two models that run on the same inputs, ONNX Runtime's optimizer off.

    Args:
        before: path of the first model.
        after: path of the other.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        seed: of drawn inputs.
        threads: within an operator, ``None`` for all cores.
        folder: for temporary files; whoever made it removes it, since this process may be ended.

    Raises:
        ExecutionError: if the inputs do not fit, or the first model runs on nothing.
    """

    def __init__(
        self, before: str, after: str, inputs: str | Feeds | None, seed: int, threads: int | None, folder: str
    ) -> None:
        folders = [os.path.join(folder, name) for name in ("before", "after")]
        for place in folders:
            os.mkdir(place)
        self._before = ExposedModel(before, folders[0], threads)
        with self._before.open(self._before.outputs) as runner:
            self._feeds, self.inputs = _feeds(before, runner, inputs, seed)
        self._after = ExposedModel(after, folders[1], threads)

    def sizes(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[bool, int | None]]:
        """For each pair of values whether both models give it out, and bytes of both together, ``None`` where unknown."""
        mine = self._sizes(self._before, [name for name, _ in pairs])
        theirs = self._sizes(self._after, [name for _, name in pairs])
        found = []
        for one, other in pairs:
            known = one in mine and other in theirs
            a, b = mine.get(one), theirs.get(other)
            found.append((known, None if a is None or b is None else a + b))
        return found

    def _sizes(self, model: ExposedModel, names: Sequence[str]) -> Mapping[str, int | None]:
        types = model.types(list(dict.fromkeys(names)))
        return dict.fromkeys(types) | model.sizes(types, self._feeds)

    def measure(self, pairs: Sequence[tuple[str, str]], rtol: float) -> list[Measured]:
        """How far apart the values of a slice are.

        Raises:
            ExecutionError: if a model does not run.
        """
        mine = self._before.run([name for name, _ in pairs], self._feeds)
        theirs = self._after.run(list(dict.fromkeys(name for _, name in pairs)), self._feeds)
        return [_measured(mine.pop(one), theirs[other], rtol) for one, other in pairs]


def _measured(expected: Datum, actual: Datum, rtol: float) -> Measured:
    error = measure(expected, actual, rtol)
    if not isinstance(expected, np.ndarray):
        return Measured("", (), None)
    return Measured(str(DType.from_numpy(expected.dtype)), expected.shape, error)


def _feeds(path: str, runner: Runner, inputs: str | Feeds | None, seed: int) -> tuple[Feeds, str]:
    if isinstance(inputs, str):
        return load_inputs(inputs, runner.inputs, runner.overridable), "inputs from a file"
    if inputs is not None:
        return check_inputs(inputs, runner.inputs, runner.overridable), "given inputs"
    search = find_samples(runner, model_hints(lift(path)), count=1, seed=seed)
    if not search.samples:
        last = f"; the last one: {search.refusals[-1]}" if search.refusals else ""
        raise ExecutionError(f"{path!r} accepts none of {search.tried} generated inputs{last}; give some with --inputs")
    return search.samples[0].feeds, f"{search.samples[0]}, seed {seed}"
