"""Runs a pass on a whole model: lift, infer types, pass, verify, emit, and compare in ONNX Runtime with its optimizer off, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model, clone_model
from graphopt.ir.verifier import verify
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Applications
from graphopt.runtime import OrtExecutor
from graphopt.serde import emit_model, lift_model
from tests.onnx_suite import Datum, run_with_ort

__all__ = ["Outcome", "apply", "assert_same_bits", "context", "ops", "optimize", "parse", "same_bits"]


@dataclass(frozen=True)
class Outcome:
    """What a pass did to a model."""

    result: PassResult
    model: Model
    proto: ModelProto

    @property
    def ops(self) -> list[str]:
        """Operators of the main graph in order."""
        return ops(self.model)

    @property
    def constants(self) -> dict[str, Any]:
        """Initializers of the main graph by name."""
        return {value.name: value.const.numpy() for value in self.model.graph.initializers() if value.const is not None}


def parse(text: str) -> ModelProto:
    """A model from ONNX text, checked."""
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    return model


def ops(model: Model) -> list[str]:
    """Operators of the main graph in order."""
    return [node.op for node in model.graph.nodes]


def context(*, executor: bool = True, applications: Applications | None = None) -> PassContext:
    """A context with ONNX's types and ONNX Runtime."""
    return PassContext(
        executor=OrtExecutor(threads=1) if executor else None,
        types=OnnxTypes(),
        applications=applications or Applications(),
    )


def apply(step: Pass, model: Model, ctx: PassContext) -> PassResult:
    """Run a pass as the manager does: on the main graph, then on functions."""
    if step.needs_types:
        ctx.types.infer_model(model)
    graphs = [model.graph]
    if step.per_function:
        graphs += [function.graph for function in model.functions.values()]
    results = [step.run(graph, ctx) for graph in graphs]
    stats: dict[str, int] = {}
    for result in results:
        for name, count in result.stats.items():
            stats[name] = stats.get(name, 0) + count
    return PassResult(any(result.changed for result in results), stats)


def optimize(
    proto: ModelProto,
    step: Pass,
    feeds: Mapping[str, Datum] | None = None,
    *,
    ctx: PassContext | None = None,
    twice: bool = True,
) -> Outcome:
    """Apply a pass and check what every pass promises.

    The model is valid before and after, an unchanged model is written as it was, a second run changes nothing, and ``feeds`` give the
    same bits.
    """
    ctx = context() if ctx is None else ctx
    model = lift_model(proto)
    verify(model)
    before = emit_model(clone_model(model)).SerializeToString(deterministic=True)
    result = apply(step, model, ctx)
    verify(model)
    changed = emit_model(model)
    if not result.changed:
        assert before == changed.SerializeToString(deterministic=True)
    if feeds is not None:
        assert_same_bits(proto, changed, feeds)
    if twice:
        again = apply(step, model, ctx)
        assert not again.changed, again.stats
    return Outcome(result, model, changed)


def assert_same_bits(before: ModelProto, after: ModelProto, feeds: Mapping[str, Datum]) -> None:
    """Both models give the same outputs, NaN payloads apart."""
    assert [item.name for item in before.graph.output] == [item.name for item in after.graph.output]
    expected = run_with_ort(before, feeds, optimize=False)
    actual = run_with_ort(after, feeds, optimize=False)
    for info, mine, theirs in zip(before.graph.output, actual, expected, strict=True):
        assert same_bits(mine, theirs), f"output {info.name!r}: {mine} differs from {theirs}"


def same_bits(actual: Datum, expected: Datum) -> bool:
    """Whether two outputs are equal bit for bit, NaN payloads apart."""
    if expected is None or actual is None:
        return actual is expected
    if isinstance(expected, list) or isinstance(actual, list):
        return (
            isinstance(actual, list)
            and isinstance(expected, list)
            and len(actual) == len(expected)
            and all(map(same_bits, actual, expected))
        )
    mine, theirs = np.asarray(actual), np.asarray(expected)
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return False
    if mine.dtype.kind in "fc":
        nan = np.isnan(mine)
        if not np.array_equal(nan, np.isnan(theirs)):
            return False
        mine, theirs = np.where(nan, 0, mine).astype(mine.dtype), np.where(nan, 0, theirs).astype(theirs.dtype)
    if mine.dtype.kind in "OSU":
        return bool(np.array_equal(mine, theirs))
    return mine.tobytes() == theirs.tobytes()
