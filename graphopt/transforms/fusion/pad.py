"""Moves explicit padding into the operator that reads it.

``Conv(Pad[p, 0](x), w)[q] -> Conv(x, w)[p + q]`` for constant pads of spatial axes that are not negative. ``AveragePool`` takes pads of
zeros only as elements that count (``count_include_pad=1``). ``MaxPool`` takes pads that never win: the smallest number of the type, or
zeros where ``x`` is known to have no negative numbers; its windows are contiguous and wider than the pads, so each still sees an element.
Both only without ``ceil_mode``, which counts windows otherwise. Numerics: re-associates (zeros are left out of sums). Source:
https://onnx.ai/onnx/operators/onnx__Pad.html, onnx__Conv.html, onnx__AveragePool.html, onnx__MaxPool.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.passes import RewritePass
from graphopt.rewriting import Match, NoMatch, Reassociates, Replacement, Rewriter, Rule, any_, op, rest, rewrite
from graphopt.transforms.paddings import Padding, read_padding

__all__ = ["FusePad"]

_NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Abs", "Softmax", "HardSigmoid", "Exp", "Softplus"})


def _own_pads(node: Node, spatial: int) -> tuple[int, ...] | NoMatch:
    """Pads that the operator has already, zeros by default."""
    if node.str_attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        return NoMatch("auto_pad is %r", node.attr("auto_pad"))
    pads = node.ints_attr("pads") or (0,) * (2 * spatial)
    return pads if len(pads) == 2 * spatial else NoMatch("pads %s are not two for each of %d axes", pads, spatial)


def _with_pads(node: Node, x: Value, padding: Padding, rw: Rewriter, **more: object) -> Replacement:
    """The operator on the unpadded input with both pads, or why not."""
    spatial = padding.spatial
    if spatial is None:
        return NoMatch("pads are negative, or of batch or channels")
    own = _own_pads(node, len(spatial[0]))
    if isinstance(own, NoMatch):
        return own
    pads = tuple(a + b for a, b in zip((*spatial[0], *spatial[1]), own, strict=True))
    attributes: dict[str, object] = {**node.attributes, "pads": pads, **more}
    if "auto_pad" in attributes:
        attributes["auto_pad"] = "NOTSET"
    made = rw.new_node(node.op, [x, *node.inputs[1:]], attributes=attributes, name=node.name)
    return made.output


@rewrite(
    op.Conv(op.Pad(any_("x"), rest("how"), name="pad"), any_("w"), any_("b", optional=True)), numerics=Reassociates()
)
def fold_pad_into_conv(m: Match, rw: Rewriter) -> Replacement:
    """Conv(Pad(x), w) -> Conv(x, w)."""
    padding = read_padding(m.node("pad"), m["x"])
    if isinstance(padding, NoMatch):
        return padding
    if padding.number != 0:
        return NoMatch("pads with %g", padding.number)
    return _with_pads(m.root, m["x"], padding, rw)


def _pool_reason(pool: Node, padding: Padding) -> NoMatch | None:
    """Why pads can't move into a pooling operator, ``None`` when they can."""
    kernel, spatial = pool.ints_attr("kernel_shape"), padding.spatial
    if kernel is None or spatial is None or len(kernel) != len(spatial[0]):
        return NoMatch("pads %s do not fit to kernel %s", padding, kernel)
    if pool.attr("ceil_mode", 0) != 0 or any(dilation != 1 for dilation in pool.ints_attr("dilations") or ()):
        return NoMatch("windows are rounded up or dilated")
    own = _own_pads(pool, len(kernel))
    if isinstance(own, NoMatch):
        return own
    totals = [a + b for a, b in zip((*spatial[0], *spatial[1]), own, strict=True)]
    if any(total >= size for total, size in zip(totals, kernel * 2, strict=True)):
        return NoMatch("a window may see pads only")
    return None


@rewrite(op.AveragePool(op.Pad(any_("x"), rest("how"), name="pad")), numerics=Reassociates(), min_opset=7)
def fold_pad_into_average_pool(m: Match, rw: Rewriter) -> Replacement:
    """AveragePool(Pad(x)) -> AveragePool(x) that counts its pads."""
    padding = read_padding(m.node("pad"), m["x"])
    if isinstance(padding, NoMatch):
        return padding
    pool = m.root
    reason = _pool_reason(pool, padding)
    if reason is not None:
        return reason
    if padding.number != 0:
        return NoMatch("pads with %g", padding.number)
    if any(pool.ints_attr("pads") or ()) and pool.attr("count_include_pad", 0) != 1:
        return NoMatch("the operator's own pads do not count, those of Pad do")
    return _with_pads(pool, m["x"], padding, rw, count_include_pad=1)


@rewrite(op.MaxPool(op.Pad(any_("x"), rest("how"), name="pad")), numerics=Reassociates())
def fold_pad_into_max_pool(m: Match, rw: Rewriter) -> Replacement:
    """MaxPool(Pad(x)) -> MaxPool(x), where the pads never win."""
    padding, pool, x = read_padding(m.node("pad"), m["x"]), m.root, m["x"]
    if isinstance(padding, NoMatch):
        return padding
    if any(value.is_used for value in pool.outputs[1:]):
        return NoMatch("indices count the pads")
    reason = _pool_reason(pool, padding)
    if reason is not None:
        return reason
    if not (padding.number == 0 and _is_never_negative(x)) and not _is_lowest(padding.number, x.dtype):
        return NoMatch("a pad of %g may be the largest number of a window", padding.number)
    return _with_pads(pool, x, padding, rw)


def _is_never_negative(x: Value) -> bool:
    if x.dtype in (DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64):
        return True
    return x.producer is not None and x.producer.op in _NEVER_NEGATIVE and x.dtype is not None and x.dtype.is_float


def _is_lowest(number: float, dtype: DType | None) -> bool:
    """Whether a number is the smallest of a type."""
    if number == -math.inf:
        return True
    if dtype in (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE):
        lowest = ml_dtypes.finfo(dtype.numpy).min  # type: ignore[no-untyped-call]  # ml_dtypes leaves this one without annotations
        return number == float(lowest)
    return dtype in (DType.INT8, DType.UINT8) and number == float(
        np.iinfo(np.int8 if dtype is DType.INT8 else np.uint8).min
    )


@dataclass(frozen=True)
class FusePad(RewritePass):
    """Move constant padding into the Conv, AveragePool or MaxPool that reads it. Re-associates; idempotent."""

    name: ClassVar[str] = "fuse-pad"
    rules: ClassVar[tuple[Rule, ...]] = (fold_pad_into_conv, fold_pad_into_average_pool, fold_pad_into_max_pool)
