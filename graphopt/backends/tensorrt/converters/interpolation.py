"""Resizing as products with matrices, one for each axis, for what TensorRT's layer lacks: an output is a sum of inputs with fixed weights.

For antialiasing, crops, policies on the aspect ratio, and aligned corners of sizes that were rounded; all sizes are known. Source:
https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphopt.ir import Array, Node, constant_of

__all__ = ["AxisResize", "axis_resizes", "weights_of"]

_ROUNDING: Final[dict[str, Callable[[Any], Any]]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True, slots=True)
class AxisResize:
    """How one axis is resized.

    Attributes:
        before: its size.
        after: its size afterwards.
        scale: the factor that coordinates are computed with.
        start: where a crop begins, as a share of the axis.
        end: where it ends.
        stretched: size afterwards before it was rounded.
    """

    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0
    stretched: float = 0.0


def axis_resizes(node: Node, shape: Sequence[int]) -> list[AxisResize]:
    """How each axis of an input of known sizes is resized by a Resize of opset 11 and later with constant parameters."""
    rank = len(shape)
    axes = [axis % rank for axis in node.ints_attr("axes") or range(rank)]
    roi, scales, sizes = (_numbers(node, place) for place in (1, 2, 3))
    found = [AxisResize(size, size, 1.0, stretched=float(size)) for size in shape]
    policy = node.str_attr("keep_aspect_ratio_policy") or "stretch"
    if sizes is not None and policy != "stretch":
        pick = min if policy == "not_larger" else max
        factor = pick(float(size) / shape[axis] for axis, size in zip(axes, sizes, strict=True))
        scales, sizes = np.full(len(axes), factor), None
    inferred = node.output.shape or (None,) * rank  # as the runtime rounds it
    for place, axis in enumerate(axes):
        told = inferred[axis]
        first, last = (0.0, 1.0) if roi is None or not roi.size else (float(roi[place]), float(roi[place + len(axes)]))
        if scales is not None and scales.size:
            exact = float(shape[axis]) * float(scales[place])
            after = int(np.floor(exact + 0.5)) if policy != "stretch" else int(np.floor(exact))
            after = told if isinstance(told, int) else after
            found[axis] = AxisResize(
                shape[axis], after, float(scales[place]), first, last, after if policy != "stretch" else exact
            )
        elif sizes is not None:
            after = int(sizes[place])
            found[axis] = AxisResize(shape[axis], after, after / shape[axis], first, last, float(after))
    return found


def _numbers(node: Node, place: int) -> Any:  # noqa: ANN401  an array, or nothing
    constant = constant_of(node.input_at(place))
    return None if constant is None or not constant.size else constant.numpy().astype(np.float64)


def weights_of(node: Node, axis: AxisResize) -> tuple[Array, Any]:
    """The weights of one axis, float64 [after, before], and which outputs lie inside of the input, bool [after]."""
    at = _coordinates(node.str_attr("coordinate_transformation_mode") or "half_pixel", axis)
    inside = (at >= 0) & (at <= axis.before - 1)
    mode = node.str_attr("mode") or "nearest"
    if mode == "nearest":
        places = _ROUNDING[node.str_attr("nearest_mode") or "round_prefer_floor"](at)
        picked = np.clip(places, 0, axis.before - 1).astype(int)
        return np.eye(axis.before)[picked], inside
    shrink = min(axis.scale, 1.0) if node.int_attr("antialias", 0) else 1.0
    reach = int(np.ceil((2 if mode == "cubic" else 1) / shrink)) + 1
    near = np.arange(-reach, axis.before + reach)
    distance = np.abs(near[None, :] - at[:, None]) * shrink
    raw = _cubic(distance, node.float_attr("cubic_coeff_a", -0.75)) if mode == "cubic" else np.maximum(0, 1 - distance)
    beyond = (near < 0) | (near >= axis.before)
    if node.int_attr("exclude_outside", 0):
        raw = np.where(beyond[None, :], 0, raw)
    raw = raw / raw.sum(1, keepdims=True)
    weights = np.zeros((axis.after, axis.before))
    np.add.at(weights.T, np.clip(near, 0, axis.before - 1), raw.T)  # what is outside is what lies at the edge
    return weights, inside


def _coordinates(kind: str, axis: AxisResize) -> Any:  # noqa: ANN401  an array
    """Where outputs lie in the input."""
    x = np.arange(axis.after, dtype=np.float64)
    if kind == "asymmetric":
        return x / axis.scale
    if kind == "align_corners":
        return x * 0 if axis.stretched == 1 else x * (axis.before - 1) / (axis.stretched - 1)
    if kind == "tf_crop_and_resize":
        if axis.after == 1:
            return x + 0.5 * (axis.start + axis.end) * (axis.before - 1)
        return axis.start * (axis.before - 1) + x * (axis.end - axis.start) * (axis.before - 1) / (axis.after - 1)
    if kind == "pytorch_half_pixel" and axis.after == 1:
        return x * 0
    middle = (x + 0.5) / axis.scale - 0.5
    if kind == "half_pixel_symmetric":
        return middle + axis.before / 2 * (1 - axis.after / (axis.scale * axis.before))
    return middle


def _cubic(distance: Any, a: float) -> Any:  # noqa: ANN401  arrays
    """Keys' kernel."""
    close = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    return np.where(distance <= 1, close, np.where(distance < 2, far, 0))
