"""Resize and Upsample, to given sizes or by given factors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, Node, Shape, Type, Value, constant_of

__all__ = ["FUNCTIONS", "scaled"]


def _floats(value: Value | None) -> tuple[float, ...] | None:
    """The numbers of a small float constant, also of one that a Constant node gives."""
    constant = constant_of(value)
    if constant is None or constant.is_sparse or not constant.dtype.is_float or constant.size > 16:
        return None
    return tuple(float(item) for item in constant.numpy().reshape(-1))


def scaled(size: Dim, scale: float) -> Dim:
    """The whole part of a size times a factor, ``None`` where rounding decides."""
    if size is None or not math.isfinite(scale) or scale <= 0:
        return None
    if scale == int(scale):
        return size * int(scale)
    if isinstance(size, int):
        exact, single = math.floor(size * scale), math.floor(float(np.float32(size) * np.float32(scale)))
        return exact if exact == single else None
    part = 1 / scale
    return size // int(part) if part == int(part) and int(part) & (int(part) - 1) == 0 else None


def _by_scales(shape: Shape, scales: Sequence[float] | None) -> Shape:
    if scales is None or len(scales) != len(shape):
        return (None,) * len(shape)
    return tuple(map(scaled, shape, scales))


def _upsample(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    stated = node.attributes.get("scales")
    scales = _floats(node.input_at(1)) if stated is None else tuple(map(float, stated.value))  # type: ignore[arg-type]  # floats
    return (tensor(dtype_at(node, 0), None if shape is None else _by_scales(shape, scales)),)


def _resize(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if shape is None:
        return (tensor(dtype, None),)
    if (node.opset or 0) < 11:
        return (tensor(dtype, _by_scales(shape, _floats(node.input_at(1)))),)
    policy, stated = node.str_attr("keep_aspect_ratio_policy"), node.ints_attr("axes")
    axes = tuple(range(len(shape))) if stated is None else tuple(a + len(shape) if a < 0 else a for a in stated)
    unknown = tensor(dtype, (None,) * len(shape))
    if (
        any(not 0 <= axis < len(shape) for axis in axes)
        or node.str_attr("coordinate_transformation_mode") == "tf_crop_and_resize"
    ):
        return (unknown,)
    sizes, scales = node.input_at(3), node.input_at(2)
    some = tuple(shape[axis] for axis in axes)
    if sizes is not None and (scales is None or scales.shape == (0,)):
        wanted = facts.elements(sizes)
        if wanted is None or len(wanted) != len(axes) or policy not in ("", "stretch"):
            return (unknown,)
        new: Shape = tuple(None if isinstance(dim, int) and dim < 0 else dim for dim in wanted)
    elif scales is not None and sizes is None:
        new = _by_scales(some, _floats(scales))
    else:
        return (unknown,)
    found: list[Dim] = list(shape)
    for axis, dim in zip(axes, new, strict=True):
        found[axis] = dim
    return (tensor(dtype, tuple(found)),)


FUNCTIONS: dict[str, ShapeFunction] = {"Resize": _resize, "Upsample": _upsample}
