"""Edits of constants: their numbers and their shape."""

from __future__ import annotations

from typing import Final

import numpy as np
from onnx import numpy_helper

from graphopt.ir import Array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits.subject import Subject
from graphopt.testing.strategies.scope import RefusedError
from graphopt.testing.strategies.trial import tensor_proto

__all__ = ["number", "size"]


#: Numbers that mean something to operators, or lie where a narrower type ends.
_FLOATS: Final = (0.0, 1.0, -0.0, -1.0, 2.0, 7.0, 1e-40, 3e38, float(2**24 + 1), -1.0, 0.5)
_INTEGERS: Final = (0, 1, -1, 2, 7, -2, 2**24 + 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))


def _special(choices: Choices, array: Array) -> Array:
    if array.dtype.kind not in "iu":
        return np.asarray(choices.of(_FLOATS)).astype(array.dtype)
    bounds = np.iinfo(str(array.dtype))
    return np.asarray(choices.of([item for item in _INTEGERS if bounds.min <= item <= bounds.max])).astype(array.dtype)


def number(subject: Subject, choices: Choices) -> str:
    """A constant holds other numbers."""
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant).copy()
    if not array.size or array.dtype == object:
        raise RefusedError("no numbers")
    form = choices.integer(0, 4)
    with np.errstate(all="ignore"):
        if form == 0:
            array.reshape(-1)[choices.integer(0, array.size - 1)] = _special(choices, array)
        elif form == 1:
            array[...] = _special(choices, array)
        elif form == 2 and array.dtype.kind == "f":
            array.reshape(-1)[0] = choices.of((np.nan, np.inf, -np.inf))
        elif form == 3:
            array = np.asarray(-array.astype(np.float64)).astype(array.dtype)
        else:
            array = array.reshape(-1)[::-1].reshape(array.shape)
    constant.CopyFrom(tensor_proto(np.ascontiguousarray(array), constant.name))
    return f"constant {constant.name!r} is another one"


def size(subject: Subject, choices: Choices) -> str:
    """A constant has another shape that may broadcast."""
    constant = subject.one_constant(choices)
    array = numpy_helper.to_array(constant)
    form = choices.integer(0, 3)
    if form == 0:
        array = array[None]
    elif form == 1 and array.size:
        array = array.reshape(-1)[:1].reshape(())
    elif form == 2 and array.ndim:
        array = np.repeat(array, 2, axis=choices.integer(0, array.ndim - 1))
    else:
        array = np.ascontiguousarray(array.T)
    constant.CopyFrom(tensor_proto(array, constant.name))
    return f"constant {constant.name!r} has shape {list(array.shape)}"
