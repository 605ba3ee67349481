"""Numbers that became inputs, which have the element type of the data: bounds of Clip, padding of Pad.

Exact. Where the element type is not known (in a function, say), the number is cast like the data, which takes opset 15.
Source: https://onnx.ai/onnx/operators/onnx__Clip.html, https://onnx.ai/onnx/operators/onnx__Pad.html
"""

from __future__ import annotations

import math
import struct
from typing import Final

import numpy as np

from graphopt.ir import Attribute, AttributeKind, DType, Value
from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter, integers

__all__: list[str] = []

_CAST_LIKE: Final = 15
#: Attributes are float32; what a bound is that nobody states.
_LARGEST: Final = float(np.finfo(np.float32).max)


def _check_number(change: Change, version: int, attribute: Attribute | None) -> None:
    """See that a number can become an input.

    Raises:
        RefusedError: if nothing says which element type it is to have.
    """
    data = change.node.inputs[0]
    typed = data is not None and data.dtype is not None
    if attribute is not None and (attribute.ref or not typed) and change.new < _CAST_LIKE:
        raise change.refuse(version, f"the element type of its input is not known, opset {_CAST_LIKE} could do without")


def _number(rw: Rewriter, attribute: Attribute, data: Value) -> Value:
    """The number that an attribute says, in the element type of ``data``."""
    dtype = data.dtype
    if not attribute.ref and dtype is not None:
        return rw.constant(np.array(np.float32(_float(attribute)), np.float32).astype(dtype.numpy))
    number = rw.new("Constant", value_float=attribute)
    return rw.new("CastLike", number, data)


def _float(attribute: Attribute) -> float:
    value = attribute.value
    assert isinstance(value, int | float), "an attribute of kind FLOAT holds a number"
    return float(value)


@adapter("Clip", versions=(11,))
def clip(change: Change) -> Edit | None:
    """``min`` and ``max`` to inputs 1 and 2. An absent bound is the largest finite number of the type, which for float32 is the default."""
    if not change.crosses(11):
        return None
    node, data = change.node, change.node.inputs[0]
    assert data is not None, "Clip has an input"
    bounds: list[Attribute | None] = []
    for name, default in (("min", -_LARGEST), ("max", _LARGEST)):
        stated = change.stated(name)
        if data.dtype is not DType.FLOAT:  # the default of the attribute may not be that of the type
            stated = Attribute(AttributeKind.FLOAT, default) if stated is None else stated
        elif stated is not None and not stated.ref and float(np.float32(_float(stated))) == default:
            stated = None
        _check_number(change, 11, stated)
        bounds.append(stated)

    def edit(rw: Rewriter) -> None:
        for name in ("min", "max"):
            rw.set_attribute(node, name, None)
        for position, bound in enumerate(bounds, 1):
            if bound is not None:
                rw.set_input(node, position, _number(rw, bound, data))

    return edit


def _is_zero(attribute: Attribute) -> bool:
    """Whether a number is 0.0 to the bit."""
    return not attribute.ref and math.isfinite(_float(attribute)) and struct.pack("<d", _float(attribute)) == bytes(8)


@adapter("Pad", versions=(11,))
def pad(change: Change) -> Edit | None:
    """``pads`` and ``value`` to inputs 1 and 2; a value of 0 is the default."""
    if not change.crosses(11):
        return None
    node, data = change.node, change.node.inputs[0]
    assert data is not None, "Pad has an input"
    pads, value = change.stated("pads"), change.stated("value")
    if value is not None and _is_zero(value):
        value = None
    _check_number(change, 11, value)

    def edit(rw: Rewriter) -> None:
        for name in ("pads", "value"):
            rw.set_attribute(node, name, None)
        if pads is not None:
            rw.set_input(node, 1, integers(rw, pads))
        if value is not None:
            rw.set_input(node, 2, _number(rw, value, data))

    return edit
