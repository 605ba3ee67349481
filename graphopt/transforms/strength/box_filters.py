"""Replaces convolutions with weights that say nothing: kernels that pick one element each, and kernels of equal numbers.

``Conv(x, w) -> x`` where each output channel is its own input channel, taken at the same place: weights of 1x1 that are the identity, or
one 1 in each depthwise kernel, where the pads are. ``Conv(x, w) -> AveragePool(x)`` where each depthwise kernel is ``1 / size`` everywhere
(a blur, or a mean that an exporter wrote so); pads count as zeros. Only for channels that fill no blocks of 8: measured in ONNX Runtime on
one core, pooling takes 0.08 to 0.6 of the time there, and 0.96 to 1.35 in its blocked layout. Numerics: re-associates; what is multiplied
by a zero is left out. Source: https://onnx.ai/onnx/operators/onnx__Conv.html, onnx__AveragePool.html
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, Node
from graphopt.numerics import Reassociates
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, const, op, rewrite

__all__ = ["RULES"]

_BLOCK = 8
_ROUNDING = 1e-6
_MOST_PIXELS = 1 << 12


def _weights(m: Match) -> Array | NoMatch:
    """The weights of a convolution that keeps the number of channels; read only if that is so."""
    conv, shape = m.root, m["w"].shape or ()
    if len(shape) < 3 or 0 in shape:
        return NoMatch("weights have shape %s", shape)
    if conv.str_attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        return NoMatch("auto_pad is %r", conv.attr("auto_pad"))
    count, per_group = shape[:2]
    if not isinstance(per_group, int) or count != per_group * conv.int_attr("group", 1):
        return NoMatch("%s channels per group become %s", per_group, count)
    return m.array("w")


def _pads(conv: Node, spatial: int) -> tuple[int, ...]:
    none = (0,) * (2 * spatial)
    return none if conv.str_attr("auto_pad", "NOTSET") == "VALID" else conv.ints_attr("pads") or none


@rewrite(op.Conv(any_("x"), const("w"), const("b", optional=True, equal_to=0)), numerics=Reassociates(1e-6))
def eliminate_identity_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(x, w) -> x, where each channel is itself."""
    conv = m.root
    if any(stride != 1 for stride in conv.ints_attr("strides") or ()):
        return NoMatch("it steps by %s", conv.ints_attr("strides"))
    w = _weights(m)
    if isinstance(w, NoMatch):
        return w
    spatial = w.ndim - 2
    taps = np.argwhere(w[0] != 0)
    if len(taps) != 1 or taps[0][0] != 0:
        return NoMatch("the first channel is more than itself")
    place = tuple(int(item) for item in taps[0][1:])
    expected = np.zeros_like(w)
    channels = np.arange(w.shape[0])
    expected[(channels, channels % w.shape[1], *place)] = 1
    if not np.array_equal(w, expected):
        return NoMatch("a channel is more than itself, or another one")
    by = conv.ints_attr("dilations") or (1,) * spatial
    sizes = w.shape[2:]
    begins = tuple(tap * step for tap, step in zip(place, by, strict=True))
    ends = tuple((size - 1 - tap) * step for size, tap, step in zip(sizes, place, by, strict=True))
    if _pads(conv, spatial) != (*begins, *ends):
        return NoMatch("pads are %s, expected %s", _pads(conv, spatial), (*begins, *ends))
    return m["x"]


@rewrite(op.Conv(any_("x"), const("w"), const("b", optional=True, equal_to=0)), numerics=Reassociates(), min_opset=7)
def average_instead_of_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(x, 1 / size) -> AveragePool(x), for each channel on its own."""
    conv, w, x = m.root, _weights(m), m["x"]
    if isinstance(w, NoMatch):
        return w
    sizes, spatial = w.shape[2:], w.ndim - 2
    count = int(np.prod(sizes))
    if w.shape[1] != 1 or not 2 <= count <= _MOST_PIXELS:
        return NoMatch("kernels read several channels, or one element")
    if w.shape[0] % _BLOCK == 0:
        return NoMatch("%d channels fill blocks, in which both take as long", w.shape[0])
    if any(step != 1 for step in conv.ints_attr("dilations") or ()):
        return NoMatch("kernels have holes")
    numbers = w.astype(np.float64) * count
    if not (np.abs(numbers - 1) <= _ROUNDING).all():
        return NoMatch("kernels are not %g everywhere", 1 / count)
    pads = _pads(conv, spatial)
    if any(pad >= size or pad < 0 for pad, size in zip(pads, sizes * 2, strict=True)):
        return NoMatch("pads %s are not smaller than the kernel", pads)
    attributes: dict[str, object] = {"kernel_shape": sizes, "strides": conv.ints_attr("strides") or (1,) * spatial}
    if any(pads):
        attributes |= {"pads": pads, "count_include_pad": 1}
    return rw.new_node("AveragePool", [x], attributes=attributes).output


RULES = (eliminate_identity_conv, average_instead_of_conv)
