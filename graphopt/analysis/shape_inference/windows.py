"""Operators that slide a window over axes of space: convolutions and pooling.

An axis of size ``n`` gives ``(n + pads - dilation * (kernel - 1) - 1) // stride + 1`` positions, ``ceil(n / stride)`` when padded to
keep its size. A window larger than its padded axis is an error to a convolution; pooling rounds to zero then. Rounding up (``ceil_mode``)
is left unknown where runtimes disagree about a window that begins in the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, DType, Node, Shape, Type, dim_max, lower_bound
from graphopt.ir.dims import KnownDim

__all__ = ["FUNCTIONS"]


def _ints(node: Node, name: str, count: int, default: int) -> tuple[int, ...] | None:
    """An attribute with one entry for each axis of space, ``None`` when it has another length."""
    stated = node.attributes.get(name)
    if stated is None or not stated.value:
        return (default,) * count
    value = stated.value
    return value if isinstance(value, tuple) and len(value) == count else None  # type: ignore[return-value]  # integers


def positions(node: Node, sizes: Shape, kernel: Sequence[Dim], *, ceil: bool = False, pools: bool = False) -> Shape:
    """Sizes of the axes of space after a window went over them.

    Args:
        node: states strides, dilations and padding.
        sizes: of the axes before.
        kernel: of the window.
        ceil: whether positions are counted in which the window is not whole at the end.
        pools: whether the runtime takes a window that is larger than its padded axis, as pooling does where that has elements.
    """
    count = len(sizes)
    strides, dilations = _ints(node, "strides", count, 1), _ints(node, "dilations", count, 1)
    pads = _ints(node, "pads", 2 * count, 0)
    mode = node.attributes.get("auto_pad")
    padding = str(mode.value) if mode is not None else "NOTSET"
    if strides is None or dilations is None or pads is None or len(kernel) != count or min(strides, default=1) < 1:
        return (None,) * count
    found: list[Dim] = []
    for axis, size in enumerate(sizes):
        window, stride = kernel[axis], strides[axis]
        if size is None or window is None:
            found.append(None)
        elif padding.startswith("SAME"):
            found.append(None if ceil else (size + (stride - 1)) // stride)
        else:
            around = 0 if padding == "VALID" else pads[axis] + pads[axis + count]
            free = size + around - (window - 1) * dilations[axis] - 1
            if ceil and stride > 1:
                found.append(_rounded_up(size, free, stride, 0 if padding == "VALID" else pads[axis]))
            elif pools and stride > 1:
                found.append(_rounded_to_zero(free, stride, free - size + 1))
            else:
                found.append(free // stride + 1)
    return tuple(found)


def _rounded_up(size: Dim, free: Dim, stride: int, before: int) -> Dim:
    """Positions with the last one not whole, if that begins in the axis or in the padding before it."""
    if not isinstance(size, int) or not isinstance(free, int):
        return None
    count = -(-free // stride) + 1
    return count if (count - 1) * stride < size + before else None


def _rounded_to_zero(free: KnownDim, stride: int, least: KnownDim) -> Dim:
    """Positions of a window that may be larger than its axis: the division rounds to zero.

    Args:
        free: how far the window can move; negative if it is larger.
        stride: above 1.
        least: how far it can move in an axis of one element.
    """
    if isinstance(free, int):
        return free // stride + 1 if free >= 0 else None
    bound = lower_bound(least)
    if bound is None or bound <= -stride:
        return None
    count = free // stride + 1
    return count if bound >= 0 else dim_max(count, 1)


def convolved(node: Node, facts: Facts, w: Shape | None, *, channels_last: bool = False) -> Shape | None:
    """The shape of a convolution of the first input [N, C, ...] with ``w`` [M, C/group, ...]."""
    x = shape_at(node, facts, 0)
    if x is None or len(x) < 3:
        return None
    space = x[1:-1] if channels_last else x[2:]
    stated = node.attributes.get("kernel_shape")
    kernel: Sequence[Dim] | None = None
    if w is not None and len(w) == len(x):
        kernel = w[2:]
    elif stated is not None and isinstance(stated.value, tuple):
        kernel = stated.value  # type: ignore[assignment]  # integers
    sizes = (None,) * len(space) if kernel is None else positions(node, space, kernel)
    maps = w[0] if w is not None and len(w) == len(x) else None
    facts.note_sizes(node, sizes)
    facts.note_positive(node, *space)
    return (x[0], *sizes, maps) if channels_last else (x[0], maps, *sizes)


def convolution_with(
    weight: int, result: Callable[[Node], DType | None], node: Node, facts: Facts, *, channels_last: bool = False
) -> Sequence[Type | None]:
    """A convolution whose weights are input ``weight``."""
    last = node.attributes.get("channels_last")
    channels_last = channels_last or (last is not None and last.value == 1)
    shape = convolved(node, facts, shape_at(node, facts, weight), channels_last=channels_last)
    return (tensor(result(node), shape),)


def _first(node: Node) -> DType | None:
    return dtype_at(node, 0)


def _conv_transpose(node: Node, facts: Facts) -> Sequence[Type | None]:
    x, w, dtype = shape_at(node, facts, 0), shape_at(node, facts, 1), dtype_at(node, 0)
    if x is None or len(x) < 3:
        return (tensor(dtype, None),)
    count = len(x) - 2
    group = node.attributes.get("group")
    groups = group.value if group is not None and isinstance(group.value, int) else 1
    maps = None if w is None or len(w) != len(x) or w[1] is None else w[1] * groups
    strides, dilations = _ints(node, "strides", count, 1), _ints(node, "dilations", count, 1)
    pads, extra = _ints(node, "pads", 2 * count, 0), _ints(node, "output_padding", count, 0)
    mode = node.attributes.get("auto_pad")
    if "output_shape" in node.attributes or (mode is not None and mode.value not in ("NOTSET", "VALID")):
        return (tensor(dtype, (x[0], maps, *((None,) * count))),)
    if strides is None or dilations is None or pads is None or extra is None or w is None or len(w) != len(x):
        return (tensor(dtype, (x[0], maps, *((None,) * count))),)
    if mode is not None and mode.value == "VALID":
        pads = (0,) * len(pads)
    found: list[Dim] = []
    for axis, (size, window) in enumerate(zip(x[2:], w[2:], strict=True)):
        if size is None or window is None:
            found.append(None)
            continue
        reach = (window - 1) * dilations[axis] + 1
        found.append((size - 1) * strides[axis] + extra[axis] + reach - pads[axis] - pads[axis + count])
    return (tensor(dtype, (x[0], maps, *found)),)


def _pooled(node: Node, facts: Facts) -> Shape | None:
    x = shape_at(node, facts, 0)
    kernel = node.ints_attr("kernel_shape")
    if x is None or kernel is None or len(kernel) != len(x) - 2:
        return None
    last = node.attributes.get("channels_last")
    ceil = node.attributes.get("ceil_mode")
    facts.note_positive(node, *(x[1:-1] if last is not None and last.value == 1 else x[2:]))
    rounds_up = ceil is not None and ceil.value == 1
    if last is not None and last.value == 1:
        return (x[0], *positions(node, x[1:-1], kernel, ceil=rounds_up, pools=True), x[-1])
    return (*x[:2], *positions(node, x[2:], kernel, ceil=rounds_up, pools=True))


def _pool(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = dtype_at(node, 0)
    shape = _pooled(node, facts)
    return (tensor(dtype, shape), tensor(DType.INT64, shape))[: len(node.outputs)]


def _global_pool(node: Node, facts: Facts) -> Sequence[Type | None]:
    x, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if x is None or len(x) < 2:
        return (tensor(dtype, None),)
    last = node.attributes.get("channels_last")
    if last is not None and last.value == 1:
        return (tensor(dtype, (x[0], *((1,) * (len(x) - 2)), x[-1])),)
    return (tensor(dtype, (*x[:2], *((1,) * (len(x) - 2)))),)


def _regions(node: Node, facts: Facts) -> Sequence[Type | None]:
    """One window for each region: [regions, channels, height, width]."""
    x, regions = shape_at(node, facts, 0), shape_at(node, facts, 1)
    pooled = node.ints_attr("pooled_shape")
    height, width = (node.int_attr("output_height", 1), node.int_attr("output_width", 1)) if pooled is None else pooled
    channels = None if x is None or len(x) != 4 else x[1]
    return (tensor(dtype_at(node, 0), (None if not regions else regions[0], channels, height, width)),)


def _int32(_node: Node) -> DType:
    return DType.INT32


def _zero_point(index: int) -> Callable[[Node], DType | None]:
    return lambda node: dtype_at(node, index) or dtype_at(node, 0)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Conv": partial(convolution_with, 1, _first),
    "ConvInteger": partial(convolution_with, 1, _int32),
    "QLinearConv": partial(convolution_with, 3, _zero_point(7)),
    "DeformConv": partial(convolution_with, 1, _first),
    "ConvTranspose": _conv_transpose,
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _global_pool),
    **dict.fromkeys(("RoiAlign", "MaxRoiPool"), _regions),
    "com.microsoft::FusedConv": partial(convolution_with, 1, _first),
    **dict.fromkeys(
        ("com.microsoft::NhwcConv", "com.microsoft::NhwcFusedConv"),
        partial(convolution_with, 1, _first, channels_last=True),
    ),
    "com.microsoft::QLinearConv": partial(convolution_with, 3, _zero_point(7)),
    "com.microsoft::QLinearAveragePool": _pool,
    "com.microsoft::QLinearGlobalAveragePool": _global_pool,
}
