"""Resize, Upsample and GridSample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, constants, floats_only, integers, rank_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["grid_sample", "resize", "upsample"]

_COORDINATES = {
    "half_pixel": "HALF_PIXEL",
    "pytorch_half_pixel": "HALF_PIXEL",
    "align_corners": "ALIGN_CORNERS",
    "asymmetric": "ASYMMETRIC",
}
_ROUNDING = {"round_prefer_floor": "HALF_DOWN", "round_prefer_ceil": "HALF_UP", "floor": "FLOOR", "ceil": "CEIL"}
_MODES = {"nearest": "NEAREST", "linear": "LINEAR", "bilinear": "LINEAR", "cubic": "CUBIC", "bicubic": "CUBIC"}


def _plain_resize(node: Node) -> str | None:
    coordinates = node.str_attr("coordinate_transformation_mode") or "half_pixel"
    if coordinates not in _COORDINATES:
        return f"coordinates {coordinates!r}"
    if node.int_attr("antialias", 0):
        return "antialiasing"
    if (node.str_attr("keep_aspect_ratio_policy") or "stretch") != "stretch":
        return "a policy on the aspect ratio"
    return constants(2)(node)


@lower("Resize", supports=all_of(floats_only, _plain_resize))
def resize(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer, by sizes where they are stated, else by factors."""
    x, old = e.input(node, 0), (node.opset or 11) < 11
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
        exact = all(
            size != -1 and float(size * factor).is_integer() for size, factor in zip(x.shape, full, strict=True)
        )
        if coordinates == "align_corners" and not exact:
            raise e.fail("aligned corners of a size that is no whole number, which is rounded before it is used")
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
