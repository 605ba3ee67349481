"""Results as JSON, for machines."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from graphopt.ir import Node, SymbolicDim, Value

__all__ = ["builtin_of", "json_text"]


def _plain(item: object) -> object:
    if isinstance(item, np.generic):
        return item.item()
    if isinstance(item, np.ndarray):
        return item.tolist()
    if isinstance(item, SymbolicDim | Path):
        return str(item)
    if isinstance(item, Node | Value):
        return item.name
    if isinstance(item, BaseException):
        return f"{type(item).__name__}: {item}"
    raise NotImplementedError(f"{type(item).__name__} has no JSON form")


def builtin_of(item: object) -> object:
    """A result as dictionaries, lists, text and numbers; symbolic sizes become text, numbers that JSON lacks ``None``.

    Args:
        item: a dataclass, or anything made of dataclasses, containers and numbers.

    Example:
        >>> from graphopt.ir import SymbolicDim
        >>> builtin_of({"flops": SymbolicDim("batch") * 2})
        {'flops': 'batch*2'}
    """
    return msgspec.json.decode(msgspec.json.encode(item, enc_hook=_plain))


def json_text(item: object, *, indent: int = 2) -> str:
    """A result as JSON text; see :func:`builtin_of`.

    Example:
        >>> print(json_text({"nodes": 3, "ratio": float("nan")}, indent=0))
        {"nodes":3,"ratio":null}
    """
    encoded = msgspec.json.encode(item, enc_hook=_plain)
    return (msgspec.json.format(encoded, indent=indent) if indent else encoded).decode()
