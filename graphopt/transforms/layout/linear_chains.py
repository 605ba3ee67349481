"""Makes one linear operator of two in a row, where that costs less than both.

``Conv(Conv(x, w1, b1), w2, b2) -> Conv(x, w2 . w1, w2 . b1 + b2)`` where one of the two has windows of one element and the first has no
bias that pads of the second would miss; ``Conv(Reshape(Transpose(MatMul(x, w1) + b1)), w2, b2) -> Reshape(Transpose(MatMul(x, w1 . w2')
+ (b1 . w2' + b2)))`` for a second window of one element, unless what follows stays in the layout of the convolution. Only where the new
weights have no more elements than both had. Touches weights; needs types. Numerics: re-associates (a product of matrices is made before).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Shape, Value
from graphopt.passes import RewritePass
from graphopt.rewriting import Match, NoMatch, Reassociates, Replacement, Rewriter, Rule, any_, const, op, rewrite
from graphopt.transforms.fusion.linear import Float64, Linear, as_float64, read_linear, round_to
from graphopt.transforms.layout.channels import has_no_padding
from graphopt.transforms.layout.flattened import fold_batch_norm_into_flattened_product
from graphopt.transforms.operands import constant_ints

__all__ = ["MergeLinear", "is_pointwise"]

#: What runtimes compute in the convolution before it, or in the blocked layout that it gives.
_BLOCKED: Final = frozenset(
    [
        "Add",
        "Sum",
        "Mul",
        "Relu",
        "Clip",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Tanh",
        "Resize",
        "Upsample",
        "Concat",
        "Conv",
        "BatchNormalization",
        "MaxPool",
        "AveragePool",
        "GlobalMaxPool",
        "GlobalAveragePool",
    ]
)


def is_pointwise(linear: Linear) -> bool:
    """Whether a Conv computes each element from the channels at the same place alone, all of them."""
    node, shape = linear.node, linear.weight.shape or ()
    ones = all(size == 1 for size in shape[2:]) and all(step == 1 for step in node.ints_attr("strides") or ())
    return ones and node.int_attr("group", 1) == 1 and has_no_padding(node, len(shape) - 2)


def _count(shape: Shape) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _bias(linear: Linear) -> Float64 | None:
    return None if linear.bias is None else as_float64(linear.bias)


@rewrite(
    op.Conv(
        op.Conv(any_("x"), const("w1"), const("b1", optional=True), name="first"),
        const("w2"),
        const("b2", optional=True),
    ),
    numerics=Reassociates(),
)
def merge_convolutions(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Conv(x, w1, b1), w2, b2) -> Conv(x, w2 . w1, w2 . b1 + b2)."""
    first, second = read_linear(m.node("first"), scaled=True), read_linear(m.root, scaled=True)
    if isinstance(first, NoMatch):
        return first
    if isinstance(second, NoMatch):
        return second
    behind = is_pointwise(second)
    if not behind and not is_pointwise(first):
        return NoMatch("both look at several places")
    before, after = first.weight.shape or (), second.weight.shape or ()
    if first.node.int_attr("group", 1) != 1 or second.node.int_attr("group", 1) != 1 or after[1] != before[0]:
        return NoMatch("channels are in groups")
    product = (after[0], before[1], *(before if behind else after)[2:])
    if _count(product) > _count(before) + _count(after):
        return NoMatch("the product has more elements than its factors")
    w1, w2 = as_float64(first.weight), as_float64(second.weight)
    if behind:
        merged, kept = np.tensordot(w2.reshape(w2.shape[:2]), w1, 1), first
    else:
        merged, kept = np.moveaxis(np.tensordot(w2, w1.reshape(w1.shape[:2]), (1, 0)), -1, 1), second
    b1, b2 = _bias(first), _bias(second)
    if b1 is not None and b1.any() and not has_no_padding(second.node, w2.ndim - 2):
        return NoMatch("pads of the second are zeros, not the bias of the first")
    bias = b2 if b1 is None else w2.sum(tuple(range(2, w2.ndim))) @ b1 + (0 if b2 is None else b2)
    weight = round_to(merged, first.dtype)
    rounded = None if bias is None else round_to(bias, first.dtype)
    if isinstance(weight, NoMatch):
        return weight
    if isinstance(rounded, NoMatch):
        return rounded
    attributes: dict[str, object] = dict(kept.node.attributes)
    inputs = [m["x"], rw.constant(weight, second.weight.name)]
    if rounded is not None:
        inputs.append(rw.constant(rounded, f"{second.weight.name}_bias"))
    return rw.new_node("Conv", inputs, attributes=attributes, name=m.root.name).output


@rewrite(
    op.Conv(
        op.Reshape(
            op.Transpose(
                op.Add(op.MatMul(any_("x"), const("w1"), name="matmul"), const("b1"), commute=True, name="add"),
                name="transpose",
                perm=(0, 2, 1),
            ),
            const("shape"),
            name="reshape",
        ),
        const("w2"),
        const("b2", optional=True),
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def merge_matmul_and_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Reshape(Transpose(MatMul(x, w1) + b1)), w2, b2) -> Reshape(Transpose(MatMul(x, w1 . w2') + b'))."""
    conv = read_linear(m.root, scaled=True)
    if isinstance(conv, NoMatch):
        return conv
    if not is_pointwise(conv):
        return NoMatch("the convolution looks at several places")
    if any(user.op in _BLOCKED for user in m.root.output.users):
        return NoMatch("what is behind the convolution stays in its layout")
    w1, b1, w2 = as_float64(m["w1"]), as_float64(m["b1"]), as_float64(conv.weight)
    if m["w1"].dtype != conv.dtype or m["b1"].dtype != conv.dtype or w1.ndim != 2 or m["x"].rank != 3:
        return NoMatch("weights of %s and %s do not fit", m["w1"].type, conv.weight.type)
    middle, channels = w1.shape[1], w2.shape[0]
    if b1.shape[-1:] != (middle,) or b1.size != middle or b1.ndim > 3:
        return NoMatch("what is added has shape %s, expected one number for each of %d columns", b1.shape, middle)
    shape = _reshaped(m.node("reshape"), m["shape"], middle, channels)
    if isinstance(shape, NoMatch):
        return shape
    if w1.shape[0] * channels > w1.size + w2.size:
        return NoMatch("the product has more elements than its factors")
    matrix = w2.reshape(channels, middle).T
    weight = round_to(w1 @ matrix, conv.dtype)
    bias = round_to(b1.reshape(-1) @ matrix + (0 if conv.bias is None else as_float64(conv.bias)), conv.dtype)
    if isinstance(weight, NoMatch):
        return weight
    if isinstance(bias, NoMatch):
        return bias
    product = rw.new("MatMul", m["x"], rw.constant(weight, m["w1"].name), name=m.node("matmul").name)
    added = rw.new("Add", product, rw.constant(bias, m["b1"].name), name=m.node("add").name)
    turned = rw.new("Transpose", added, name=m.node("transpose").name, perm=(0, 2, 1))
    attributes: dict[str, object] = dict(m.node("reshape").attributes)
    target = rw.constant(np.array(shape, np.int64), m["shape"].name)
    return rw.new_node("Reshape", [turned, target], attributes=attributes, name=m.node("reshape").name).output


def _reshaped(reshape: Node, target: Value, middle: int, channels: int) -> list[int] | NoMatch:
    """The target of a Reshape that splits places only, with another number of channels."""
    stated, source, made = constant_ints(target), reshape.inputs[0], reshape.output
    if isinstance(stated, NoMatch):
        return stated
    before = source.shape if source is not None else None
    if before is None or made.shape is None or len(before) != 3 or len(made.shape) < 3:
        return NoMatch("shapes are not known")
    if made.shape[1] != middle or before[1] != middle or reshape.attr("allowzero", 0):
        return NoMatch("channels are not kept")
    if made.shape[0] is None or made.shape[0] != before[0] or stated.count(-1) > 1:
        return NoMatch("the batch is not known to be kept")
    return [stated[0], channels, *stated[2:]] if 0 not in stated[2:] else NoMatch("a size is copied")


@dataclass(frozen=True)
class MergeLinear(RewritePass):
    """Make one linear operator of two in a row, where that costs less. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "merge-linear"
    rules: ClassVar[tuple[Rule, ...]] = (
        merge_convolutions,
        merge_matmul_and_conv,
        fold_batch_norm_into_flattened_product,
    )
