"""Operators of plugins: axes that have one name have the same indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphopt.analysis.dim_groups.extents import Extent
from graphopt.analysis.dim_groups.following import Axes, Following
from graphopt.ir import Node, Value

__all__ = ["PluginRoles", "follow_roles"]

_REST = "..."


@dataclass(frozen=True, slots=True)
class PluginRoles:
    """What a plugin says of the axes of its operator.

    Attributes:
        names: name of each axis by parameter, as :attr:`graphopt.passes.OperatorDefinition.dim_roles` has them.
        separable: the names along which each index is treated on its own. Names alone say no more than sizes: a softmax keeps its axes too.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    separable: tuple[str, ...] = ()


def follow_roles(node: Node, follow: Following, stated: PluginRoles) -> None:
    """Follow the axes of a node by their names.

    A name that no output has is contracted: with a weight that has it too, or else it is frozen. A name that is not separable, one in an
    output that no input has, and an axis without a name, are frozen.

    Args:
        node: of an operator that a plugin brings.
        follow: the state.
        stated: the names.
    """
    roles = stated.names
    schema = node.schema
    if schema is None or any(formal.variadic for formal in (*schema.inputs, *schema.outputs)):
        return
    names: dict[str, Extent] = {}
    rest: Axes | None = None
    given = {name for formal in schema.outputs for name in roles.get(formal.name, ())}
    readers: dict[str, list[tuple[int, int]]] = {}
    for position, formal in enumerate(schema.inputs[: len(node.inputs)]):
        axes = follow.axes(node.input_at(position))
        if axes is None:
            continue
        placed = _placed(roles.get(formal.name, ()), axes)
        if placed is None:
            follow.freeze_node(node, "the plugin names no such axes")
            return
        named, others = placed
        if others is not None:
            rest = others if rest is None else follow.broadcast([rest, others], node)
        for axis, name in named.items():
            present = names.setdefault(name, axes[axis])
            if present.size == 1:
                names[name] = axes[axis]
            elif axes[axis].size != 1:
                follow.unify(present, axes[axis], node)
            readers.setdefault(name, []).append((position, axis))
    for name, places in readers.items():
        weights = [place for place in places if follow.is_weight(node.input_at(place[0]))]
        for position, axis in weights:
            follow.role(node.input_at(position), axis, "out" if name in given else "in", node)
        if name not in given and (not weights or len(places) == 1):
            follow.freeze(names[name], "it is summed without weights", node)
    if rest is not None and _REST not in given:
        for extent in rest:
            follow.freeze(extent, "it is summed without weights", node)
    for name, extent in names.items():
        if name not in stated.separable:
            follow.freeze(extent, "the plugin does not say that its indices are separate", node)
    if _REST not in stated.separable:
        for extent in rest or ():
            follow.freeze(extent, "the plugin does not say that its indices are separate", node)
    for output, formal in zip(node.outputs, schema.outputs, strict=False):
        if formal.name in roles:
            follow.give(output, _given(output, follow, roles[formal.name], names, rest or []))


def _given(output: Value, follow: Following, roles: tuple[str, ...], names: Mapping[str, Extent], rest: Axes) -> Axes:
    found: Axes = []
    for name in roles:
        if name == _REST:
            found.extend(rest)
        elif name in names:
            found.append(names[name])
        else:
            size = output.shape[len(found)] if output.shape is not None and len(found) < len(output.shape) else None
            found.append(follow.fixed(size, "the plugin makes it", output.name))
    return found


def _placed(names: tuple[str, ...], axes: Axes) -> tuple[dict[int, str], Axes | None] | None:
    """Names by axis, and the axes that ``...`` stands for."""
    if _REST not in names:
        return (dict(enumerate(names)), None) if len(names) == len(axes) else None
    first = names.index(_REST)
    tail = len(names) - first - 1
    if len(axes) < first + tail:
        return None
    named = dict(enumerate(names[:first])) | {len(axes) - tail + i: name for i, name in enumerate(names[first + 1 :])}
    return named, axes[first : len(axes) - tail]
