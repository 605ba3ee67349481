"""Upsample and the first Resize, whose way of sampling later versions have to be told.

Both sample as ``x = i / scale`` (``asymmetric``). The nearest pixel is the one before where an axis grows, and the one behind where it
shrinks, as ONNX Runtime has it (the specification leaves it open); so an axis that shrinks beside one that grows has no later form.
``tf_half_pixel_for_nn``, which opset 13 took away, takes pixel ``floor((i + 0.5) / scale)``, and so does ``half_pixel`` rounding half up.
Exact. Source: https://onnx.ai/onnx/operators/onnx__Resize.html, onnxruntime/core/providers/cpu/tensor/upsamplebase.h
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphopt.ir import Attribute, Value, constant_of
from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, RefusedError, adapter

__all__: list[str] = []

_FIRST_RESIZE: Final = 10
_TOLD: Final = 11
_OPTIONAL: Final = 13
_MODES: Final = ("nearest", "linear", "cubic")


@adapter("Upsample", versions=(9, 10))
def upsample(change: Change) -> Edit | None:
    """Upsample -> Resize from opset 10 on; at opset 9 its scales are an input."""
    scales = change.stated("scales") or change.node.input_at(1)
    if scales is None or (isinstance(scales, Attribute) and scales.ref):
        raise change.refuse(9, "its scales are not in the model")
    return _resize(change, scales)


@adapter("Resize", versions=(11, 13, 18))
def resize(change: Change) -> Edit | None:
    """Resize of opset 10 as that of the new one; what opsets 13 and 18 no longer accept, as they have it."""
    if change.old < _TOLD:
        scales = change.node.input_at(1)
        assert scales is not None, "Resize of opset 10 has two inputs"
        return _resize(change, scales) if change.new >= _TOLD else None
    return _newer(change)


def _resize(change: Change, scales: Attribute | Value) -> Edit:
    node, new = change.node, change.new
    mode = str(change.value("mode"))
    if mode not in _MODES:
        raise change.refuse(_FIRST_RESIZE, f"mode {mode!r} is not one of {', '.join(_MODES)}")
    sampling: dict[str, object] = {"mode": mode}
    if new >= _TOLD:
        sampling["coordinate_transformation_mode"] = "asymmetric"
        if mode == "nearest":
            sampling["nearest_mode"] = _nearest(change, scales)
    op_type = "Upsample" if new < _FIRST_RESIZE else "Resize"

    def edit(rw: Rewriter) -> None:
        data = node.inputs[0]
        given = scales if isinstance(scales, Value) else rw.constant(np.array(scales.value, np.float32).reshape(-1))
        roi = rw.constant(np.zeros(0, np.float32)) if _TOLD <= new < _OPTIONAL else None
        inputs = [data, given] if new < _TOLD else [data, roi, given]
        rw.finish(node, [rw.new_node(op_type, inputs, attributes=sampling).output])

    return edit


def _nearest(change: Change, scales: Attribute | Value) -> str:
    if isinstance(scales, Value):
        constant = constant_of(scales)
        numbers = None if constant is None else np.asarray(constant.numpy(), np.float32)
    else:
        numbers = np.array(scales.value, np.float32)
    if numbers is None and change.node.op_type == "Upsample":
        return "floor"  # Upsample only grows
    if numbers is None:
        raise change.refuse(_TOLD, "its scales are not constant, and the nearest pixel depends on them")
    if np.all(numbers >= 1):
        return "floor"
    if np.all(numbers <= 1):
        return "ceil"
    raise change.refuse(_TOLD, "one axis grows and another shrinks, which no later version samples alike")


def _newer(change: Change) -> Edit | None:
    """From opset 11 on: absent inputs may be absent, and only one of scales and sizes may be there."""
    node = change.node
    empty = (
        [index for index in (1, 2) if _is_empty(node.input_at(index))]
        if change.crosses(13) or change.crosses(18)
        else []
    )
    half_pixel = change.crosses(13) and change.value("coordinate_transformation_mode") == "tf_half_pixel_for_nn"
    if half_pixel and (change.value("mode"), change.value("nearest_mode")) != ("nearest", "floor"):
        raise _unlike(change)
    if not empty and not half_pixel:
        return None

    def edit(rw: Rewriter) -> None:
        for index in empty:
            rw.set_input(node, index, None)
        if half_pixel:
            rw.set_attribute(node, "coordinate_transformation_mode", "half_pixel")
            rw.set_attribute(node, "nearest_mode", "round_prefer_ceil")

    return edit


def _unlike(change: Change) -> RefusedError:
    mode, nearest = change.value("mode"), change.value("nearest_mode")
    return change.refuse(
        _OPTIONAL, f"tf_half_pixel_for_nn with mode {mode!r} and nearest_mode {nearest!r} has no later form"
    )


def _is_empty(value: Value | None) -> bool:
    constant = None if value is None else constant_of(value)
    return constant is not None and constant.size == 0
