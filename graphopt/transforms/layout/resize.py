"""Lets a convolution of single elements run before its input is enlarged instead of after.

``Conv(Resize(x), w, b) -> Resize(Conv(x, w, b))`` and ``Conv(Concat(Resize(x1), x2, ...), w, b) -> Sum(Resize(Conv(x1, w1, b)), Conv(x2,
w2), ...)``: interpolation between places commutes with a mixture of channels, and its weights add up to one, so that the bias stays what
it is. Only where the convolution computes at most three quarters as much, for enlargement with nearest or linear interpolation. Touches
weights; needs types. Numerics: re-associates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    op,
    rest,
    rewrite,
)
from graphopt.transforms.fusion.linear import read_linear
from graphopt.transforms.layout.channels import channel_count
from graphopt.transforms.layout.linear_chains import is_pointwise
from graphopt.transforms.operands import constant_ints

__all__ = ["ConvolveBeforeResize"]

#: How much a convolution may compute afterwards, of what it computes before.
_WORTH = 0.75


def _shrinks(resize: Node) -> float | NoMatch:
    """Elements of a channel before an enlargement that commutes with pointwise convolutions, by those after it."""
    if resize.str_attr("mode", "nearest") not in ("nearest", "linear") or resize.attr("antialias", 0):
        return NoMatch("mode is %r", resize.attr("mode"))
    if resize.str_attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return NoMatch("places outside get another number")
    if resize.attr("keep_aspect_ratio_policy") not in (None, "stretch") or resize.attr("axes") is not None:
        return NoMatch("sizes depend on an attribute")
    x, rank = resize.inputs[0], resize.output.rank
    if x is None or rank is None or rank < 3:
        return NoMatch("the rank is not known")
    scales, sizes = resize.input_at(2), resize.input_at(3)
    if sizes is None and scales is not None and scales.is_constant and (array := scales.array()) is not None:
        factors = array.astype(np.float64).reshape(-1)
        if factors.size != rank or (factors[:2] != 1).any() or (factors < 1).any():
            return NoMatch("scales %s do more than to enlarge channels", factors)
        return float(1 / factors.prod())
    before, after = x.shape, resize.output.shape
    if sizes is None or before is None or after is None:
        return NoMatch("sizes are not known")
    if before[0] is None or before[0] != after[0] or not isinstance(before[1], int) or before[1] != after[1]:
        return NoMatch("batch or channels may be resized")
    pairs = [(a, b) for a, b in zip(before[2:], after[2:], strict=True) if isinstance(a, int) and isinstance(b, int)]
    if len(pairs) < rank - 2 or not all(0 < a <= b for a, b in pairs):
        return NoMatch("sizes %s do not enlarge %s", after, before)
    if isinstance(constant_ints(sizes), NoMatch) and any(b % a for a, b in pairs):
        return NoMatch("sizes are computed, and no multiples")
    return math.prod(a / b for a, b in pairs)


def _resized(resize: Node, x: Value, channels: int, rw: Rewriter) -> Value:
    """The enlargement of another value, which has ``channels`` channels."""
    inputs = list(resize.inputs)
    inputs[0] = x
    sizes = resize.input_at(3)
    if sizes is not None:
        numbers = constant_ints(sizes)
        if isinstance(numbers, NoMatch):  # the batch is not known: multiples say the same
            pairs = zip((resize.inputs[0] or x).shape or (), resize.output.shape or (), strict=True)
            factors = [b / a if isinstance(a, int) and isinstance(b, int) else 1.0 for a, b in pairs]
            inputs[2:] = [rw.constant(np.array(factors, np.float32), sizes.name)]
        else:
            inputs[3] = rw.constant(np.array([numbers[0], channels, *numbers[2:]], np.int64), sizes.name)
    attributes: dict[str, object] = dict(resize.attributes)
    return rw.new_node("Resize", inputs, attributes=attributes).output


@rewrite(
    op.Conv(op.Resize(any_("x"), rest("how"), name="resize"), const("w"), const("b", optional=True)),
    numerics=Reassociates(),
    min_opset=11,
)
def convolve_before_resize(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Resize(x), w, b) -> Resize(Conv(x, w, b))."""
    conv, ratio = read_linear(m.root, scaled=False), _shrinks(m.node("resize"))
    if isinstance(conv, NoMatch) or isinstance(ratio, NoMatch):
        return conv if isinstance(conv, NoMatch) else NoMatch("%s", ratio)
    channels = channel_count(m["x"])
    if not is_pointwise(conv) or channels is None or conv.channels > channels or ratio > _WORTH:
        return NoMatch("nothing would become less")
    attributes: dict[str, object] = dict(m.root.attributes)
    inputs = [m["x"], *m.root.inputs[1:]]
    made = rw.new_node("Conv", inputs, attributes=attributes).output
    return _resized(m.node("resize"), made, conv.channels, rw)


class ConvolveBeforeConcat(RewritePattern):
    """Conv(Concat(Resize(x1), x2, ...), w, b) -> Sum(Resize(Conv(x1, w1, b)), Conv(x2, w2), ...)."""

    name: ClassVar[str] = "convolve-before-concat"
    roots: ClassVar[tuple[str, ...]] = ("Conv",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Conv(
            op.Concat(op.Resize(any_("x"), rest("how")), op.Resize(any_("y"), rest("more")), axis=1),
            const("w"),
            const("b"),
        ),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Take the Concat apart, if that pays."""
        joined = node.inputs[0]
        concat = None if joined is None else joined.producer
        if concat is None or joined is None or concat.op != "Concat" or concat.graph is not node.graph:
            return NoMatch("the input is no Concat")
        if joined.use_count > 1 or joined.is_graph_output or concat.attr("axis") not in (1, 1 - (joined.rank or 0)):
            return NoMatch("the Concat has other users, or another axis")
        if (node.opset or 0) < 11:
            return NoMatch("Resize means something else before opset 11")
        conv = read_linear(node, scaled=True)
        if isinstance(conv, NoMatch):
            return conv
        parts = [value for value in concat.inputs if value is not None]
        counts = [channel_count(value) for value in parts]
        weight = conv.weight.array()
        if not is_pointwise(conv) or weight is None or None in counts or sum(c or 0 for c in counts) != weight.shape[1]:
            return NoMatch("the convolution looks at several places, or channels are not known")
        ratios = [_ratio(value, count or 0, conv.channels, node) for value, count in zip(parts, counts, strict=True)]
        if sum(ratio * (count or 0) for ratio, count in zip(ratios, counts, strict=True)) > _WORTH * weight.shape[1]:
            return NoMatch("the convolution would compute as much as before")
        rw.matched = [
            node,
            concat,
            *(p.producer for p, ratio in zip(parts, ratios, strict=True) if ratio < 1 and p.producer),
        ]
        return self._apart(node, parts, ratios, rw)

    def _apart(self, node: Node, parts: Sequence[Value], ratios: Sequence[float], rw: Rewriter) -> Replacement:
        weight, place, addends = node.inputs[1], 0, list[Value]()
        assert weight is not None, "it was looked at"
        numbers = weight.array()
        assert numbers is not None, "it was looked at"
        for value, ratio in zip(parts, ratios, strict=True):
            count = channel_count(value) or 0
            mine = rw.constant(np.ascontiguousarray(numbers[:, place : place + count]), weight.name)
            resize = value.producer if ratio < 1 else None
            source = value if resize is None else resize.inputs[0]
            attributes: dict[str, object] = dict(node.attributes)
            bias = None if place else node.input_at(2)
            made = rw.new_node("Conv", [source, mine, bias], attributes=attributes).output
            addends.append(made if resize is None else _resized(resize, made, numbers.shape[0], rw))
            place += count
        return _sum(addends, ratios, rw)


def _sum(addends: Sequence[Value], ratios: Sequence[float], rw: Rewriter) -> Value:
    """The sum of all parts; one that is a convolution comes last, where a runtime adds in it and applies the activation behind it."""
    order = [value for value, ratio in zip(addends, ratios, strict=True) if ratio < 1]
    order += [value for value, ratio in zip(addends, ratios, strict=True) if ratio == 1]
    if len(order) > 2:
        order = [rw.new("Sum" if len(order) > 3 else "Add", *order[:-1]), order[-1]]
    return order[0] if len(order) == 1 else rw.new("Add", *order)


def _ratio(value: Value, count: int, channels: int, conv: Node) -> float:
    """How much smaller the input of a convolution becomes: that of an enlargement which may move behind it, else 1."""
    resize = value.producer
    if resize is None or resize.op != "Resize" or resize.graph is not conv.graph or channels > count:
        return 1.0
    if value.use_count > 1 or value.is_graph_output:
        return 1.0
    ratio = _shrinks(resize)
    return 1.0 if isinstance(ratio, NoMatch) else min(ratio, 1.0)


@dataclass(frozen=True)
class ConvolveBeforeResize(RewritePass):
    """Run a Conv of single elements before its input is enlarged. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "convolve-before-resize"
    rules: ClassVar[tuple[Rule, ...]] = (convolve_before_resize, ConvolveBeforeConcat())
