"""Resize, Upsample and GridSample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.interpolation import axis_resizes, weights_of
from graphopt.backends.tensorrt.converters.matrices import product
from graphopt.backends.tensorrt.converters.operands import (
    all_of,
    constants,
    floats_only,
    integers,
    rank_of,
    static_shape,
)
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node, constant_of

__all__ = ["grid_sample", "resize", "upsample"]

_COORDINATES = {
    "half_pixel": "HALF_PIXEL",
    "pytorch_half_pixel": "HALF_PIXEL",
    "align_corners": "ALIGN_CORNERS",
    "asymmetric": "ASYMMETRIC",
}
_ROUNDING = {"round_prefer_floor": "HALF_DOWN", "round_prefer_ceil": "HALF_UP", "floor": "FLOOR", "ceil": "CEIL"}
_MODES = {"nearest": "NEAREST", "linear": "LINEAR", "bilinear": "LINEAR", "cubic": "CUBIC", "bicubic": "CUBIC"}


def _by_matrices(node: Node) -> bool:
    """Whether TensorRT's layer lacks it."""
    coordinates = node.str_attr("coordinate_transformation_mode") or "half_pixel"
    policy = node.str_attr("keep_aspect_ratio_policy") or "stretch"
    if coordinates == "align_corners" and (scales := constant_of(node.input_at(2))) is not None and scales.size:
        value, axes = node.input_at(0), node.ints_attr("axes")
        shape = () if value is None or value.shape is None else value.shape
        sizes = [shape[axis] for axis in axes] if axes else list(shape)
        factors = scales.numpy().reshape(-1)
        if not all(
            isinstance(size, int) and float(size * float(factor)).is_integer()
            for size, factor in zip(sizes, factors, strict=True)
        ):
            return True  # the size is rounded before it is used there
    return coordinates not in _COORDINATES or bool(node.int_attr("antialias", 0)) or policy != "stretch"


def _known_resize(node: Node) -> str | None:
    if (node.opset or 11) < 11:
        return constants(1)(node)
    if not _by_matrices(node):
        return constants(2)(node)
    if static_shape(node.input_at(0)) is None:
        return "a Resize by weights (antialiasing, a crop, rounded sizes) of sizes that are not fixed"
    return constants(1, 2, 3)(node)


@lower("Resize", supports=all_of(floats_only, _known_resize))
def resize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer, by sizes where they are stated, else by factors."""
    x, old = e.input(node, 0), (node.opset or 11) < 11
    if not old and _by_matrices(node):
        return [_weighted(e, node, x)]
    rank = e.rank(x)
    scales = e.array(node, 1 if old else 2)
    axes = [axis % rank for axis in node.ints_attr("axes") or range(rank)]
    sizes = None if old else integers(node, "", 3)
    layer = e.check(e.network.add_resize(x), settled=False)
    coordinates = "asymmetric" if old else node.str_attr("coordinate_transformation_mode") or "half_pixel"
    mode = node.str_attr("mode") or "nearest"
    layer.resize_mode = e.api.enum("InterpolationMode", _MODES[mode])
    layer.coordinate_transformation = e.api.enum("ResizeCoordinateTransformation", _COORDINATES[coordinates])
    single = "UPPER" if coordinates == "pytorch_half_pixel" else "FORMULA"
    layer.selector_for_single_pixel = e.api.enum("ResizeSelector", single)
    if mode == "nearest":
        rounding = "floor" if old else node.str_attr("nearest_mode") or "round_prefer_floor"
        layer.nearest_rounding = e.api.enum("ResizeRoundMode", _ROUNDING[rounding])
    if mode == "cubic":
        layer.cubic_coeff = node.float_attr("cubic_coeff_a", -0.75)
    layer.exclude_outside = bool(node.int_attr("exclude_outside", 0))
    if scales is not None and scales.size:
        full = np.ones(rank, np.float32)
        full[axes] = scales
        layer.scales = tuple(float(item) for item in full)
    elif sizes is not None:
        shape = list(x.shape)
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
        if -1 in shape:
            mask = e.constant(np.array([size == -1 for size in shape]))
            layer.set_input(1, e.select(mask, e.shape(x), e.constant(np.array(shape, np.int64))))
        else:
            layer.shape = tuple(shape)
    elif axes == list(range(rank)):
        layer.set_input(1, e.cast(e.input(node, 3), DType.INT64))
    else:
        raise e.fail("sizes of some axes that are not constant")
    return [e.out(layer)]


def _weighted(e: Emitter, node: Node, x: Tensor) -> Tensor:
    """A product for each axis that changes; what a crop has outside of the input is a number of its own."""
    rank, dtype = e.rank(x), e.api.ir_dtype(x.dtype)
    visible = np.ones((1,) * rank, np.bool_)
    for axis, how in enumerate(axis_resizes(node, tuple(x.shape))):
        weights, inside = weights_of(node, how)
        visible = visible & inside.reshape([-1 if place == axis else 1 for place in range(rank)])
        if how.before == how.after and np.array_equal(weights, np.eye(how.before)):
            continue
        order = [place for place in range(rank) if place != axis] + [axis]
        back = [order.index(place) for place in range(rank)]
        matrix = e.constant(np.ascontiguousarray(weights.T).astype(dtype.numpy), dtype)
        x = e.transpose(product(e, e.transpose(x, order), matrix), back)
    if node.str_attr("coordinate_transformation_mode") != "tf_crop_and_resize" or visible.all():
        return x
    outside = e.scalar_like(node.float_attr("extrapolation_value", 0.0), x)
    return e.select(e.constant(np.broadcast_to(visible, tuple(x.shape)).copy()), x, outside)


@lower("Upsample", supports=all_of(floats_only, constants(1)))
def upsample(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A resize layer by factors, from the corner."""
    x = e.input(node, 0)
    scales = e.array(node, 1)
    factors = scales if scales is not None else np.array(node.attr("scales"), np.float32)
    layer = e.check(e.network.add_resize(x), settled=False)
    mode = node.str_attr("mode") or "nearest"
    layer.resize_mode = e.api.enum("InterpolationMode", _MODES[mode])
    layer.coordinate_transformation = e.api.enum("ResizeCoordinateTransformation", "ASYMMETRIC")
    if mode == "nearest":
        layer.nearest_rounding = e.api.enum("ResizeRoundMode", "FLOOR")
    layer.scales = tuple(float(item) for item in factors)
    return [e.out(layer)]


def _flat_grid(node: Node) -> str | None:
    rank = rank_of(node.input_at(0))
    return f"a GridSample of {rank} axes" if rank is not None and rank != 4 else None


_PADDING = {"zeros": "FILL", "border": "CLAMP", "reflection": "REFLECT"}


@lower("GridSample", supports=all_of(floats_only, _flat_grid))
def grid_sample(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer."""
    layer = e.check(e.network.add_grid_sample(e.input(node, 0), e.input(node, 1)))
    layer.interpolation_mode = e.api.enum("InterpolationMode", _MODES[node.str_attr("mode") or "linear"])
    layer.align_corners = bool(node.int_attr("align_corners", 0))
    layer.sample_mode = e.api.enum("SampleMode", _PADDING[node.str_attr("padding_mode") or "zeros"])
    return [e.out(layer)]
