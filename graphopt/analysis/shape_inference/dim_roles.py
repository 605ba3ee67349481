"""Shapes from names of axes: what a plugin says of its operator where it gives no function for types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction
from graphopt.ir import Dim, DType, Node, OpSchema, Shape, TensorType, Type

__all__ = ["from_roles"]

_REST = "..."


def from_roles(schema: OpSchema, roles: Mapping[str, tuple[str, ...]]) -> ShapeFunction:
    """The shape function of an operator with named axes.

    Args:
        schema: names its inputs and outputs; those of one type constraint have one element type.
        roles: name of each axis of each parameter, by parameter name. Axes of one name have one size; ``"..."`` stands for any number
            of axes, the same ones wherever it stands.
    """

    def infer(node: Node, facts: Facts) -> Sequence[Type | None]:
        sizes: dict[str, Dim] = {}
        rest: list[Shape] = []
        kinds: dict[str, DType] = {}
        for value, formal in zip(node.inputs, schema.inputs, strict=False):
            if value is None or formal.variadic:
                continue
            if value.dtype is not None:
                kinds.setdefault(formal.type_key, value.dtype)
            _learn(roles.get(formal.name), facts.shape(value), sizes, rest)
        found: list[Type | None] = []
        for formal in schema.outputs[: len(node.outputs)]:
            dtype = kinds.get(formal.type_key, DType.UNDEFINED)
            found.append(None if formal.variadic else TensorType(dtype, _made(roles.get(formal.name), sizes, rest)))
        return found

    return infer


def _learn(names: Sequence[str] | None, shape: Shape | None, sizes: dict[str, Dim], rest: list[Shape]) -> None:
    if names is None or shape is None:
        return
    place = names.index(_REST) if _REST in names else len(names)
    tail = len(names) - place - 1 if _REST in names else 0
    if len(shape) < place + tail or (_REST not in names and len(shape) != len(names)):
        return
    if _REST in names:
        rest.append(shape[place : len(shape) - tail])
    ends = (*shape[:place], *shape[len(shape) - tail :]) if tail else shape[:place]
    for name, dim in zip([name for name in names if name != _REST], ends, strict=True):
        if not isinstance(sizes.get(name), int):
            sizes[name] = dim


def _made(names: Sequence[str] | None, sizes: Mapping[str, Dim], rest: Sequence[Shape]) -> Shape | None:
    if names is None or (_REST in names and not rest):
        return None
    found: list[Dim] = []
    for name in names:
        found.extend(rest[0] if name == _REST else (sizes.get(name),))
    return tuple(found)
