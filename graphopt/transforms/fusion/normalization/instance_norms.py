"""Recognizes InstanceNormalization, and GroupNormalization spelled with it.

``(x - mean(x)) / sqrt(var(x) + e) -> InstanceNormalization[e](x, 1, 0)`` for ``x`` of [batch, channels, ...] with means over all axes but
these two; a tensor of rank 3 is rather taken for a sequence, whose last axis LayerNormalization is for. ``Reshape(InstanceNormalization(
Reshape(x, [0, groups, -1]), s, b), shape(x)) -> GroupNormalization[groups](x, s, b)`` from opset 21 on, for targets that have a kernel of
it (ONNX Runtime expands it into many nodes). float32 only. Numerics: re-associates. Source: Ulyanov et al., Instance Normalization, 2016;
Wu and He, Group Normalization, 2018; https://onnx.ai/onnx/operators/onnx__GroupNormalization.html
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op
from graphopt.transforms.broadcasting import same_dim, same_shape
from graphopt.transforms.expressions import nodes_between, producer
from graphopt.transforms.fusion.normalization.layer_norms import RecognizeNormalization, is_by_channel
from graphopt.transforms.fusion.normalization.moments import Normalized
from graphopt.transforms.operands import constant_ints

__all__ = ["FuseGroupNorm", "FuseInstanceNorm"]

_X = any_("x")
_DIFFERENCE = op.Sub(_X, op.ReduceMean(_X, axes=(2, 3), keepdims=1), name="difference", shared=True)
_SQUARE = op.Pow(_DIFFERENCE, const("two", scalar=True, equal_to=2.0))
_VARIANCE = op.Add(op.ReduceMean(_SQUARE, axes=(2, 3), keepdims=1), const("epsilon", scalar=True, equal_to=1e-3))


class FuseInstanceNorm(RecognizeNormalization):
    """(x - ReduceMean(x)) / Sqrt(ReduceMean((x - ReduceMean(x))^2) + e) by channel -> InstanceNormalization[e](x, 1, 0)."""

    name: ClassVar[str] = "fuse-instance-norm"
    operator: ClassVar[str] = "InstanceNormalization"
    is_centred: ClassVar[bool] = True
    benefit: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Div(_DIFFERENCE, op.Sqrt(_VARIANCE)),
        op.Mul(_DIFFERENCE, op.Reciprocal(op.Sqrt(_VARIANCE))),
    )

    def replacement(self, node: Node, found: Normalized, rw: Rewriter) -> Replacement:
        """One scale and one bias for each channel."""
        if not is_by_channel(node, found):
            return NoMatch("it is not by channel of a float32 image")
        channels = (found.x.shape or ())[1]
        if not isinstance(channels, int):
            return NoMatch("the number of channels is not known")
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        return rw.new_node(self.operator, [found.x, ones, zeros], attributes={"epsilon": found.epsilon}).output


class FuseGroupNorm(RewritePattern):
    """Reshape(InstanceNormalization(Reshape(x, [0, groups, -1]), s, b), shape of x) -> GroupNormalization[groups](x, s, b)."""

    name: ClassVar[str] = "fuse-group-norm"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    min_opset: ClassVar[int] = 21
    makes: ClassVar[str] = "GroupNormalization"
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Reshape(
            op.InstanceNormalization(op.Reshape(_X, const("groups")), const("s"), const("b")),
            op.Shape(_X),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Both reshapes must keep the batch apart, and channels of a group together."""
        opset, norm = node.opset, producer(node.inputs[0], "InstanceNormalization")
        inner = None if norm is None else producer(norm.inputs[0], "Reshape")
        x = None if inner is None else inner.inputs[0]
        if opset is None or opset < self.min_opset or norm is None or inner is None or x is None:
            return NoMatch("no instance normalization between reshapes, or the opset %s is older than 21", opset)
        if x.dtype is not DType.FLOAT or x.rank is None or x.rank < 3 or not same_shape(x.shape, node.output.shape):
            return NoMatch("%s does not get its shape back, or is no float32 image", x.type)
        groups = _groups(x, inner)
        if isinstance(groups, NoMatch):
            return groups
        nodes = nodes_between(
            node, (x, *(value for value in (node.inputs[1], inner.inputs[1]) if value is not None)), x
        )
        if isinstance(nodes, NoMatch):
            return nodes
        channels = (x.shape or ())[1]
        operands = [value.array() if value is not None else None for value in norm.inputs[1:]]
        if (
            not isinstance(channels, int)
            or channels % groups
            or any(item is None or item.shape != (groups,) for item in operands)
        ):
            return NoMatch("%s channels are not divided by %d groups with constant scales", channels, groups)
        rw.matched = nodes
        repeated = [np.repeat(item, channels // groups) for item in operands if item is not None]
        attributes: dict[str, object] = {"num_groups": groups, "epsilon": norm.float_attr("epsilon", 1e-5)}
        return rw.new_node("GroupNormalization", [x, *repeated], attributes=attributes).output


def _groups(x: Value, reshape: Node) -> int | NoMatch:
    """The size of the second axis of a value in the shape [batch, groups, ...]."""
    shape, target = reshape.output.shape, reshape.inputs[1]
    if x.shape is None or shape is None or target is None or len(shape) < 3:
        return NoMatch("shapes are not known")
    sizes = constant_ints(target)
    keeps_batch = not isinstance(sizes, NoMatch) and sizes[:1] == (0,) and reshape.attr("allowzero", 0) == 0
    if not keeps_batch and not same_dim(shape[0], x.shape[0]):
        return NoMatch("the batch is not kept apart")
    return shape[1] if isinstance(shape[1], int) and shape[1] > 0 else NoMatch("the number of groups is not known")
