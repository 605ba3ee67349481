"""Which versions of an operator lie between two opsets, and whether one means all that the one before meant.

A newer version is *free* when each node that was valid means the same without an edit: inputs and outputs are as they were, with optional
ones added behind; no attribute went, and a new one has a default that keeps the old meaning (or none). That defaults do so, and that a
change of the text alone changed nothing, was read for opsets 7 to :data:`REVIEWED`; what looks free and is not has an adapter. (One
text is followed as ONNX Runtime has it: OneHot of opset 9 counts negative indices from the end, as its later versions say.)
Source: https://github.com/onnx/onnx/blob/main/docs/Changelog.md
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from graphopt.ir import Node, TensorType, find_schema, newest_opset
from graphopt.ir.schema import OpSchema, Parameter

__all__ = ["OLDEST", "REVIEWED", "crossed", "is_free", "newest_raisable", "refused_type"]

#: Before, arithmetic did not broadcast as it does now.
OLDEST: Final = 7
#: The newest opset whose changes were read.
REVIEWED: Final = 28


def newest_raisable(limit: int | None = None) -> int:
    """The newest opset that a model can be raised to.

    Args:
        limit: the newest that a target runs, ``None`` for any.
    """
    return min(newest_opset(), REVIEWED, REVIEWED if limit is None else limit)


@lru_cache(maxsize=4096)
def crossed(op_type: str, old: int, new: int) -> tuple[int, ...]:
    """Versions of an operator of the default domain above ``old``, up to ``new``, oldest first.

    Example:
        >>> crossed("Split", 11, 20)
        (13, 18)
    """
    found: list[int] = []
    schema = find_schema("", op_type, new)
    while schema is not None and schema.since_version > old:
        found.append(schema.since_version)
        schema = find_schema("", op_type, schema.since_version - 1)
    return tuple(reversed(found))


@lru_cache(maxsize=4096)
def is_free(op_type: str, version: int) -> bool:
    """Whether a version of an operator means all that the one before it meant, as far as schemas say.

    Example:
        >>> is_free("Relu", 14), is_free("Softmax", 13), is_free("Split", 18)
        (True, False, True)
    """
    after = find_schema("", op_type, version)
    before = find_schema("", op_type, version - 1)
    if after is None or before is None or after.deprecated:
        return False
    return (
        _extends(before.inputs, after.inputs)
        and _extends(before.outputs, after.outputs)
        and _keeps_attributes(before, after)
    )


def _extends(before: Sequence[Parameter], after: Sequence[Parameter]) -> bool:
    """Whether formal inputs or outputs are those from before, with optional ones behind."""
    if len(after) < len(before) or not all(item.optional for item in after[len(before) :]):
        return False
    return all(
        old.name == new.name and old.variadic == new.variadic and (new.optional or not old.optional)
        for old, new in zip(before, after, strict=False)
    )


def _keeps_attributes(before: OpSchema, after: OpSchema) -> bool:
    for name, old in before.attributes.items():
        new = after.attributes.get(name)
        if new is None or new.kind != old.kind or new.default != old.default or (new.required and not old.required):
            return False
    return not any(spec.required for name, spec in after.attributes.items() if name not in before.attributes)


def refused_type(node: Node, new: int) -> str:
    """An element type that a node takes now and no longer at opset ``new``, ``""`` for none."""
    after = find_schema("", node.op_type, new)
    if after is None or not after.inputs:
        return ""
    for index, value in enumerate(node.inputs):
        if value is None or not isinstance(value.type, TensorType) or value.dtype is None:
            continue
        formal = after.inputs[min(index, len(after.inputs) - 1)]
        if f"tensor({value.dtype})" not in formal.types and any("tensor(" in kind for kind in formal.types):
            return str(value.dtype)
    return ""
