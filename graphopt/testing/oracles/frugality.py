"""The law that a pass leaves no more arithmetic than there was, for passes that are meant to make a model cheaper.

Counted at the sizes of the inputs, for what a type inference tells of both models. A pass that rewrites a value which others still read
keeps the old nodes beside the new ones: numbers stay right, but work is done twice, and this is where it shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, helper

from graphopt.analysis.cost import cost_of_graph
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import DType
from graphopt.runtime.base import Feeds
from graphopt.serde import lift_model
from graphopt.testing.oracles.case import Case
from graphopt.testing.oracles.law import Checked

__all__ = ["frugal"]


@dataclass(frozen=True, slots=True)
class _Work:
    """Floating-point operations by operator, and how many of them could be told."""

    by_op: Mapping[str, int]
    is_known: bool

    @property
    def flops(self) -> int:
        return sum(self.by_op.values())


def frugal(case: Case) -> Checked:
    """The result does no more floating-point operations than the model."""
    run = case.run
    if case.found_nothing:
        return Checked("frugal", run.changed, run.rewrites)
    feeds = next(iter(case.feeds), None)
    before = None if feeds is None else _work(case.proto, feeds)
    if feeds is None or before is None or not before.is_known:
        return Checked("frugal", run.changed, run.rewrites, skipped="the work that the model does is not known")
    after = _work(run.proto, feeds)
    if after.flops > before.flops:
        raise case.broken(
            "frugal",
            f"{after.flops} floating-point operations are left, expected no more than {before.flops} ({_more(before, after)})",
            advice="ask for a single use of what is rewritten, or work is done twice",
            feeds=feeds,
            after=run.proto,
            application=case.culprit(lambda proto: _work(proto, feeds).flops > before.flops),
            replays=False,
        )
    return Checked("frugal", run.changed, run.rewrites, compared=1)


def _more(before: _Work, after: _Work) -> str:
    more = {op: count - before.by_op.get(op, 0) for op, count in after.by_op.items()}
    return ", ".join(f"{op} +{count}" for op, count in more.items() if count > 0)


def _work(proto: ModelProto, feeds: Feeds) -> _Work:
    """What a model does on inputs of these sizes; nodes of sizes that are not known count nothing."""
    sized = ModelProto()
    sized.CopyFrom(proto)
    del sized.graph.value_info[:]
    for value in sized.graph.input:
        array = feeds.get(value.name)
        if isinstance(array, np.ndarray):
            value.CopyFrom(helper.make_tensor_value_info(value.name, DType.from_numpy(array.dtype), array.shape))
    model = lift_model(sized)
    OnnxTypes().infer_model(model)
    cost = cost_of_graph(model)
    known = {op: flops for op, flops in cost.flops_by_op.items() if isinstance(flops, int)}
    return _Work(known, len(known) == len(cost.flops_by_op) and not cost.unknown)
