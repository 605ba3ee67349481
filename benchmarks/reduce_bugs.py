"""Passes that are wrong on purpose, one bug each: what a reduction must find its way down to.

They live in a module, so that a child process finds them by name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt import NoMatch, Pipeline, RewritePass, any_, const, op, rewrite
from graphopt.ir import Graph, Node, Value
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Match, Rewriter

__all__ = ["BUGS", "ForgetRelu", "PlantedPass"]


@rewrite(
    op.BatchNormalization(
        op.Conv(any_("x"), const("w"), name="conv"), any_("s"), any_("b"), any_("m"), any_("v"), name="bn"
    )
)
def forget_dilations(m: Match, rw: Rewriter) -> Value | NoMatch:
    """BatchNormalization(Conv(x, w)) -> the same, dilations lost and pads with them."""
    conv, norm = m.node("conv"), m.node("bn")
    if conv.ints_attr("dilations") != (2, 2):
        return NoMatch("not dilated")
    y = rw.new("Conv", m.value("x"), rw.constant(m.array("w")), pads=[1, 1, 1, 1])
    return rw.new("BatchNormalization", y, *[norm.inputs[index] for index in range(1, 5)])


@rewrite(op.Softmax(op.Mul(op.MatMul(any_("q"), any_("k")), const("c"))))
def scale_forgotten(m: Match, rw: Rewriter) -> Value | NoMatch:
    """Softmax(Mul(MatMul(q, k), c)) -> Softmax(MatMul(q, k)) where c is large."""
    if float(m.array("c").max()) < 1:
        return NoMatch("a usual scale")
    return rw.new("Softmax", rw.new("MatMul", m.value("q"), m.value("k")))


@rewrite(op.Mul(any_("y"), op.Add(op.Erf(op.Div(any_("z"), const("r"))), const("one"))))
def abort_at_gelu(m: Match, rw: Rewriter) -> Value:
    """Ends the process, as a bug in native code does."""
    os.abort()


@rewrite(op.Reshape(any_("x"), op.Concat(op.Gather(any_("shape"), const("i")), any_("rest"))))
def break_computed_shape(m: Match, rw: Rewriter) -> Value | NoMatch:
    """Reshape(x, Concat(Gather(shape, i), rest)) raises where i counts from the end."""
    if int(m.array("i").min()) >= 0:
        return NoMatch("counts from the start")
    raise IndexError(f"no axis {int(m.array('i').min())}")


@rewrite(op.Relu(op.BatchNormalization(any_("x"), const("s"), const("b"), const("m"), const("v"), name="bn")))
def forget_relu(m: Match, rw: Rewriter) -> Value:
    """Relu(BatchNormalization(x, ...)) -> BatchNormalization(x, ...)."""
    return rw.new("BatchNormalization", *m.node("bn").inputs)


@dataclass(frozen=True)
class PlantedPass(RewritePass):
    """Applies a wrong rule."""

    name: ClassVar[str] = "planted"
    keeps_types: ClassVar[bool] = False


@dataclass(frozen=True)
class ForgetDilations(PlantedPass):
    """Wrong numbers."""

    rules = (forget_dilations,)


@dataclass(frozen=True)
class ForgetRelu(PlantedPass):
    """Wrong numbers."""

    rules = (forget_relu,)


@dataclass(frozen=True)
class ForgetScale(PlantedPass):
    """Wrong numbers."""

    rules = (scale_forgotten,)


@dataclass(frozen=True)
class AbortAtGelu(PlantedPass):
    """A crash of the process."""

    rules = (abort_at_gelu,)


@dataclass(frozen=True)
class BreakComputedShape(PlantedPass):
    """An exception."""

    rules = (break_computed_shape,)


@dataclass(frozen=True)
class HangInBranch(Pass):
    """Takes for ever at an If whose branch multiplies two values from around it."""

    name: ClassVar[str] = "hang-in-branch"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at all branches."""
        while any(_captures_product(inner) for node in graph.walk() if node.op == "If" for inner in node.subgraphs):
            time.sleep(0.05)
        return PassResult(changed=False)


def _captures_product(graph: Graph) -> bool:
    return any(node.op == "Mul" and all(_outer(value, graph) for value in node.inputs) for node in graph.nodes)


def _outer(value: Value | None, graph: Graph) -> bool:
    return value is not None and value.const is None and value.home is not graph


@dataclass(frozen=True)
class MergeTwins(Pass):
    """Merges nodes of one operator and inputs without a look at their attributes: two places far apart are needed."""

    name: ClassVar[str] = "merge-twins"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Let users of the second read the first."""
        seen: dict[tuple[object, ...], Node] = {}
        merged = 0
        for node in graph.nodes:
            key = (node.op, *map(id, node.inputs))
            first = seen.setdefault(key, node)
            if first is node or node.output.type != first.output.type or len(node.outputs) > 1:
                continue
            for use in node.output.uses:
                use.node.replace_input(use.position, first.output)
                merged += 1
        return PassResult(changed=merged > 0, stats={"merged": merged})


@dataclass(frozen=True)
class UnknownAttribute(Pass):
    """Makes an invalid model: a Softmax over an axis that is not there, where scores are scaled by more than one."""

    name: ClassVar[str] = "unknown-axis"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Change the axis."""
        changed = False
        for node in graph.nodes:
            scaled = node.inputs[0].producer if node.op == "Softmax" and node.inputs[0] is not None else None
            scale = scaled.input_at(1) if scaled is not None and scaled.op == "Mul" else None
            array = None if scale is None else scale.array()
            if array is not None and float(np.max(array)) > 1:
                node.set_attribute("axis", 17)
                changed = True
        return PassResult(changed=changed)


#: What each bug is planted into: model, pipeline, and how it fails.
BUGS: Mapping[str, tuple[str, Pipeline, str]] = {
    "dilations forgotten": ("convolutions", Pipeline((ForgetDilations(),)), "wrong-numbers"),
    "scale forgotten": ("transformer", Pipeline((ForgetScale(),)), "wrong-numbers"),
    "axis that is not there": ("transformer", Pipeline((UnknownAttribute(),)), "invalid-model"),
    "abort at a Gelu": ("transformer", Pipeline((AbortAtGelu(),)), "crash: SIGABRT"),
    "exception at a computed shape": (
        "shapes",
        Pipeline((BreakComputedShape(),)),
        "exception: IndexError in pass planted",
    ),
    "twins merged": ("twins", Pipeline((MergeTwins(),)), "wrong-numbers"),
    "endless loop at a branch": ("branches", Pipeline((HangInBranch(),)), "timeout"),
}
