"""Removes Expand, Tile, Pad, Resize and Upsample nodes that give out what they take in.

They do when the expanded shape, the repeats, the pads or the scales say so: sizes of 1 or those of the input, repeats of 1, pads of 0,
scales of 1 in mode ``nearest`` (other modes add neighbours times zero, which is not exact for infinity). Exact.
Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rest, rewrite
from graphopt.transforms.broadcasting import keeps_shape, same_shape
from graphopt.transforms.operands import constant_ints, ints_operand

__all__ = ["RULES"]


@rewrite(op.Expand(any_("x"), any_("shape")))
def eliminate_expand(m: Match, rw: Rewriter) -> Replacement:
    """Expand(x, shape) -> x where x has the expanded shape already."""
    x = m["x"]
    if same_shape(x.shape, m.root.output.shape):
        return x
    target = constant_ints(m["shape"])
    if isinstance(target, NoMatch):
        return target
    return x if keeps_shape(x.shape, target) else NoMatch("%s may grow to %s", x.type, target)


@rewrite(op.Tile(any_("x"), any_("repeats")), min_opset=6)
def eliminate_tile(m: Match, rw: Rewriter) -> Replacement:
    """Tile(x, 1) -> x."""
    repeats = constant_ints(m["repeats"])
    if isinstance(repeats, NoMatch):
        return repeats
    return m["x"] if set(repeats) <= {1} else NoMatch("repeats are %s", repeats)


@rewrite(op.Pad(any_("x"), rest("how")))
def eliminate_pad(m: Match, rw: Rewriter) -> Replacement:
    """Pad(x, 0) -> x, in every mode."""
    pads = ints_operand(m.root, "pads" if (m.root.opset or 0) >= 2 else "paddings", 1)
    if not isinstance(pads, tuple):
        return pads if pads is not None else NoMatch("pads are absent")
    return NoMatch("pads are %s", pads) if any(pads) else m["x"]


@rewrite(op["Resize", "Upsample"](any_("x"), rest("how")))
def eliminate_resize(m: Match, rw: Rewriter) -> Replacement:
    """Resize(x) -> x for scales of 1, or the sizes that x has, in mode nearest."""
    node, x = m.root, m["x"]
    if node.attr("mode", "nearest") != "nearest":
        return NoMatch("mode %r may change infinities", node.attr("mode"))
    if node.attributes and node.str_attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return NoMatch("a region is cropped")
    has_roi = node.op == "Resize" and (node.opset or 0) >= 11
    scales = node.input_at(2 if has_roi else 1)
    if scales is not None and not (scales.is_constant and scales.const is not None and scales.const.size == 0):
        return x if _all_ones(scales) else NoMatch("scales are not constant, or not 1")
    if "scales" in node.attributes:
        stated = node.attr("scales")
        return x if isinstance(stated, tuple) and set(stated) == {1.0} else NoMatch("scales are %s", stated)
    sizes = node.input_at(3) if has_roi else None
    return x if sizes is not None and _has_sizes(x, sizes, node) else NoMatch("sizes are not those of %r", x.name)


def _all_ones(scales: Value) -> bool:
    array = scales.array()
    return array is not None and bool(np.all(array == 1))


def _has_sizes(x: Value, sizes: Value, node: Node) -> bool:
    """Whether constant sizes, of all axes or of those named, are the known sizes of ``x``."""
    wanted = constant_ints(sizes)
    if isinstance(wanted, NoMatch) or x.shape is None:
        return False
    axes = node.ints_attr("axes") if "axes" in node.attributes else tuple(range(len(x.shape)))
    if axes is None or len(axes) != len(wanted):
        return False
    return all(
        -len(x.shape) <= axis < len(x.shape) and x.shape[axis] == size for axis, size in zip(axes, wanted, strict=True)
    )


RULES = (eliminate_expand, eliminate_tile, eliminate_pad, eliminate_resize)
