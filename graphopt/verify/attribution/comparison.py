"""Two models compared layer by layer, from two files to a conclusion."""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from graphopt.analysis.model_survey import label_of
from graphopt.errors import ExecutionError
from graphopt.frontends.onnx import lift
from graphopt.ir import Model
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import Worker
from graphopt.verify.attribution.correspondence import Pair, find_correspondences
from graphopt.verify.attribution.growth import follow_errors
from graphopt.verify.attribution.result import Layer, LayerComparison
from graphopt.verify.attribution.slicing import slices
from graphopt.verify.hints import model_hints

if TYPE_CHECKING:
    from graphopt.verify.attribution.running import LayerRuns, Measured

__all__ = ["LayerOptions", "compare_layers"]


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """How layers are compared.

    Attributes:
        rtol: allowed in float32, relative to the largest magnitude of a value; 0 allows what kernels may differ by.
        seed: of drawn inputs.
        memory: bytes that values of both models may take together; a larger single value is taken alone.
        threads: within an operator, ``None`` for all cores.
        timeout: seconds that a run of both models may take.
    """

    rtol: float = 1e-4
    seed: int = 0
    memory: int = 1 << 28
    threads: int | None = None
    timeout: float | None = None


def compare_layers(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    inputs: str | os.PathLike[str] | Feeds | None = None,
    options: LayerOptions | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> LayerComparison:
    """Where the error between two models starts and how it grows.

    Both run in a child process, ONNX Runtime's optimizer off, as often as their values need to fit into memory.

    Args:
        before: file of the model to compare with.
        after: file of the other one.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        options: tolerance, seed, memory.
        progress: told what is going on.

    Raises:
        ModelError: if a model is broken.
        ExecutionError: if a model does not run, the inputs do not fit both, or the tolerance is no finite number.
    """
    chosen = options or LayerOptions()
    if not 0 <= chosen.rtol < math.inf:
        raise ExecutionError(f"rtol is {chosen.rtol:g}, expected a finite number, 0 or more")
    return _Comparison(os.path.abspath(before), os.path.abspath(after), chosen, progress).run(inputs)


class _Comparison:
    def __init__(self, before: str, after: str, options: LayerOptions, progress: Callable[[str], None]) -> None:
        self.paths = before, after
        self.models = lift(before), lift(after)
        self.options = options
        self.progress = progress
        _check_inputs(before, after, *self.models)
        found = find_correspondences(*self.models)
        self.pairs, self.skipped = list(found.pairs), found.skipped
        if not self.pairs:
            raise ExecutionError(
                f"no values of {before!r} and {after!r} correspond, neither by name nor by structure; compare their outputs only, "
                "without --by-layer"
            )

    def run(self, inputs: str | os.PathLike[str] | Feeds | None) -> LayerComparison:
        options = self.options
        given = os.path.abspath(inputs) if isinstance(inputs, str | os.PathLike) else inputs
        with (
            tempfile.TemporaryDirectory(prefix="graphopt-layers-", ignore_cleanup_errors=True) as folder,
            Worker() as worker,
        ):
            runs = _Runs(worker, (*self.paths, given, options.seed, options.threads, folder), options.timeout)
            self.progress("sizes")
            sizes = self._sized(runs)
            groups = slices(sizes, options.memory)
            layers: list[Layer] = []
            for number, group in enumerate(groups):
                self.progress(
                    f"values {group.start + 1} to {group.stop} of {len(self.pairs)}, run {number + 1} of {len(groups)}"
                )
                layers += self._layers(runs, [self.pairs[place] for place in group])
            kind = runs.inputs
        producers = {value.name: label_of(node) for node in self.models[1].graph.nodes for value in node.outputs}
        growth = follow_errors(self.models[0].graph, layers, producers)
        return LayerComparison(
            layers=growth.layers,
            starts=growth.starts,
            path=growth.path,
            skipped=dict(self.skipped),
            rtol=options.rtol,
            inputs=kind,
            slices=len(groups),
            slice_bytes=max((sum(sizes[place] or 0 for place in group) for group in groups), default=0),
            memory=options.memory,
            notes=tuple(self._notes(sizes)),
        )

    def _sized(self, runs: _Runs) -> list[int | None]:
        """Sizes of the pairs; those that a runtime does not give out are left out."""
        found = runs.sizes(self.pairs)
        refused = sum(not known for known, _ in found)
        self.skipped += Counter({"not given out by the runtime": refused})
        self.pairs = [pair for pair, (known, _) in zip(self.pairs, found, strict=True) if known]
        return [size for known, size in found if known]

    def _layers(self, runs: _Runs, pairs: Sequence[Pair]) -> list[Layer]:
        layers = []
        for pair, found in zip(pairs, runs.measure(pairs, self.options.rtol), strict=True):
            if found.error is None:
                self.skipped["no tensor"] += 1
                continue
            layers.append(
                Layer(
                    name=pair.name,
                    counterpart=pair.counterpart,
                    how=pair.how,
                    node=pair.node,
                    op=pair.op,
                    dtype=found.dtype,
                    shape=found.shape,
                    error=found.error,
                    is_output=pair.is_output,
                )
            )
        return layers

    def _notes(self, sizes: Sequence[int | None]) -> list[str]:
        notes = []
        large = [size for size in sizes if size is not None and size > self.options.memory]
        if large:
            many = "1 value is" if len(large) == 1 else f"{len(large)} values are"
            notes.append(f"{many} larger than the memory allowed, and taken alone")
        if model_hints(self.models[0]).random:
            notes.append("the model draws random numbers: what depends on them differs from run to run")
        return notes


def _check_inputs(before: str, after: str, one: Model, other: Model) -> None:
    """See that the second model wants no input that the first has not.

    Raises:
        ExecutionError: naming the first that is.
    """
    known = [value.name for value in one.graph.inputs]
    for value in other.graph.inputs:
        if value.name not in known and value.const is None:
            raise ExecutionError(
                f"{after!r} takes input {value.name!r}, which {before!r} does not have; it has {', '.join(known) or 'none'}; "
                "compare models with the same inputs"
            )


class _Runs:
    """The child's :class:`LayerRuns`, from here."""

    def __init__(self, worker: Worker, arguments: tuple[object, ...], timeout: float | None) -> None:
        self._worker, self._timeout = worker, timeout
        self._handle = worker.create(_runs, *arguments, timeout=timeout)
        self.inputs = cast("str", worker.invoke(self._handle, "inputs"))

    def sizes(self, pairs: Sequence[Pair]) -> list[tuple[bool, int | None]]:
        return cast("list[tuple[bool, int | None]]", self._ask("sizes", _names(pairs)))

    def measure(self, pairs: Sequence[Pair], rtol: float) -> list[Measured]:
        return cast("list[Measured]", self._ask("measure", _names(pairs), rtol))

    def _ask(self, method: str, *args: object) -> object:
        return self._worker.invoke(self._handle, method, *args, timeout=self._timeout)


def _names(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(pair.name, pair.counterpart) for pair in pairs]


def _runs(*arguments: object) -> LayerRuns:
    from graphopt.verify.attribution.running import LayerRuns  # lazily: imports ONNX Runtime, in the child only

    return LayerRuns(*arguments)  # type: ignore[arg-type]  # what the other process passed
