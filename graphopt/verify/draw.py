"""Numbers for one input: a value of the declared type that fits what is known about it.

Kinds of samples: ``normal`` numbers, ``uniform`` ones in [0, 1), ``zeros``, ``large`` ones. Indices stay in their interval in each of
them: zeros are its lowest, large numbers its highest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from graphopt.ir import Array, DType, MapType, OptionalType, SequenceType, TensorType, Type
from graphopt.runtime.base import Datum
from graphopt.verify.hints import InputHint

__all__ = ["MODES", "Kind", "draw"]

Kind = Literal["normal", "uniform", "zeros", "large"]
#: What to try for integers of which nothing is known: an interval each, or the numbers that they are compared with.
MODES: Final = ("usual", "bits", "ones", "zeros", "landmarks", "wide")

_WORDS: Final = ("alpha", "beta", "gamma delta", "", "Übung", "0")
_MASK: Final = re.compile(r"mask", re.I)
_COUNT: Final = re.compile(r"len|count|num_|steps?$|size", re.I)
_POSITION: Final = re.compile(r"position", re.I)
_SEGMENT: Final = re.compile(r"token_type|segment|type_ids", re.I)
_LARGE: Final = {DType.DOUBLE: 1e3, DType.FLOAT: 1e3, DType.BFLOAT16: 1e2, DType.FLOAT16: 8.0}
_FAR: Final = (1 << 31) - 1


def draw(
    hint: InputHint,
    value_type: Type | None,
    shape: Sequence[int] | None,
    kind: Kind,
    mode: str,
    rng: np.random.Generator,
) -> Datum:
    """A value for an input.

    Args:
        hint: what is known about the input.
        value_type: its type, or that of an element of it.
        shape: its shape if it is a tensor.
        kind: what numbers.
        mode: one of ``MODES``.
        rng: where randomness comes from.
    """
    if isinstance(value_type, SequenceType):
        return [draw(hint, value_type.element, _guess(value_type.element), kind, mode, rng) for _ in range(2)]
    if isinstance(value_type, OptionalType):
        if kind == "zeros":
            return None
        return draw(hint, value_type.element, _guess(value_type.element), kind, mode, rng)
    if isinstance(value_type, MapType):
        return _map(hint, value_type, kind, rng)
    tensor = value_type if isinstance(value_type, TensorType) else TensorType(DType.FLOAT)
    return _tensor(hint, tensor.dtype, tuple(_guess(tensor) if shape is None else shape), kind, mode, rng)


def _guess(element: Type | None) -> tuple[int, ...]:
    shape = element.shape if isinstance(element, TensorType) else None
    return (3,) if shape is None else tuple(dim if isinstance(dim, int) else 3 for dim in shape)


def _map(hint: InputHint, value_type: MapType, kind: Kind, rng: np.random.Generator) -> dict[object, object]:
    element = value_type.value.dtype if isinstance(value_type.value, TensorType) else DType.FLOAT
    keys: list[object] = list(hint.texts) if value_type.key is DType.STRING else [int(item) for item in hint.landmarks]
    keys = keys or (list(_WORDS[:2]) if value_type.key is DType.STRING else [0, 1])
    return {key: _tensor(hint, element, (), kind, "usual", rng).item() for key in dict.fromkeys(keys)}


def _tensor(
    hint: InputHint, dtype: DType, shape: tuple[int, ...], kind: Kind, mode: str, rng: np.random.Generator
) -> Array:
    if dtype is DType.STRING:
        words = np.asarray([""] if kind == "zeros" else [*hint.texts, *_WORDS], object)
        return np.asarray(words[rng.integers(0, len(words), shape)], object)
    if dtype is DType.BOOL:
        return np.full(shape, kind == "large") if kind in ("zeros", "large") else np.asarray(rng.random(shape) < 0.5)
    if dtype.is_integer:
        return _integers(hint, dtype, shape, kind, mode, rng)
    return _floats(hint, dtype, shape, kind, rng)


def _floats(hint: InputHint, dtype: DType, shape: tuple[int, ...], kind: Kind, rng: np.random.Generator) -> Array:
    if hint.role == "scale":
        numbers = np.ones(shape)
        numbers[2:] = 2.0 if kind != "zeros" else 1.0
    elif hint.role == "unit" or kind == "uniform":
        numbers = rng.random(shape)
    elif kind == "zeros":
        numbers = np.zeros(shape)
    else:
        numbers = rng.standard_normal(shape) * (_LARGE.get(dtype, 1.0) if kind == "large" else 1.0)
    if hint.role == "positive":
        numbers = np.abs(numbers) + 0.1
    if dtype in (DType.COMPLEX64, DType.COMPLEX128):
        numbers = numbers + 1j * rng.standard_normal(shape)
    return np.asarray(numbers).astype(dtype.numpy)


def _integers(
    hint: InputHint, dtype: DType, shape: tuple[int, ...], kind: Kind, mode: str, rng: np.random.Generator
) -> Array:
    found = _special(hint, shape, kind, rng)
    if found is None:
        low, high = _interval(hint, dtype, mode)
        if mode == "landmarks" and hint.landmarks:
            found = rng.choice(np.asarray(hint.landmarks, np.float64), shape).astype(np.int64)
        elif kind in ("zeros", "large"):
            found = np.full(shape, low if kind == "zeros" else high)
        else:
            found = rng.integers(low, high, shape, np.int64, endpoint=True)
    return np.asarray(found).astype(dtype.numpy)


def _special(hint: InputHint, shape: tuple[int, ...], kind: Kind, rng: np.random.Generator) -> Array | None:
    """Integers that must stand in a certain order."""
    size = int(np.prod(shape, dtype=np.int64))
    if hint.role == "far":
        return np.full(shape, _FAR)
    if hint.role == "axes":
        return np.arange(size).reshape(shape)
    if hint.role == "target_shape":
        target = np.ones(size, np.int64)
        target[:1] = -1
        return target.reshape(shape)
    plain = hint.role == "any" or (hint.role == "index" and hint.high is None)
    if shape and (hint.role == "mask" or plain) and _MASK.search(hint.name) and kind in ("normal", "uniform"):
        ends = rng.integers(1, shape[-1] + 1, (*shape[:-1], 1)) if shape[-1] and kind == "uniform" else shape[-1]
        return np.broadcast_to((np.arange(shape[-1]) < ends).astype(np.int64), shape)
    if shape and _POSITION.search(hint.name) and kind in ("normal", "uniform"):
        return np.broadcast_to(np.minimum(np.arange(shape[-1]), _FAR if hint.high is None else hint.high), shape)
    return None


def _interval(hint: InputHint, dtype: DType, mode: str) -> tuple[int, int]:
    low, high = hint.low, hint.high
    if high is None and (hint.role == "mask" or _MASK.search(hint.name)):
        low, high = (1, 1) if mode == "ones" else (0, 1)
    elif high is None and _SEGMENT.search(hint.name):
        low, high = 0, 1
    elif high is None and _COUNT.search(hint.name):
        low, high = 1, 4
    elif low is None or high is None:
        usual = (low or 0, (low or 0) + 3)
        if hint.landmarks and low is None:
            usual = (int(min(hint.landmarks)), int(max(hint.landmarks)))
        low, high = {"bits": (0, 1), "ones": (1, 1), "zeros": (0, 0), "wide": (-100, 100)}.get(mode, usual)
        if dtype.bits == 8 and mode == "usual":
            low, high = (-128, 127) if dtype.is_signed else (0, 255)
    if not dtype.is_signed:
        low = max(low, 0)
    if dtype.bits < 8:
        top = (1 << (dtype.bits - 1)) - 1
        low, high = max(low, -top - 1 if dtype.is_signed else 0), min(high, top)
    return low, max(low, high)
