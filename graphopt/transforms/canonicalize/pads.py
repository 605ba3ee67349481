"""Merges Pad after Pad.

``Pad[q](Pad[p](x)) -> Pad[p + q](x)`` for constant pads of one number, or of the elements at the edges, if no axis is padded by one and cut
by the other. Exact. Source: https://onnx.ai/onnx/operators/onnx__Pad.html
"""

from __future__ import annotations

import math

import numpy as np

from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.paddings import read_padding

__all__ = ["RULES"]


_MODES = ("constant", "edge")


@rewrite(op.Pad(op.Pad(any_("x"), rest("first"), name="inner"), rest("second"), name="outer"))
def merge_pads(m: Match, rw: Rewriter) -> Replacement:
    """Pad(Pad(x)) -> Pad(x) with the sums of the pads."""
    inner, outer, x = m.node("inner"), m.node("outer"), m["x"]
    mode = outer.str_attr("mode", "constant")
    if mode not in _MODES:
        return NoMatch("mode is %r", mode)
    first, second = read_padding(inner, x, mode), read_padding(outer, inner.output, mode)
    if isinstance(first, NoMatch):
        return first
    if isinstance(second, NoMatch):
        return second
    if first.number != second.number or math.copysign(1, first.number) != math.copysign(1, second.number):
        return NoMatch("%g is put around %g", second.number, first.number)
    before, after = (*first.begins, *first.ends), (*second.begins, *second.ends)
    if len(before) != len(after):
        return NoMatch("pads %s and %s are of other ranks", before, after)
    half = len(before) // 2
    for axis in range(half):
        pads = (before[axis], before[axis + half], after[axis], after[axis + half])
        if min(pads) < 0 < max(pads) or (mode == "edge" and min(pads) < 0):
            return NoMatch("axis %d is padded and cut: %s", axis, pads)
    total = tuple(a + b for a, b in zip(before, after, strict=True))
    stated: dict[str, object] = {"mode": mode} if "mode" in outer.attributes else {}
    if (outer.opset or 0) >= 11:
        return rw.new_node("Pad", [x, np.array(total, np.int64), outer.input_at(2)], attributes=stated).output
    if "value" in outer.attributes:
        stated["value"] = outer.float_attr("value")
    return rw.new_node("Pad", [x], attributes={**stated, "pads": total}).output


RULES = (merge_pads,)
