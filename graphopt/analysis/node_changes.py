"""How a node differs from its counterpart in another model: operator, attributes, inputs, weights, outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from graphopt.ir import Attribute, Constant, DType, Graph, Node, TensorType, Type, Value

__all__ = ["Change", "Numbers", "attribute_text", "changes_of", "constant_change", "type_change"]

What = Literal["operator", "attribute", "input", "constant", "type", "output"]
_SHORT: Final = 60
_FEW: Final = 8
#: Constants up to this size are compared number by number.
_SMALL: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is different.

    Attributes:
        what: ``operator``, ``attribute``, ``input`` (another value is read), ``constant`` (other numbers), ``type`` or ``output``.
        where: name of the attribute, or which input or output.
        before: what it was, empty where there was none.
        after: what it is.
        max_abs: largest difference of two numbers, ``None`` where they were not compared or cannot be.
    """

    what: What
    where: str
    before: str
    after: str
    max_abs: float | None = None

    def __str__(self) -> str:
        numbers = "" if self.max_abs is None else f" (by up to {self.max_abs:.3g})"
        where = f" {self.where}" if self.where else ""
        if self.before == self.after:
            return f"{self.what}{where}: other numbers{numbers}"
        return f"{self.what}{where}: {self.before or 'none'} -> {self.after or 'none'}{numbers}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far constants are looked into.

    Attributes:
        large: whether differences of large ones are measured too.
    """

    large: bool = False


def changes_of(a: Node, b: Node, values: Mapping[Value, Value], numbers: Numbers) -> Iterator[Change]:
    """What is different about a node.

    Args:
        a: the node.
        b: its counterpart.
        values: the counterparts of values.
        numbers: how far constants are looked into.
    """
    if a.op != b.op or a.overload != b.overload:
        yield Change("operator", "", _operator(a), _operator(b))
    yield from _attribute_changes(a, b, numbers)
    for position in range(max(len(a.inputs), len(b.inputs))):
        yield from _input_changes(position, a.input_at(position), b.input_at(position), values, numbers)
    mine, theirs = (sum(bool(value.name) or value.is_used for value in node.outputs) for node in (a, b))
    if mine != theirs:
        yield Change("output", "", str(mine), str(theirs))
    for given, taken in zip(a.outputs, b.outputs, strict=False):
        yield from type_change(f"of output {given.index}", given.type, taken.type)


def _operator(node: Node) -> str:
    return f"{node.op}:{node.overload}" if node.overload else node.op


def type_change(where: str, before: Type | None, after: Type | None) -> Iterator[Change]:
    """Another element type or shape; what one of the models leaves open is no difference."""
    if before is None or after is None or before == after:
        return
    if isinstance(before, TensorType) and isinstance(after, TensorType):
        dtypes = before.dtype == after.dtype or DType.UNDEFINED in (before.dtype, after.dtype)
        if dtypes and not _shapes_differ(before, after):
            return
    yield Change("type", where, str(before), str(after))


def _shapes_differ(before: TensorType, after: TensorType) -> bool:
    if before.shape is None or after.shape is None:
        return False
    if len(before.shape) != len(after.shape):
        return True
    known = zip(before.shape, after.shape, strict=True)
    return any(isinstance(one, int) and isinstance(other, int) and one != other for one, other in known)


# -- inputs -----------------------------------------------------------------------------------------------------------------------


def _input_changes(
    position: int, a: Value | None, b: Value | None, values: Mapping[Value, Value], numbers: Numbers
) -> Iterator[Change]:
    where = str(position)
    one, other = _constant_of(a), _constant_of(b)
    if one is not None and other is not None:
        yield from constant_change(where, one, other, numbers)
    elif a is not None and b is not None:
        counterpart = values.get(a)
        if counterpart is not b and (counterpart is not None or a.name != b.name):
            yield Change("input", where, _reading(a), _reading(b))
    elif a is not b:
        yield Change("input", where, _reading(a), _reading(b))


def _constant_of(value: Value | None) -> Constant | None:
    """The numbers that a value always has, of a Constant node too."""
    if value is None or value.is_constant:
        return None if value is None else value.const
    if value.producer is None or value.producer.op != "Constant":
        return None
    found = value.producer.attributes.get("value")
    return found.value if found is not None and isinstance(found.value, Constant) else None


def _reading(value: Value | None) -> str:
    if value is None:
        return ""
    return f"{value.name} (constant)" if value.is_constant else value.name


def constant_change(where: str, one: Constant, other: Constant, numbers: Numbers) -> Iterator[Change]:
    """Another type, or other numbers; equal constants give nothing. Compares types before it reads anything."""
    if one.equals(other):
        return
    yield Change("constant", where, str(one.type), str(other.type), _largest_difference(one, other, numbers))


def _largest_difference(one: Constant, other: Constant, numbers: Numbers) -> float | None:
    if one.shape != other.shape or not one.size or not (_is_number(one.dtype) and _is_number(other.dtype)):
        return None
    if not numbers.large and max(one.nbytes, other.nbytes) > _SMALL:
        return None
    with np.errstate(all="ignore"):
        a, b = one.numpy().astype(np.float64), other.numpy().astype(np.float64)
        difference = np.abs(a - b)[np.isfinite(a) & np.isfinite(b)]
    return float(difference.max()) if difference.size else None


def _is_number(dtype: DType) -> bool:
    return dtype.is_float or dtype.is_integer or dtype is DType.BOOL


# -- attributes -------------------------------------------------------------------------------------------------------------------


def _attribute_changes(a: Node, b: Node, numbers: Numbers) -> Iterator[Change]:
    for name in dict.fromkeys((*a.attributes, *b.attributes)):
        one, other = a.attributes.get(name), b.attributes.get(name)
        if one is not None and other is not None:
            if one.kind.is_graph and other.kind.is_graph:
                continue  # the nodes inside are compared one by one
            if one == other:
                continue
            if isinstance(one.value, Constant) and isinstance(other.value, Constant):
                yield from constant_change(name, one.value, other.value, numbers)
                continue
        yield Change("attribute", name, attribute_text(one), attribute_text(other))


def attribute_text(attribute: Attribute | None) -> str:
    """An attribute in a few words; empty when there is none.

    Example:
        >>> from graphopt.ir import make_attribute
        >>> attribute_text(make_attribute([1, 2]))
        '[1, 2]'
    """
    if attribute is None:
        return ""
    if attribute.ref:
        return f"@{attribute.ref}"
    items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
    text = ", ".join(_item(item) for item in items[: 4 * _FEW]) + (", ..." if len(items) > 4 * _FEW else "")
    text = f"[{text}]" if isinstance(attribute.value, tuple) else text
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _item(item: object) -> str:
    if isinstance(item, Constant):
        if item.size <= _FEW and item.dtype.bits % 8 == 0:
            return f"{item.type} {item.numpy().tolist()}"
        return str(item.type)
    if isinstance(item, Graph):
        return "a graph"
    return f"{item:g}" if isinstance(item, float) else str(item)
