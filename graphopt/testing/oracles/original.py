"""What a model does before any pass: its outputs, which of them can be relied upon, and how another model is held to them.

ONNX Runtime runs it with its optimizer off, in this process, with one thread; the reference evaluator where ONNX Runtime has no kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto

from graphopt.errors import ExecutionError
from graphopt.numerics import Exact, Lossy, Numerics, Reassociates
from graphopt.runtime.base import Datum, Feeds, Outputs, Runner
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.runtime.reference_runner import Kernels, ReferenceRunner
from graphopt.verify import CheckOptions, Difference, Sample, compare, expect
from graphopt.verify.comparator import ZERO_SIGNS, compare_types

__all__ = ["Fault", "Original"]

_HALF = frozenset((TensorProto.FLOAT16, TensorProto.BFLOAT16))
#: Sets of inputs that are made up for a model that has none: with sizes of 1, few of them are negative anywhere.
_SAMPLES: Final = 8
#: Numbers of elements of arrays that leave something behind in freed memory.
_DIRT: Final = tuple(1 << power for power in range(13))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the numbers of a result.

    Attributes:
        detail: output, worst element, found and expected.
        feeds: inputs that show it.
        slight: whether it is one of the last bits, which the check at the end of an optimization lets pass as a matter of kernels.
    """

    detail: str
    feeds: Feeds
    slight: bool = False


class Original:
    """What a model does before any pass.

    Args:
        proto: the model.
        feeds: inputs; made up when there are none.
        kernels: numpy kernels of plugins' operators.
        wild: whether the inputs are extreme, so that only exact results can be judged.

    Raises:
        ExecutionError: if it does not run on any inputs.
    """

    def __init__(
        self, proto: ModelProto, feeds: Sequence[Feeds] = (), *, kernels: Kernels | None = None, wild: bool = False
    ) -> None:
        self.proto = proto
        self.wild = wild
        self._kernels = kernels
        options = CheckOptions(threads=1, kernels=kernels, samples=_SAMPLES)
        self._expectation = expect(proto, inputs=tuple(feeds), options=options)
        if not self._expectation.samples:
            raise ExecutionError(
                f"nothing can be said about numbers, for the original does not run: {self._expectation.reason}; bring feeds"
            )
        self._unsteady = self._find_unsteady()

    @property
    def samples(self) -> list[Sample]:
        """Inputs with outputs."""
        return self._expectation.samples

    @property
    def names(self) -> list[str]:
        """Outputs."""
        return list(self.samples[0].outputs)

    # -- what can be relied upon --------------------------------------------------------------------------------------------

    def _open(self, proto: ModelProto) -> Runner:
        try:
            return OrtRunner(proto, threads=1)
        except ExecutionError:
            return ReferenceRunner(proto, kernels=self._kernels)

    def _find_unsteady(self) -> list[frozenset[str]]:
        """For each sample the outputs that another session gives otherwise: random ones, and memory that a kernel never wrote."""
        with self._open(self.proto) as runner:
            again = [_differing(sample.outputs, _run_in_dirt(runner, sample.feeds)) for sample in self.samples]
        return [found | self._expectation.random for found in again]

    def _is_certain(self, sample: Sample, name: str) -> bool:
        """Whether the original gives the same again, after other inputs too."""
        for before in ([], [item.feeds for item in self.samples], [sample.feeds] * 3):
            with self._open(self.proto) as runner:
                for feeds in before:
                    _run_in_dirt(runner, feeds)
                if name in _differing(sample.outputs, _run_in_dirt(runner, sample.feeds)):
                    return False
        return True

    # -- judging ------------------------------------------------------------------------------------------------------------

    def find_fault(self, result: ModelProto, numerics: Numerics) -> tuple[Fault | None, int, str]:
        """What is wrong with a result, how many outputs were compared as numbers, and why not more of them.

        Args:
            result: what a pass made of the model.
            numerics: what it declares. ``Exact`` is held to every bit, NaN payloads apart; ``Reassociates`` is judged by
                :meth:`graphopt.verify.Expectation.check`, on samples without NaN and infinity, and not at all if the model is wild. Of
                ``Lossy`` results only element types and ranks are: what pruned weights do to a division, or to a shape that is
                computed from numbers, no one can say.
        """
        try:
            runner = self._open(result)
        except ExecutionError as err:
            return Fault(f"the result does not load: {err}", self.samples[0].feeds), 0, ""
        with runner:
            found: list[Outputs] = []
            for sample in self.samples:
                try:
                    found.append(runner.run(sample.feeds))
                except ExecutionError as err:
                    return Fault(f"the result does not run: {err}", sample.feeds), 0, ""
        if isinstance(numerics, Exact):
            return self._judge_exact(result, found)
        fault = self._judge_types(found)
        if fault is not None:
            return fault, 0, ""
        if isinstance(numerics, Lossy):
            return None, 0, "it is declared lossy: numbers were not compared"
        return self._judge_near(result, numerics)

    def _judge_types(self, found: Sequence[Outputs]) -> Fault | None:
        """Structure, element types and ranks, which no rounding changes."""
        for sample, outputs in zip(self.samples, found, strict=True):
            for name, value in sample.outputs.items():
                if name not in outputs:
                    return Fault(f"output {name!r} is missing", sample.feeds)
                for difference in compare_types(name, value, outputs[name]):
                    if difference.status == "failed":
                        return Fault(str(difference), sample.feeds)
        return None

    def _judge_exact(self, result: ModelProto, found: Sequence[Outputs]) -> tuple[Fault | None, int, str]:
        compared, skipped = 0, ""
        for sample, outputs, unsteady in zip(self.samples, found, self._unsteady, strict=True):
            for name, value in sample.outputs.items():
                if name not in outputs:
                    return Fault(f"output {name!r} is missing", sample.feeds), compared, skipped
                if name in unsteady:
                    skipped = f"output {name!r} is another one in each run"
                    continue
                compared += 1
                wrong = next(
                    (item for item in compare(name, value, outputs[name], Exact()) if not item.identical), None
                )
                if wrong is None or not self._is_certain(sample, name):
                    continue
                if self._is_excused(result, sample, wrong, name, outputs[name]):
                    skipped = f"output {name!r} differs only as ONNX Runtime's own kernels do"
                    continue
                return Fault(_exactly(wrong), sample.feeds, slight=wrong.status == "ok"), compared, skipped
        return None, compared, skipped

    def _is_excused(self, result: ModelProto, sample: Sample, wrong: Difference, name: str, found: Datum) -> bool:
        """Whether ONNX Runtime itself is the reason.

        It computes half precision in float32 and rounds where a node ends that has a kernel for it, and its Where gives a positive zero
        for a negative one. The reference evaluator has the last word there; where it can't say anything, half precision may be rounded
        otherwise, and what it was rounded to may be no float any more.
        """
        half = _has_half(self.proto) or _has_half(result)
        zeros = wrong.note == ZERO_SIGNS and b"Where" in self.proto.SerializeToString()
        if not half and not zeros:
            return False
        try:
            with (
                ReferenceRunner(self.proto, kernels=self._kernels) as one,
                ReferenceRunner(result, kernels=self._kernels) as other,
            ):
                mine, theirs = one.run(sample.feeds), other.run(sample.feeds)
        except ExecutionError:
            near = compare(name, sample.outputs[name], found, Reassociates())
            return zeros or not wrong.ulp or all(item.status == "ok" for item in near)
        return all(item.identical for item in compare(name, mine[name], theirs[name], Exact()))

    def _judge_near(self, result: ModelProto, numerics: Numerics) -> tuple[Fault | None, int, str]:
        if self.wild:
            return None, 0, "the numbers are extreme: only exact rewrites can be judged on them"
        calm = [
            index
            for index, sample in enumerate(self.samples)
            if all(map(_is_calm, (*sample.feeds.values(), *sample.outputs.values())))
        ]
        if not calm:
            return (
                None,
                0,
                "outputs have NaN or infinities on all inputs, and where these begin is a matter of rounding",
            )
        expectation = self._expectation
        everything = expectation.samples, expectation.random
        expectation.samples = [everything[0][index] for index in calm]
        expectation.random = everything[1].union(*(self._unsteady[index] for index in calm))
        try:
            verdict = expectation.check(result, numerics)
            names = len(set(self.names) - expectation.random)
        finally:
            expectation.samples, expectation.random = everything
        if verdict.status == "failed":
            return Fault(verdict.reason, verdict.failing_feeds or {}), names * len(calm), ""
        return None, names * len(calm), verdict.reason


def _run_in_dirt(runner: Runner, feeds: Feeds) -> Outputs:
    """Run a model when freed memory is full of a number that no kernel would leave by chance."""
    dirt = [np.full(size, 7.25, np.float32) for size in _DIRT]
    del dirt
    return runner.run(feeds)


def _differing(one: Outputs, other: Outputs) -> frozenset[str]:
    return frozenset(
        name
        for name, value in one.items()
        if not all(item.identical for item in compare(name, value, other[name], Exact()))
    )


def _exactly(wrong: Difference) -> str:
    """The difference in words that do not speak of a tolerance."""
    if wrong.worst is None:
        return f"output {wrong.name!r} ({wrong.dtype}{list(wrong.shape)}): {wrong.note}"
    where = f"at {list(wrong.worst)}: {wrong.actual}, expected {wrong.expected}"
    size = f", {wrong.ulp} numbers apart" if wrong.ulp else ""
    kind = "; signs of zeros count" if wrong.note == ZERO_SIGNS else ""
    return f"output {wrong.name!r} ({wrong.dtype}{list(wrong.shape)}) {where}{size}; declared exact: every bit counts{kind}"


def _is_calm(value: object) -> bool:
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OSUTbiu":
        with np.errstate(all="ignore"):
            wide = value.astype(np.complex128) if value.dtype.kind == "c" else value.astype(np.float64)
            return bool(np.isfinite(wide).all())
    return True


def _has_half(model: ModelProto) -> bool:
    """Whether half precision occurs anywhere in a model."""
    nodes = [node for function in model.functions for node in function.node]
    stack: list[GraphProto] = [model.graph]
    while stack:
        graph = stack.pop()
        nodes += graph.node
        if any(value.type.tensor_type.elem_type in _HALF for value in (*graph.input, *graph.output)):
            return True
        if any(item.data_type in _HALF for item in graph.initializer):
            return True
        stack += [item.g for node in graph.node for item in node.attribute if item.HasField("g")]
    return any(item.i in _HALF or item.t.data_type in _HALF for node in nodes for item in node.attribute)
