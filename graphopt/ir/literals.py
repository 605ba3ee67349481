"""How the text form spells names, strings and numbers, exactly, and how it reads them back.

Everything here goes both ways: what ``..._text`` writes, its counterpart reads to the same bits. Numbers are written in the shortest
decimal form that reads back exactly; where there is none (NaN payloads, odd bits) as ``0x`` and the stored bits.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable

import numpy as np

from graphopt.ir.constant import Array, Constant, pack_bytes, unpack_bytes
from graphopt.ir.dims import Dim, SymbolicDim
from graphopt.ir.types import (
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    SparseTensorType,
    TensorType,
    Type,
)

__all__ = [
    "bytes_text",
    "dim_text",
    "elements_text",
    "float_text",
    "name_text",
    "parse_bytes",
    "parse_elements",
    "parse_float",
    "parse_string",
    "string_text",
    "type_text",
    "word_text",
]

#: What the lexer takes for one word; anything else is quoted.
WORD = r"[A-Za-z_][\w.-]*"
#: Names of values and nodes are as exporters write them: ``/layer1/conv/Conv_output_0``, ``onnx::Conv_123``, ``42``.
NAME = r"[\w./-]+(?:::[\w./-]+)*"
_word = re.compile(WORD, re.ASCII)
_name = re.compile(NAME, re.ASCII)
_symbol = re.compile(r"[A-Za-z_]\w*", re.ASCII)


# -- names and strings ------------------------------------------------------------------------------------------------------


def string_text(text: str) -> str:
    """A quoted string on one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def parse_string(token: str) -> str:
    """The string that a quoted token stands for.

    Raises:
        ValueError: if an escape is not known.
    """
    inner = token[1:-1]
    return str(json.loads(token)) if "\\" in inner else inner


def bytes_text(data: bytes) -> str:
    """Bytes that are no text: ``b"..."``."""
    return 'b"' + "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\x{c:02x}" for c in data) + '"'


def parse_bytes(token: str) -> bytes:
    """The bytes that a ``b"..."`` token stands for."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), token[2:-1].encode("ascii"))


def word_text(text: str) -> str:
    """An operator, attribute or graph name: bare when it is a word, else quoted."""
    return text if _word.fullmatch(text) else string_text(text)


def name_text(text: str) -> str:
    """The name of a value or node, without its sigil."""
    return text if _name.fullmatch(text) else string_text(text)


# -- dimensions and types ---------------------------------------------------------------------------------------------------


def dim_text(dim: Dim) -> str:
    """A dimension: a number, an expression, or ``?`` for one without a name of the model."""
    if dim is None or (isinstance(dim, SymbolicDim) and dim.is_generated):
        return "?"
    return dim.format(_symbol_text) if isinstance(dim, SymbolicDim) else str(int(dim))


def _symbol_text(name: str) -> str:
    return name if _symbol.fullmatch(name) and name not in ("min", "max") else string_text(name)


def type_text(type_: Type | None) -> str:
    """A type; ``?`` when it is not known."""
    match type_:
        case None:
            return "?"
        case TensorType(dtype=dtype, shape=shape):
            return f"{dtype}[{'*' if shape is None else ', '.join(map(dim_text, shape))}]"
        case SparseTensorType(tensor=tensor):
            return f"sparse({type_text(tensor)})"
        case SequenceType(element=element):
            return f"seq({type_text(element)})"
        case OptionalType(element=element):
            return f"optional({type_text(element)})"
        case MapType(key=key, value=value):
            return f"map({key}, {type_text(value)})"
        case OpaqueType(domain=domain, name=name):
            return f"opaque({string_text(domain)}, {string_text(name)})"


# -- numbers ----------------------------------------------------------------------------------------------------------------


def float_text(value: float) -> str:
    """A float attribute: decimal of single precision, with a ``d`` behind it if only double precision is exact."""
    if value != value:
        bits = struct.pack("<d", value)
        return "nan" if bits == struct.pack("<d", float("nan")) else f"0x{bits[::-1].hex()}"
    with np.errstate(over="ignore"):
        text = _decimal(str(np.float32(value)))
    return text if parse_float(text) == value else f"{_decimal(repr(value))}d"


def parse_float(token: str) -> float:
    """The float that a token of :func:`float_text` stands for.

    Raises:
        ValueError: if it is no number.
    """
    if token.startswith("0x"):
        return float(struct.unpack("<d", bytes.fromhex(token[2:])[::-1])[0])
    if token.endswith("d"):
        return float(token[:-1])
    with np.errstate(over="ignore"):
        return float(np.float32(token))


def _decimal(text: str) -> str:
    return text if any(mark in text for mark in ".en") else text + ".0"


def elements_text(constant: Constant) -> str:
    """The numbers of a small constant in row-major order, between braces, exact to the bit."""
    flat = constant.numpy().reshape(-1)
    if constant.dtype is DType.STRING:
        return (
            "{"
            + ", ".join(bytes_text(item) if isinstance(item, bytes) else string_text(str(item)) for item in flat)
            + "}"
        )
    return "{" + ", ".join(_element_text(flat[i : i + 1], constant.dtype) for i in range(flat.size)) + "}"


def _element_text(one: Array, dtype: DType) -> str:
    bits = pack_bytes(one, dtype)
    for text in _spellings(one, dtype):
        try:
            if pack_bytes(parse_elements([text], dtype, (1,)), dtype) == bits:
                return text
        except (ValueError, OverflowError):
            continue
    return f"0x{bits[::-1].hex()}"


def _spellings(one: Array, dtype: DType) -> Iterable[str]:
    """Decimal forms of one element, shortest first."""
    if dtype is DType.BOOL:
        return ("true" if one[0] else "false",)
    if dtype.is_integer:
        return (str(int(one[0])),)
    if dtype in (DType.FLOAT, DType.DOUBLE, DType.FLOAT16):
        return (_decimal(str(one[0])),)
    if dtype.is_float and dtype.bits <= 8:
        return (repr(float(one[0])),)
    if dtype.is_float:
        return (_decimal(f"{float(one[0]):.{digits}g}") for digits in range(1, 10))
    return ()


def parse_elements(tokens: list[str], dtype: DType, shape: tuple[int, ...]) -> Array:
    """The array that tokens of :func:`elements_text` stand for.

    Raises:
        ValueError: if a token does not fit the type, or there are more or fewer than the shape needs.
    """
    if dtype is DType.STRING:
        found = np.empty(len(tokens), object)
        found[:] = [parse_bytes(item) if item[0] == "b" else parse_string(item) for item in tokens]
        return found.reshape(shape)
    if not tokens:
        return np.zeros(shape, dtype.numpy)
    if any(token.startswith("0x") for token in tokens):
        return np.concatenate([_parse_element(token, dtype) for token in tokens]).reshape(shape)
    if dtype is DType.BOOL:
        return np.array([_BOOLS[token] for token in tokens]).reshape(shape)
    if dtype.is_integer:
        numbers = np.array([int(token) for token in tokens], object)
        return numbers.astype(np.int64 if dtype is not DType.UINT64 else np.uint64).astype(dtype.numpy).reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([float(token) for token in tokens]).astype(dtype.numpy).reshape(shape)


def _parse_element(token: str, dtype: DType) -> Array:
    if not token.startswith("0x"):
        return parse_elements([token], dtype, (1,))
    raw = np.frombuffer(bytes.fromhex(token[2:])[::-1], np.uint8)
    return unpack_bytes(raw, dtype, (1,))


_BOOLS = {"true": True, "false": False}
