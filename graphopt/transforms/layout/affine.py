"""Folds what is added and scaled per channel before a convolution into it, or makes one BatchNormalization of both.

``Conv(x + c, w, b) -> Conv(x, w, b + sum(w * c))`` and ``Conv(BatchNormalization(x), w, b) -> Conv(x, w * k, b + sum(w * t))`` where
nothing is padded: pads are zeros after the addition, so that the border would see another number. A factor alone commutes with pads:
``fuse-conv-affine`` folds that. Where there are pads, ``Add(Mul(x, k), t) -> BatchNormalization(x, k, t, mean=0, var=1)`` before a
convolution or pooling is one node of the two, which runtimes with a blocked layout for convolutions keep in it. Touches weights. Numerics:
re-associates. Sources: Ioffe and Szegedy, Batch Normalization, 2015, section 3.1; the affine blocks of PP-LCNetV3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, Value
from graphopt.numerics import Numerics
from graphopt.passes import RewritePass
from graphopt.rewriting import (
    Match,
    NoMatch,
    Pattern,
    Reassociates,
    Replacement,
    RewritePattern,
    Rewriter,
    Rule,
    any_,
    const,
    one_of,
    op,
    rewrite,
)
from graphopt.transforms.fusion.linear import Float64, Linear, add_to_bias, as_float64, read_linear, round_to
from graphopt.transforms.layout.channels import (
    FLOATS,
    channel_count,
    channel_numbers,
    has_no_padding,
    input_channels,
    norm_as_affine,
)

__all__ = ["FuseAffineConv", "as_batch_norm", "feeds_layout"]

_WITH_LAYOUT: Final = frozenset({"Conv", "AveragePool", "MaxPool", "GlobalAveragePool"})


def _unpadded(m: Match, *, scaled: bool) -> Linear | NoMatch:
    """The convolution at the root, which pads nothing."""
    linear = read_linear(m.root, scaled=scaled)
    if isinstance(linear, NoMatch):
        return linear
    if not has_no_padding(m.root, (linear.rank or 2) - 2):
        return NoMatch("pads would be %s instead of zeros", "scaled" if scaled else "shifted")
    return linear


def _terms(linear: Linear, numbers: Float64) -> Float64:
    """What a number per input channel adds to each output channel."""
    weight = as_float64(linear.weight)
    groups = linear.node.int_attr("group", 1)
    rows = np.repeat(numbers.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    sums: Float64 = (weight.reshape(*weight.shape[:2], -1).sum(-1) * rows).sum(-1)
    return sums


@rewrite(
    op.Conv(
        one_of(op.Add(any_("x"), const("c"), commute=True, name="shift"), op.Sub(any_("x"), const("c"), name="shift")),
        const("w"),
        const("b", optional=True),
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_shift_into_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Add(x, c), w, b) -> Conv(x, w, b + sum(w * c)), and Sub, without pads."""
    x, linear = m["x"], _unpadded(m, scaled=False)
    if isinstance(linear, NoMatch):
        return linear
    channels = input_channels(linear)
    if x.rank != linear.rank or channel_count(x) != channels:
        return NoMatch("%s is not known to have %d channels", x.type, channels)
    numbers = channel_numbers(m["c"], x, channels)
    if isinstance(numbers, NoMatch):
        return numbers
    moved = add_to_bias(linear, _terms(linear, -numbers if m.node("shift").op == "Sub" else numbers))
    return moved if isinstance(moved, NoMatch) else _rebuild(moved, x, rw)


_NORM = op.BatchNormalization(any_("x"), const("scale"), const("bias"), const("mean"), const("var"), name="norm")


@rewrite(op.Conv(_NORM, const("w"), const("b", optional=True)), numerics=Reassociates(), min_opset=7)
def fold_batch_norm_into_next_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(BatchNormalization(x), w, b) -> Conv(x, w', b'), inference only, without pads."""
    x, linear = m["x"], _unpadded(m, scaled=True)
    if isinstance(linear, NoMatch):
        return linear
    channels = input_channels(linear)
    affine = norm_as_affine(m.node("norm"), [m[name] for name in ("scale", "bias", "mean", "var")], channels)
    if isinstance(affine, NoMatch):
        return affine
    moved = add_to_bias(linear, _terms(linear, affine[1]))
    if isinstance(moved, NoMatch):
        return moved
    weight, groups = as_float64(linear.weight), m.root.int_attr("group", 1)
    rows = np.repeat(affine[0].reshape(groups, -1), weight.shape[0] // groups, axis=0)
    scaled = round_to(weight * rows.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2)), linear.dtype)
    return scaled if isinstance(scaled, NoMatch) else _rebuild(replace(moved, new_weight=scaled), x, rw)


def _rebuild(linear: Linear, x: Value, rw: Rewriter) -> Value:
    """The convolution with its new constants, of another input."""
    made = linear.rebuild(rw)
    assert made.producer is not None, "it was made just now"
    made.producer.replace_input(0, x)
    return made


def feeds_layout(value: Value) -> bool:
    """Whether a convolution or pooling, which have a layout of their own, reads a value as its data."""
    return any(node.op in _WITH_LAYOUT and index == 0 for node, index in value.uses)


def as_batch_norm(x: Value, factor: Float64, term: Float64, root: Node, rw: Rewriter) -> Replacement:
    """``x * factor + term`` per channel as a BatchNormalization that normalizes nothing.

    Args:
        x: of a type in :data:`FLOATS`.
        factor: [channels].
        term: [channels].
        root: names the constants.
        rw: makes the node.
    """
    dtype = x.dtype
    assert dtype is not None, "its type was looked at"
    rounded = [round_to(numbers, dtype) for numbers in (factor, term)]
    constants = [np.zeros(factor.shape, dtype.numpy), np.ones(factor.shape, dtype.numpy)]
    name = root.name or root.output.name
    operands: list[Value | None] = [x]
    for array, what in zip([*rounded, *constants], ("scale", "bias", "mean", "var"), strict=True):
        if isinstance(array, NoMatch):
            return array
        operands.append(rw.constant(array, f"{name}_{what}"))
    return rw.new_node("BatchNormalization", operands, attributes={"epsilon": 0.0}, name=root.name).output


class FuseScaleAndShift(RewritePattern):
    """Conv(Add(Mul(x, k), t)) -> Conv(BatchNormalization(x, k, t, 0, 1)), and so before pooling."""

    name: ClassVar[str] = "fuse-scale-and-shift"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = tuple(
        op.Conv(op[shift](op.Mul(any_("x"), const("k"), commute=True), const("t")), const("w")) for shift in roots
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Make one node of the two, if a convolution reads them."""
        if (node.opset or 0) < 7 or not feeds_layout(node.output):
            return NoMatch("no convolution or pooling reads %r", node.output.name)
        scaled, term = _split(node)
        scale = None if scaled is None else scaled.producer
        if scale is None or scaled is None or term is None or scale.op != "Mul" or scale.graph is not node.graph:
            return NoMatch("no Mul gives what is added to")
        if scaled.use_count > 1 or scaled.is_graph_output:
            return NoMatch("%r has other users", scaled.name)
        x, factor = _split(scale)
        if x is None or factor is None or (node.op == "Sub" and node.inputs[0] is not scaled):
            return NoMatch("nothing constant stands beside a value")
        channels = channel_count(x)
        if x.dtype not in FLOATS or channels is None or (x.rank or 0) < 3:
            return NoMatch("%s is no float tensor of a known number of channels", x.type)
        factors, terms = channel_numbers(factor, x, channels), channel_numbers(term, x, channels)
        if isinstance(factors, NoMatch):
            return factors
        if isinstance(terms, NoMatch):
            return terms
        rw.matched = [node, scale]
        return as_batch_norm(x, factors, -terms if node.op == "Sub" else terms, node, rw)


def _split(node: Node) -> tuple[Value | None, Value | None]:
    """The operands of a node of two: the one that varies, and the constant one."""
    a, b = node.inputs
    if a is None or b is None or a.is_constant == b.is_constant:
        return None, None
    return (b, a) if a.is_constant else (a, b)


@rewrite(
    op.BatchNormalization(
        one_of(
            op.Mul(any_("x"), const("c"), commute=True, name="affine"),
            op.Add(any_("x"), const("c"), commute=True, name="affine"),
        ),
        const("scale"),
        const("bias"),
        const("mean"),
        const("var"),
        name="norm",
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_affine_into_batch_norm(m: Match, rw: Rewriter) -> Replacement:
    """BatchNormalization(Mul(x, c)) -> BatchNormalization(x), and Add, inference only."""
    x, norm = m["x"], m.root
    channels = channel_count(x)
    if x.dtype not in FLOATS or channels is None or any(m[name].dtype != x.dtype for name in ("scale", "bias")):
        return NoMatch("%s is no float tensor of a known number of channels", x.type)
    if any(value.is_used for value in norm.outputs[1:]):
        return NoMatch("it gives statistics")
    affine = norm_as_affine(norm, [m[name] for name in ("scale", "bias", "mean", "var")], channels)
    if isinstance(affine, NoMatch):
        return affine
    numbers = channel_numbers(m["c"], x, channels)
    if isinstance(numbers, NoMatch):
        return numbers
    if m.node("affine").op == "Mul":
        return as_batch_norm(x, affine[0] * numbers, affine[1], norm, rw)
    return as_batch_norm(x, affine[0], affine[1] + affine[0] * numbers, norm, rw)


@rewrite(
    one_of(
        op.Mul(_NORM, const("c"), commute=True),
        op.Add(_NORM, const("c"), commute=True),
        op.Sub(_NORM, const("c")),
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_affine_behind_batch_norm(m: Match, rw: Rewriter) -> Replacement:
    """Mul(BatchNormalization(x), c) -> BatchNormalization(x), and Add, Sub, inference only."""
    x, norm = m["x"], m.node("norm")
    channels = channel_count(x)
    if x.dtype not in FLOATS or channels is None or any(m[name].dtype != x.dtype for name in ("scale", "bias")):
        return NoMatch("%s is no float tensor of a known number of channels", x.type)
    affine = norm_as_affine(norm, [m[name] for name in ("scale", "bias", "mean", "var")], channels)
    if isinstance(affine, NoMatch):
        return affine
    numbers = channel_numbers(m["c"], x, channels)
    if isinstance(numbers, NoMatch):
        return numbers
    factor, term = affine
    if m.root.op == "Mul":
        return as_batch_norm(x, factor * numbers, term * numbers, m.root, rw)
    return as_batch_norm(x, factor, term - numbers if m.root.op == "Sub" else term + numbers, m.root, rw)


@dataclass(frozen=True)
class FuseAffineConv(RewritePass):
    """Fold what is added and scaled before a Conv, or beside a BatchNormalization, into it, or make one BatchNormalization of it.

    Re-associates; needs types.
    """

    name: ClassVar[str] = "fuse-affine-conv"
    rules: ClassVar[tuple[Rule, ...]] = (
        fold_shift_into_conv,
        fold_batch_norm_into_next_conv,
        FuseScaleAndShift(),
        fold_affine_into_batch_norm,
        fold_affine_behind_batch_norm,
    )
