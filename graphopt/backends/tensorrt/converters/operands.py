"""How converters read nodes: parameters that are attributes in some opsets and inputs in others, and what types inputs have."""

from __future__ import annotations

from collections.abc import Callable

from graphopt.ir import DType, Node, TensorType, Value

__all__ = [
    "all_of",
    "constants",
    "dtype_of",
    "fixed_inputs",
    "floats_only",
    "integers",
    "rank_of",
    "static_shape",
]


def dtype_of(value: Value | None) -> DType | None:
    """Element type of a value, ``None`` when it is absent or not known."""
    return value.type.dtype if value is not None and isinstance(value.type, TensorType) else None


def rank_of(value: Value | None) -> int | None:
    """Rank of a value, ``None`` when it is absent or not known."""
    shape = value.type.shape if value is not None and isinstance(value.type, TensorType) else None
    return None if shape is None else len(shape)


def static_shape(value: Value | None) -> tuple[int, ...] | None:
    """Shape of a value whose sizes are all known."""
    shape = value.type.shape if value is not None and isinstance(value.type, TensorType) else None
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return tuple(size for size in shape if isinstance(size, int))


def integers(node: Node, attribute: str, place: int) -> tuple[int, ...] | None:
    """Integers that are an attribute in older opsets and a constant input in newer ones; ``None`` when absent or not constant."""
    value = node.input_at(place)
    if value is not None:
        if value.const is None or not value.is_constant:
            return None
        return tuple(int(item) for item in value.const.numpy().reshape(-1))
    found = node.attributes.get(attribute)
    if found is None:
        return None
    return (found.value,) if isinstance(found.value, int) else tuple(found.value)  # type: ignore[arg-type]


def constants(*places: int) -> Callable[[Node], str | None]:
    """Refuses nodes with an input at one of some places that is there and not constant."""

    def reason(node: Node) -> str | None:
        for place in places:
            value = node.input_at(place)
            if value is not None and not (value.is_constant and value.const is not None):
                return f"input {place} ({value.name!r}) is not constant"
        return None

    return reason


def fixed_inputs(*places: int) -> Callable[[Node], str | None]:
    """Refuses nodes with an input at one of some places whose sizes are not all known."""

    def reason(node: Node) -> str | None:
        for place in places:
            value = node.input_at(place)
            if value is not None and static_shape(value) is None:
                return f"the sizes of {value.name!r} are not fixed"
        return None

    return reason


def floats_only(node: Node) -> str | None:
    """Refuses a first input that is not of floating-point numbers."""
    dtype = dtype_of(node.input_at(0))
    return None if dtype is None or dtype.is_float else f"{node.op_type} of {dtype} has no layer"


def all_of(*checks: Callable[[Node], str | None]) -> Callable[[Node], str | None]:
    """The first reason that one of several checks has."""

    def reason(node: Node) -> str | None:
        return next((found for check in checks if (found := check(node)) is not None), None)

    return reason
