"""Names and bracketed notes of the text form: doc strings, metadata, operator sets, lineage, quantization."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from graphopt.ir.constant import Constant
from graphopt.ir.cursor import Cursor
from graphopt.ir.literals import NAME, WORD
from graphopt.ir.type_parser import parse_constant, parse_dtype, parse_text
from graphopt.ir.value import Quantization

__all__ = ["parse_label", "parse_notes", "parse_op", "parse_word"]

_LABEL = re.compile(NAME, re.ASCII)
_WORD = re.compile(WORD, re.ASCII)
_KEY = re.compile(r"[a-z_]+", re.ASCII)
_INTEGER = re.compile(r"-?\d+", re.ASCII)
#: What each note holds: a plain value, a list of strings, or a dictionary with values of one type.
_KINDS: dict[str, tuple[type, type]] = {
    "annotation": (dict, str),
    "attributes": (list, str),
    "doc": (str, str),
    "domain": (str, str),
    "ir_version": (int, int),
    "lineage": (list, str),
    "metadata": (dict, str),
    "model_version": (int, int),
    "opset": (dict, int),
    "overload": (str, str),
    "producer_name": (str, str),
    "producer_version": (str, str),
    "quant": (Quantization, Quantization),
}


def parse_word(cursor: Cursor, what: str) -> str:
    """A bare word, or a quoted one."""
    return parse_text(cursor, what) if cursor.at('"') else cursor.need(_WORD, what)


def parse_label(cursor: Cursor, what: str) -> str:
    """The name of a value or node, behind its sigil."""
    return parse_text(cursor, what) if cursor.at('"') else cursor.need(_LABEL, what)


def parse_op(cursor: Cursor) -> tuple[str, str]:
    """Domain and name of an operator."""
    word = parse_word(cursor, "an operator")
    return (word, parse_word(cursor, "an operator name")) if cursor.accept("::") else ("", word)


def parse_notes(cursor: Cursor, constants: Mapping[str, Constant]) -> dict[str, Any]:
    """What stands between brackets, by key; nothing when there are none."""
    notes: dict[str, Any] = {}

    def note() -> None:
        start = cursor.pos
        key = cursor.need(_KEY, "a key")
        if key not in _KINDS:
            raise cursor.error(f"unknown key {key!r}; known are {', '.join(_KINDS)}", start)
        if key in notes:
            raise cursor.error(f"{key} is stated twice", start)
        cursor.expect("=")
        outer, inner = _KINDS[key]
        notes[key] = _parse_note(cursor, outer, inner, constants)

    if cursor.accept("["):
        cursor.items(note, "]")
    return notes


def _parse_note(cursor: Cursor, outer: type, inner: type, constants: Mapping[str, Constant]) -> object:
    if outer is Quantization:
        return _parse_quantization(cursor, constants)
    if outer is list:
        items: list[str] = []
        cursor.expect("[")
        cursor.items(lambda: items.append(parse_text(cursor, "a string")), "]")
        return items
    if outer is dict:
        entries: dict[str, object] = {}

        def entry() -> None:
            key = parse_text(cursor, "a string")
            cursor.expect(":")
            entries[key] = _parse_plain(cursor, inner)

        cursor.expect("{")
        cursor.items(entry, "}")
        return entries
    return _parse_plain(cursor, inner)


def _parse_plain(cursor: Cursor, kind: type) -> object:
    return int(cursor.need(_INTEGER, "an integer")) if kind is int else parse_text(cursor, "a string")


def _parse_quantization(cursor: Cursor, constants: Mapping[str, Constant]) -> Quantization:
    dtype = parse_dtype(cursor)
    cursor.expect("(")
    scale = parse_constant(cursor, constants)
    cursor.expect(",")
    zero_point = parse_constant(cursor, constants)
    axis = int(cursor.need(_INTEGER, "an axis")) if cursor.accept(",") else None
    block = int(cursor.need(_INTEGER, "numbers in a block")) if axis is not None and cursor.accept(",") else 0
    cursor.expect(")")
    return Quantization(dtype, scale, zero_point, axis, block)
