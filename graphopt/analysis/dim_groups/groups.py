"""Groups of indices that can only be removed together, found by following every axis of a graph through all its operators.

Each group is a class of indices ``0..size-1``: removing one of them means to remove, at once, all elements that belong to it in each
weight, and to change each attribute and shape that holds a size of it. What makes a group's indices (weights whose outputs they are),
what contracts them (weights whose inputs they are) and what freezes them is known. If the weights that contract an index are zero there,
removing it changes no output beyond rounding; wherever that is not so, the group is frozen.

Needs types on the values. Source: Fang et al., DepGraph: Towards Any Structural Pruning, 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphopt.analysis.dim_groups.control_flow import close
from graphopt.analysis.dim_groups.extents import Extent, Leaf
from graphopt.analysis.dim_groups.following import Following, Role
from graphopt.analysis.dim_groups.indices import Mask, Removal, kept_mask, places_per_leaf, stands_twice
from graphopt.analysis.dim_groups.plugin_roles import PluginRoles, follow_roles
from graphopt.analysis.dim_groups.registry import ROLE_FUNCTIONS
from graphopt.ir import DType, Graph, Node, Value
from graphopt.ir.constant_nodes import constant_of

__all__ = ["DimGroup", "DimGroups", "Member", "find_dim_groups"]


@dataclass(frozen=True, slots=True)
class Member:
    """A weight that has indices of a group.

    Attributes:
        value: the weight.
        axis: on which axis.
        extent: what the axis is made of, as far as the role is about it.
        kind: ``out``, ``in``, ``scale``, or ``with`` where it is only of the same size, as a bias is.
        node: the node that says so, ``None`` for ``with``.
    """

    value: Value
    axis: int
    extent: Extent
    kind: str
    node: Node | None = None


@dataclass(slots=True, eq=False)
class DimGroup:
    """A class of indices.

    Attributes:
        leaf: what stands for it in axes.
        size: how many indices there are.
        members: the weights that have them.
        reasons: why nothing of it may be removed, and where that was met first; empty if something may.
        places: the fewest elements of an axis that go with an index, 1 or the size of a head; 0 if no constant has it.
    """

    leaf: Leaf
    size: int
    members: list[Member] = field(default_factory=list)
    reasons: Mapping[str, str] = field(default_factory=dict)
    places: int = 0

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of it may be removed."""
        return bool(self.reasons)

    @property
    def producers(self) -> list[Member]:
        """The weights that make its indices."""
        return [member for member in self.members if member.kind == "out"]

    @property
    def consumers(self) -> list[Member]:
        """The weights that contract its indices."""
        return [member for member in self.members if member.kind == "in"]

    @property
    def name(self) -> str:
        """The first weight that makes it, or that has it."""
        chosen = self.producers or self.members
        return chosen[0].value.name if chosen else ""


@dataclass(slots=True)
class DimGroups:
    """The groups of a graph, and what must follow when indices are removed.

    Attributes:
        groups: those that weights have, in the order of the graph.
        follow: axes of all values, sizes in attributes and shapes.
    """

    groups: list[DimGroup]
    follow: Following

    def mask(self, extent: Extent, removal: Removal) -> Mask | None:
        """Which elements of an axis are kept, ``None`` where nothing of it is removed."""
        return kept_mask(self.follow.extents, extent, removal)

    def size(self, extent: Extent, removal: Removal) -> int | None:
        """How many elements of an axis are kept, ``None`` where nothing of it is removed."""
        mask = self.mask(extent, removal)
        return None if mask is None else int(mask.sum())


def find_dim_groups(graph: Graph, plugin_roles: Mapping[str, PluginRoles] | None = None) -> DimGroups:
    """The groups of a graph and the graphs inside it.

    Args:
        graph: the main graph of a model; its values have types.
        plugin_roles: names of axes of plugins' operators.

    Example:
        >>> import numpy as np
        >>> from graphopt.ir import DType, Model, Node, TensorType, Value
        >>> model = Model(Graph("g"), {"": 21})
        >>> x = model.graph.add_input(Value("x", TensorType(DType.FLOAT, (2, 3))))
        >>> w = [model.graph.add_constant(np.ones(shape, np.float32), "w") for shape in ((3, 8), (8, 4))]
        >>> y = [Value(name, TensorType(DType.FLOAT, shape)) for name, shape in (("h", (2, 8)), ("y", (2, 4)))]
        >>> for left, right, out in zip((x, y[0]), w, y):
        ...     _ = model.graph.append(Node("MatMul", [left, right], [out]))
        >>> model.graph.add_output(y[1])
        >>> [(group.size, sorted(group.reasons)) for group in find_dim_groups(model.graph).groups]
        [(3, ['it is an axis of an input']), (8, []), (4, ['it is an axis of an output'])]
    """
    follow = Following()
    _follow_graph(graph, follow, plugin_roles or {})
    for value in graph.outputs:
        follow.freeze_value(value, "it is an axis of an output", value.name)
    follow.sizes.finish()
    return DimGroups(_collect(follow), follow)


def _follow_graph(graph: Graph, follow: Following, plugin_roles: Mapping[str, PluginRoles]) -> None:
    for node in graph.nodes:
        if node.op == "Constant":
            continue
        function = ROLE_FUNCTIONS.get(node.op)
        if function is not None and not node.has_references:
            function(node, follow)
        elif node.op in plugin_roles:
            follow_roles(node, follow, plugin_roles[node.op])
        if node.subgraphs:
            for inner in node.subgraphs:
                _follow_graph(inner, follow, plugin_roles)
            close(node, follow)
        follow.sizes.leave(node)
        known = follow.known()
        if any(output.name and output not in known for output in node.outputs):
            follow.freeze_node(node, f"{node.op} is not followed")


def _collect(follow: Following) -> list[DimGroup]:
    """Groups of the leaves that constants have."""
    extents = follow.extents
    groups: dict[Leaf, DimGroup] = {}
    standing: dict[Leaf, list[Member]] = {}
    for value, axes in follow.known().items():
        for axis, extent in enumerate(axes or ()):
            for leaf in stands_twice(extents, extent):
                extents.freeze(leaf, "its indices stand more than once in one axis", value.name)
            if value.quantization is not None and value.quantization.axis in (axis, axis - len(axes or ())):
                extents.freeze(extent, "each of its indices has a scale", value.name)
            if constant_of(value) is None:
                continue
            for leaf, places in places_per_leaf(extents, extent).items():
                standing.setdefault(leaf, []).append(Member(value, axis, extent, "with"))
                if not isinstance(leaf.size, int) or leaf.size < 2:
                    continue
                group = groups.setdefault(leaf, DimGroup(leaf, leaf.size))
                group.places = min(group.places, places) if group.places else places
    _freeze_stored(follow, standing)
    for role in follow.roles:
        for leaf in dict.fromkeys(extents.leaves(role.extent)):
            if isinstance(leaf.size, int) and leaf.size > 1:
                group = groups.setdefault(leaf, DimGroup(leaf, leaf.size))
                group.members.extend(_holders(role, leaf, standing))
    for leaf, group in list(groups.items()):
        if not group.members:  # the size of a kernel, or the numbers of a shape: no weight makes or contracts it
            extents.freeze(leaf, "no weight contracts it", "")
            del groups[leaf]
            continue
        told = {(member.value, member.axis) for member in group.members}
        group.members += [item for item in standing.get(leaf, ()) if (item.value, item.axis) not in told]
        if not group.consumers and not extents.reasons(leaf):
            extents.freeze(leaf, "no weight contracts it", group.name)
        if not group.producers and not extents.reasons(leaf):
            extents.freeze(leaf, "no weight makes it", group.name)
        group.reasons = extents.reasons(leaf)
    return list(groups.values())


def _freeze_stored(follow: Following, standing: Mapping[Leaf, list[Member]]) -> None:
    """Constants that can't be cut."""
    for leaf, members in standing.items():
        for member in members:
            constant = constant_of(member.value)
            if constant is not None and (constant.is_sparse or constant.dtype is DType.STRING):
                follow.freeze(leaf, "a constant with it is sparse or text", member.value.name)


def _holders(role: Role, leaf: Leaf, standing: Mapping[Leaf, list[Member]]) -> list[Member]:
    """The constants that a role is about: the value itself or those that it is computed from, itself if these are of other sizes."""
    itself = Member(role.value, role.axis, role.extent, role.kind, role.node)
    if constant_of(role.value) is not None:
        return [itself]
    sources = _sources(role.value)
    found = [
        Member(item.value, item.axis, item.extent, role.kind, role.node)
        for item in standing.get(leaf, ())
        if item.value in sources
    ]
    return found or [itself]


def _sources(value: Value) -> set[Value]:
    found: set[Value] = set()
    todo = [value]
    while todo:
        last = todo.pop()
        if last in found:
            continue
        found.add(last)
        if last.producer is not None:
            todo.extend(item for item in last.producer.inputs if item is not None)
    return found
