"""Types, dimensions and constants of the text form: the part of the grammar below nodes. :mod:`graphopt.ir.parser` shows all of it."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping

import numpy as np

from graphopt.ir.constant import Constant, SparseData, unpack_bytes
from graphopt.ir.cursor import Cursor
from graphopt.ir.dims import Dim, SymbolicDim, dim_max, dim_min
from graphopt.ir.literals import parse_elements, parse_string
from graphopt.ir.types import DType, MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorType, Type

__all__ = ["parse_constant", "parse_dtype", "parse_text", "parse_type"]

_DTYPES = {str(dtype): dtype for dtype in DType}
_DTYPE_WORD = re.compile(r"[a-z]\w*", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NATURAL = re.compile(r"\d+", re.ASCII)
_SIZE = re.compile(r"-?\d+", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{32}", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*=*", re.ASCII)
_ELEMENT = re.compile(r'0x[0-9a-f]+|b?"[^"\\\n]*(?:\\.[^"\\\n]*)*"|[\w.+-]+', re.ASCII)

#: What dimensions are made of: numbers and expressions.
_Known = int | SymbolicDim


def parse_text(cursor: Cursor, what: str) -> str:
    """A quoted string."""
    start = cursor.pos
    token = cursor.quoted()
    if token is None:
        raise cursor.unexpected(what)
    try:
        return parse_string(token)
    except ValueError as err:
        raise cursor.error(f"bad escape in {token}", start) from err


def parse_dtype(cursor: Cursor) -> DType:
    """An element type, such as ``float16``."""
    start = cursor.pos
    word = cursor.need(_DTYPE_WORD, "an element type")
    if word not in _DTYPES:
        raise cursor.error(f"unknown element type {word!r}; known are {', '.join(_DTYPES)}", start)
    return _DTYPES[word]


def parse_type(cursor: Cursor) -> Type | None:
    """A type, ``None`` for ``?``."""
    if cursor.accept("?"):
        return None
    made: Type
    if cursor.accept("seq("):
        made = SequenceType(parse_type(cursor))
    elif cursor.accept("optional("):
        made = OptionalType(parse_type(cursor))
    elif cursor.accept("sparse("):
        made = SparseTensorType(_parse_tensor_type(cursor))
    elif cursor.accept("map("):
        key = parse_dtype(cursor)
        cursor.expect(",")
        made = MapType(key, parse_type(cursor))
    elif cursor.accept("opaque("):
        domain = parse_text(cursor, "a quoted domain")
        cursor.expect(",")
        made = OpaqueType(domain, parse_text(cursor, "a quoted name"))
    else:
        return _parse_tensor_type(cursor)
    cursor.expect(")")
    return made


def _parse_tensor_type(cursor: Cursor) -> TensorType:
    dtype = parse_dtype(cursor)
    cursor.expect("[")
    if cursor.accept("*"):
        cursor.expect("]")
        return TensorType(dtype, None)
    dims: list[Dim] = []
    cursor.items(lambda: dims.append(None if cursor.accept("?") else _parse_sum(cursor)), "]")
    return TensorType(dtype, tuple(dims))


def _parse_sum(cursor: Cursor) -> _Known:
    total: _Known = -_parse_product(cursor) if cursor.accept("-") else _parse_product(cursor)
    while True:
        if cursor.accept("+"):
            total = total + _parse_product(cursor)
        elif cursor.accept("-"):
            total = total - _parse_product(cursor)
        else:
            return total


def _parse_product(cursor: Cursor) -> _Known:
    product = _parse_factor(cursor)
    while True:
        start = cursor.pos
        if cursor.accept("*"):
            product = product * _parse_factor(cursor)
        elif cursor.accept("//"):
            divisor = _parse_factor(cursor)
            if divisor == 0:
                raise cursor.error("division by zero", start)
            product = product // divisor
        else:
            return product


def _parse_factor(cursor: Cursor) -> _Known:
    number = cursor.match(_NATURAL)
    if number is not None:
        return int(number)
    if cursor.accept("("):
        inner = _parse_sum(cursor)
        cursor.expect(")")
        return inner
    for word, combine in (("min(", dim_min), ("max(", dim_max)):
        if cursor.accept(word):
            left = _parse_sum(cursor)
            cursor.expect(",")
            right = _parse_sum(cursor)
            cursor.expect(")")
            return combine(left, right)
    name = cursor.match(_SYMBOL)
    return SymbolicDim(parse_text(cursor, "a dimension") if name is None else name)


def parse_constant(cursor: Cursor, constants: Mapping[str, Constant]) -> Constant:
    """A constant: its elements, its bytes, or its digest.

    Args:
        cursor: at the type.
        constants: what stands for digests without bytes.
    """
    if cursor.accept("sparse["):
        return _parse_sparse(cursor, constants)
    start = cursor.pos
    type_ = _parse_tensor_type(cursor)
    shape = type_.static_shape
    if shape is None or min(shape, default=0) < 0:
        raise cursor.error(f"a constant needs a shape of numbers, found {type_}", start)
    if cursor.accept("{"):
        return _parse_elements(cursor, type_.dtype, shape, start)
    if cursor.keyword("omitted"):
        raise cursor.error("the numbers of this constant were left out; print the model with weights='inline'", start)
    cursor.expect("sha256:")
    digest = cursor.need(_DIGEST, "a digest of 32 hexadecimal digits")
    if cursor.accept("base64:"):
        found = _parse_base64(cursor, type_.dtype, shape, start)
    elif digest in constants:
        found = constants[digest]
    else:
        raise cursor.error(
            "the bytes of this constant are elsewhere; print with weights='inline', or pass constants", start
        )
    if found.type != type_ or not found.digest().hex().startswith(digest):
        raise cursor.error(f"the bytes of this constant are not what its digest {digest} says", start)
    return found


def _parse_elements(cursor: Cursor, dtype: DType, shape: tuple[int, ...], start: int) -> Constant:
    tokens: list[str] = []
    cursor.items(lambda: tokens.append(cursor.need(_ELEMENT, "a number or string")), "}")
    if len(tokens) != math.prod(shape):
        raise cursor.error(f"{dtype}{list(shape)} needs {math.prod(shape)} elements, found {len(tokens)}", start)
    try:
        return Constant(parse_elements(tokens, dtype, shape))
    except (ValueError, OverflowError, KeyError) as err:
        raise cursor.error(f"an element is no {dtype}: {err}", start) from err


def _parse_base64(cursor: Cursor, dtype: DType, shape: tuple[int, ...], start: int) -> Constant:
    try:
        data = base64.b64decode(cursor.need(_BASE64, "base64 data"), validate=True)
    except binascii.Error as err:
        raise cursor.error(f"broken base64 data: {err}", start) from err
    expected = dtype.storage_bytes(math.prod(shape))
    if len(data) != expected:
        raise cursor.error(f"{dtype}{list(shape)} needs {expected} bytes, found {len(data)}", start)
    return Constant(unpack_bytes(np.frombuffer(data, np.uint8), dtype, shape))


def _parse_sparse(cursor: Cursor, constants: Mapping[str, Constant]) -> Constant:
    sizes: list[int] = []
    cursor.items(lambda: sizes.append(int(cursor.need(_SIZE, "a size"))), "]")
    cursor.expect("(")
    values = parse_constant(cursor, constants)
    cursor.expect(",")
    indices = parse_constant(cursor, constants)
    cursor.expect(")")
    data = SparseData(values, indices, tuple(sizes))
    flaw = data.flaw()
    if flaw:
        raise cursor.error(f"a sparse constant: {flaw}")
    return Constant(data)
