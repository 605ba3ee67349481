"""Folds constants that are added to, or multiplied with, what a linear operator gives or takes.

``op(x, w) * c -> op(x, w * c)``, ``op(x, w) + b + c -> op(x, w) + (b + c)``, and so for Sub and Div, with ``c`` a scalar or one number
for each output channel; ``Conv(x * c, w) -> Conv(x, w * c)`` with ``c`` a scalar or one number for each input channel (padding with zeros
commutes with scaling), unless it ends a Gelu. Touches weights. Numerics: re-associates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.passes import RewritePass
from graphopt.rewriting import (
    Match,
    NoMatch,
    Reassociates,
    Replacement,
    Rewriter,
    Rule,
    any_,
    const,
    one_of,
    op,
    rewrite,
)
from graphopt.transforms.fusion.activations.gelu import ends_gelu
from graphopt.transforms.fusion.linear import (
    Float64,
    Linear,
    add_to_bias,
    as_float64,
    per_channel,
    read_linear,
    round_to,
    scale_channels,
)

__all__ = ["FuseConvAffine"]

_WITH_BIAS = op["Conv", "ConvTranspose", "Gemm"](any_("x"), const("w"), const("b", optional=True), name="linear")
_LINEAR = one_of(_WITH_BIAS, op.MatMul(any_("x"), const("w"), name="linear"))


def _read(m: Match, *, scaled: bool) -> tuple[Linear, Float64] | NoMatch:
    """The linear operator, and the constant as one number or one for each channel."""
    linear = read_linear(m.node("linear"), scaled=scaled)
    if isinstance(linear, NoMatch):
        return linear
    constant = m["c"].const
    if constant is None or constant.dtype != linear.dtype:
        return NoMatch("the constant is not of type %s", linear.dtype)
    if constant.size > linear.channels:
        return NoMatch("the constant has %d numbers for %d channels", constant.size, linear.channels)
    numbers = per_channel(constant.numpy(), linear)
    if isinstance(numbers, NoMatch):
        return numbers
    return (linear, numbers) if np.isfinite(numbers).all() else NoMatch("the constant is not finite")


def _scaled(m: Match, rw: Rewriter, *, divide: bool) -> Replacement:
    found = _read(m, scaled=True)
    if isinstance(found, NoMatch):
        return found
    linear, factor = found
    if divide and not factor.all():
        return NoMatch("divides by zero")
    scaled = scale_channels(linear, 1 / factor if divide else factor)
    return scaled if isinstance(scaled, NoMatch) else scaled.rebuild(rw)


@rewrite(op.Mul(_LINEAR, const("c"), commute=True), numerics=Reassociates(), min_opset=7)
def fold_multiplication(m: Match, rw: Rewriter) -> Replacement:
    """Mul(Conv(x, w, b), c) -> Conv(x, w * c, b * c)."""
    return _scaled(m, rw, divide=False)


@rewrite(op.Div(_LINEAR, const("c")), numerics=Reassociates(), min_opset=7)
def fold_division(m: Match, rw: Rewriter) -> Replacement:
    """Div(Conv(x, w, b), c) -> Conv(x, w / c, b / c)."""
    return _scaled(m, rw, divide=True)


@rewrite(
    one_of(op.Add(_WITH_BIAS, const("c"), commute=True), op.Sub(_WITH_BIAS, const("c"))),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_addition(m: Match, rw: Rewriter) -> Replacement:
    """Add(Conv(x, w, b), c) -> Conv(x, w, b + c), and Sub."""
    found = _read(m, scaled=False)
    if isinstance(found, NoMatch):
        return found
    linear, term = found
    moved = add_to_bias(linear, -term if m.root.op == "Sub" else term)
    return moved if isinstance(moved, NoMatch) else moved.rebuild(rw)


@rewrite(
    op.Conv(
        one_of(op.Mul(any_("x"), const("c"), commute=True, name="scale"), op.Div(any_("x"), const("c"), name="scale")),
        const("w"),
        any_("b", optional=True),
        name="conv",
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_scale_before_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Mul(x, c), w, b) -> Conv(x, w * c, b), and Div."""
    conv, x, constant = m.node("conv"), m["x"], m["c"].const
    linear = read_linear(conv, scaled=True) if m.maybe("b") is None or m["b"].is_constant else NoMatch("bias varies")
    if isinstance(linear, NoMatch):
        return linear
    rank, weights = linear.rank or 0, linear.weight.const
    if constant is None or weights is None or constant.dtype != linear.dtype:
        return NoMatch("the constant is not of type %s", linear.dtype)
    inputs = weights.shape[1] * conv.int_attr("group", 1)
    if x.rank != rank or len(constant.shape) > rank:
        return NoMatch("%s may be broadcast by %s", x.type, constant.type)
    shape = (1,) * (rank - len(constant.shape)) + constant.shape
    if shape[:1] + shape[2:] != (1,) * (rank - 1) or shape[1] not in (1, inputs):
        return NoMatch("the constant has shape %s, expected one number for each of %d channels", constant.shape, inputs)
    if shape[1] != 1 and (x.shape is None or x.shape[1] != inputs):
        return NoMatch("%s may be broadcast by %s", x.type, constant.type)
    if ends_gelu(m.node("scale")):
        return NoMatch("it is the last product of a Gelu, which runtimes look for")
    factor = as_float64(m["c"]).reshape(-1)
    if not np.isfinite(factor).all() or (m.node("scale").op == "Div" and not factor.all()):
        return NoMatch("the constant is not finite, or divides by zero")
    factor = np.broadcast_to(1 / factor if m.node("scale").op == "Div" else factor, (inputs,))
    groups = conv.int_attr("group", 1)
    rows = np.repeat(factor.reshape(groups, -1), weights.shape[0] // groups, axis=0)
    scaled = round_to(as_float64(linear.weight) * rows.reshape(*weights.shape[:2], *[1] * (rank - 2)), linear.dtype)
    if isinstance(scaled, NoMatch):
        return scaled
    attributes: dict[str, object] = dict(conv.attributes)
    weight = rw.constant(scaled, linear.weight.name)
    return rw.new_node("Conv", [x, weight, m.maybe("b")], attributes=attributes, name=conv.name).output


@dataclass(frozen=True)
class FuseConvAffine(RewritePass):
    """Fold constants added to or multiplied with a Conv, ConvTranspose, Gemm or MatMul into its weights. Re-associates; idempotent."""

    name: ClassVar[str] = "fuse-conv-affine"
    rules: ClassVar[tuple[Rule, ...]] = (fold_multiplication, fold_division, fold_addition, fold_scale_before_conv)
