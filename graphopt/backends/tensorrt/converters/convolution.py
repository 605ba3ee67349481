"""Convolutions and their transposes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, fixed_inputs, floats_only, rank_of
from graphopt.backends.tensorrt.converters.windows import Window, one_dimensional, window_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Layer, Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import Array, Node

__all__ = ["conv", "conv_supports", "conv_transpose"]


def _spatial(node: Node) -> str | None:
    rank = rank_of(node.input_at(0))
    if rank is not None and rank not in (3, 4, 5):
        return f"a convolution over {rank - 2} axes"
    return None


def _fixed_channels(node: Node) -> str | None:
    value = node.input_at(0)
    if value is not None and value.shape is not None and not isinstance(value.shape[1], int):
        return "a transposed convolution of a number of channels that is not fixed"
    return None


#: Why there is no layer for a convolution.
conv_supports = all_of(floats_only, _spatial, fixed_inputs(1))


@lower("Conv", supports=conv_supports)
def conv(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One convolution layer; weights that are not constant, or one number all over, are its second input."""
    x, kernel = e.input(node, 0), _kernel_shape(e, node)
    window = window_of(e, node, kernel[2:], tuple(x.shape)[2:])
    flat = len(kernel) == 3
    if flat:
        x, window = one_dimensional(x, e), window.widened()
    array, bias = e.kernel(node, 1), e.array(node, 2)
    later = e.optional(node, 2) if bias is None else None
    dtype = e.api.ir_dtype(x.dtype)
    layer = e.check(
        e.network.add_convolution_nd(
            x, kernel[0], window.kernel, e.weights(_widened(array, flat=flat), dtype), e.weights(bias, dtype)
        ),
        settled=False,
    )
    if array is None:
        w = e.input(node, 1)
        layer.set_input(1, one_dimensional(w, e) if flat else w)
    layer.num_groups = node.int_attr("group", 1)
    _set(layer, window)
    found = e.out(layer)
    if later is not None:
        found = e.elementwise(found, e.unsqueeze(later, range(1, e.rank(found) - 1)), "SUM")
    return [e.squeeze(found, [2]) if flat else found]


def _kernel_shape(e: Emitter, node: Node) -> tuple[int, ...]:
    array = e.array(node, 1)
    return tuple(array.shape) if array is not None else tuple(e.input(node, 1).shape)


def _widened(array: Array | None, *, flat: bool) -> Array | None:
    return array[:, :, None, :] if flat and array is not None else array


def _set(layer: Layer, window: Window) -> None:
    layer.stride_nd, layer.dilation_nd = window.strides, window.dilations
    layer.pre_padding, layer.post_padding = window.before, window.after


@lower("ConvTranspose", supports=all_of(floats_only, _spatial, _fixed_channels, fixed_inputs(1)))
def conv_transpose(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One deconvolution layer; what ``output_padding`` adds beyond the padding that is cut holds the bias alone."""
    x, kernel = e.input(node, 0), _kernel_shape(e, node)
    sizes = tuple(x.shape)[2:]
    count, groups = len(kernel) - 2, node.int_attr("group", 1)
    strides = node.ints_attr("strides") or (1,) * count
    dilations = node.ints_attr("dilations") or (1,) * count
    if any(s > 1 and d > 1 for s, d in zip(strides, dilations, strict=True)):
        raise e.fail("a transposed convolution with strides and dilations")
    before, after, extra = _transposed_padding(e, node, kernel[2:], sizes, strides, dilations)
    window = Window(kernel[2:], strides, dilations, before, after, after)
    flat = count == 1
    if flat:
        x, window = one_dimensional(x, e), window.widened()
    array, dtype = e.array(node, 1), e.api.ir_dtype(x.dtype)
    maps, bias = kernel[1] * groups, e.array(node, 2)
    apart = any(extra) or (bias is None and node.input_at(2) is not None)
    layer = e.check(
        e.network.add_deconvolution_nd(
            x,
            maps,
            window.kernel,
            e.weights(_widened(array, flat=flat), dtype),
            e.weights(None if apart else bias, dtype),
        ),
        settled=False,
    )
    if array is None:
        w = e.input(node, 1)
        layer.set_input(1, one_dimensional(w, e) if flat else w)
    layer.num_groups = groups
    _set(layer, window)
    found = e.out(layer)
    if any(extra):
        found = _padded_behind(e, found, (0, *extra) if flat else extra)
    if apart and node.input_at(2) is not None:
        found = e.elementwise(found, e.unsqueeze(e.input(node, 2), range(1, e.rank(found) - 1)), "SUM")
    return [e.squeeze(found, [2]) if flat else found]


def _transposed_padding(
    e: Emitter,
    node: Node,
    kernel: Sequence[int],
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What is cut in front and behind, and what is added behind."""
    count = len(kernel)
    adds = node.ints_attr("output_padding") or (0,) * count
    wanted, auto = node.ints_attr("output_shape"), node.str_attr("auto_pad") or "NOTSET"
    spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    if wanted is not None or auto.startswith("SAME"):
        if -1 in sizes:
            raise e.fail("a transposed convolution whose padding depends on a size that is not known")
        shape = wanted if wanted is not None else [size * step for size, step in zip(sizes, strides, strict=True)]
        totals = [
            step * (size - 1) + add + span - goal
            for step, size, add, span, goal in zip(strides, sizes, adds, spans, shape[-count:], strict=True)
        ]
        halves = [total // 2 for total in totals]
        rest = [total - half for total, half in zip(totals, halves, strict=True)]
        before, after = (halves, rest) if auto == "SAME_UPPER" else (rest, halves)
    else:
        pads = (node.ints_attr("pads") if auto != "VALID" else None) or (0,) * (2 * count)
        before, after = list(pads[:count]), list(pads[count:])
    behind = [back - add for back, add in zip(after, adds, strict=True)]
    if min(before) < 0:
        raise e.fail("a transposed convolution with a negative padding in front")
    return tuple(before), tuple(max(0, item) for item in behind), tuple(max(0, -item) for item in behind)


def _padded_behind(e: Emitter, tensor: Tensor, extra: Sequence[int]) -> Tensor:
    """A tensor with zeros behind its spatial axes."""
    rank, more = e.rank(tensor), np.array([0, 0, *extra], np.int64)
    start, stride = [0] * rank, [1] * rank
    layer = e.check(e.network.add_slice(tensor, start, [1] * rank, stride))
    layer.mode = e.api.enum("SampleMode", "FILL")
    if -1 in tuple(tensor.shape):
        layer.set_input(2, e.elementwise(e.shape(tensor), e.constant(more), "SUM"))
    else:
        layer.shape = tuple(int(size) for size in np.array(tuple(tensor.shape)) + more)
    return e.out(layer)
