"""What the functions of the operators are given: the axes of values, and ways to say how they correspond.

Each function looks at one node, in the order of the graph. What it does not say stays open: an output that is not given gets frozen axes,
so an operator that is not known freezes all that it reads and gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphopt.analysis.dim_groups.extents import ONE, Extent, Extents
from graphopt.analysis.dim_groups.sizes import SizeElements
from graphopt.analysis.shape_values import ShapeValues
from graphopt.ir import Array, Dim, Node, Value
from graphopt.ir.constant_nodes import constant_of

__all__ = ["AttributeSize", "Axes", "Following", "RepeatedIndices", "Role", "RoleFunction", "SplitSizes", "place_of"]

#: The extents of the axes of a tensor.
Axes = list[Extent]
#: Says of a node how the axes of its inputs and outputs correspond.
RoleFunction = Callable[[Node, "Following"], None]


@dataclass(frozen=True, slots=True)
class Role:
    """What a weight does with an axis.

    Attributes:
        value: the weight, or what is computed from weights only.
        axis: which axis.
        extent: the indices meant; a part of the axis, such as the channels within a group.
        kind: ``out`` where the weight makes these indices, ``in`` where it contracts them, ``scale`` for factors of a normalization.
        node: which node reads the weight.
    """

    value: Value
    axis: int
    extent: Extent
    kind: str
    node: Node


@dataclass(frozen=True, slots=True)
class AttributeSize:
    """An attribute that says how large an extent is.

    Attributes:
        node: whose.
        name: of the attribute.
        extent: what its number, or entry ``index`` of its list, is the size of.
        index: ``None`` for a number.
    """

    node: Node
    name: str
    extent: Extent
    index: int | None = None


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """A Split into equal parts, which may be unequal afterwards.

    Attributes:
        node: the Split.
        parts: extents of the outputs.
    """

    node: Node
    parts: tuple[Extent, ...]


@dataclass(frozen=True, slots=True)
class RepeatedIndices:
    """A Gather that takes each index several times in a row, as heads that share a key are spread.

    Attributes:
        node: the Gather; its second input is a constant.
        whole: the axis that it reads.
        copies: how often each index is taken.
    """

    node: Node
    whole: Extent
    copies: Extent


def place_of(node: Node) -> str:
    """How a reason names a node."""
    return node.name or (node.outputs[0].name if node.outputs else node.op)


@dataclass(slots=True)
class Following:
    """The state of an analysis.

    Attributes:
        extents: what is known of indices.
        sizes: where numbers in shapes come from.
        roles: what weights do with axes.
        attributes: attributes that hold sizes.
        splits: Splits into equal parts.
        repeats: Gathers that repeat indices.
    """

    extents: Extents = field(default_factory=Extents)
    sizes: SizeElements = field(init=False)
    roles: list[Role] = field(default_factory=list)
    attributes: list[AttributeSize] = field(default_factory=list)
    splits: list[SplitSizes] = field(default_factory=list)
    repeats: list[RepeatedIndices] = field(default_factory=list)
    _shapes: ShapeValues = field(default_factory=ShapeValues)
    _axes: dict[Value, Axes | None] = field(default_factory=dict)
    _weights: dict[Value, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = SizeElements(self.extents)

    # -- reading ------------------------------------------------------------------------------------------------------------

    def axes(self, value: Value | None) -> Axes | None:
        """The axes of a value, ``None`` when it is absent or its rank is unknown."""
        if value is None:
            return None
        if value not in self._axes:
            self._axes[value] = self._first_seen(value)
        return self._axes[value]

    def known(self) -> Mapping[Value, Axes | None]:
        """The axes of all values that were met."""
        return self._axes

    def _first_seen(self, value: Value) -> Axes | None:
        constant = constant_of(value)
        if constant is not None:
            return [self.extents.leaf(size) for size in constant.shape]
        shape = self._shapes.shape_of(value)  # it names sizes that the model leaves open
        if shape is None:
            return None
        why = "it is an axis of an input" if value.is_input else "no operator says what it is"
        return [self.fixed(size, why, value.name) for size in shape]

    def is_weight(self, value: Value | None) -> bool:
        """Whether a value is a constant, or computed from constants only."""
        if value is None:
            return False
        stack = [value]
        while stack:  # a chain of any length
            last = stack[-1]
            node = last.producer
            if last in self._weights:
                stack.pop()
            elif node is None or node.op == "Constant":
                self._weights[last] = constant_of(last) is not None
            elif node.subgraphs or not any(node.inputs):
                self._weights[last] = False
            else:
                todo = [item for item in node.inputs if item is not None and item not in self._weights]
                if not todo:
                    self._weights[last] = all(item is None or self._weights[item] for item in node.inputs)
                stack.extend(todo)
        return self._weights[value]

    def numbers(self, value: Value | None) -> tuple[int, ...] | None:
        """The integers in a constant, ``None`` for anything else."""
        constant = constant_of(value)
        if constant is None or not constant.dtype.is_integer or constant.ndim > 1:
            return None
        return tuple(int(item) for item in constant.numpy().reshape(-1).tolist())

    def array(self, value: Value | None) -> Array | None:
        """The numbers of a constant."""
        constant = constant_of(value)
        return None if constant is None else constant.numpy()

    # -- saying -------------------------------------------------------------------------------------------------------------

    def fixed(self, size: Dim, why: str, where: Node | str) -> Extent:
        """New indices, none of which may be removed."""
        found = self.extents.leaf(size)
        self.freeze(found, why, where)
        return found

    def freeze(self, extent: Extent, why: str, where: Node | str) -> None:
        """Nothing of these indices may be removed."""
        self.extents.freeze(extent, why, where if isinstance(where, str) else place_of(where))

    def freeze_value(self, value: Value | None, why: str, where: Node | str) -> None:
        """Nothing of any axis may be removed."""
        for extent in self.axes(value) or ():
            self.freeze(extent, why, where)

    def freeze_node(self, node: Node, why: str) -> None:
        """Nothing of what a node reads and gives may be removed."""
        for value in (*node.inputs, *node.outputs):
            self.freeze_value(value, why, node)

    def unify(self, one: Extent, other: Extent, node: Node) -> None:
        """Two axes have the same indices."""
        self.extents.unify(one, other, place_of(node))

    def unify_axes(self, ones: Sequence[Extent], others: Sequence[Extent], node: Node) -> None:
        """Two tensors of one shape have the same indices on each axis."""
        for one, other in zip(ones, others, strict=True):
            self.unify(one, other, node)

    def give(self, value: Value, axes: Sequence[Extent]) -> None:
        """An output has these axes. Where its type says another size, they are frozen."""
        if not value.name:
            return
        shape = value.shape
        if shape is not None and (len(shape) != len(axes) or any(map(_differ, shape, axes))):
            for extent in axes:
                self.freeze(extent, "the model states another shape", value.name)
            axes = [self.fixed(size, "the model states another shape", value.name) for size in shape]
        self._axes[value] = list(axes)

    def role(self, value: Value | None, axis: int, kind: str, node: Node, extent: Extent | None = None) -> None:
        """A weight makes (``out``), contracts (``in``) or scales the indices of an axis, or a part of them."""
        axes = self.axes(value)
        if value is not None and axes is not None and self.is_weight(value):
            self.roles.append(Role(value, axis % len(axes), axes[axis] if extent is None else extent, kind, node))

    def broadcast(self, operands: Sequence[Sequence[Extent]], node: Node) -> Axes:
        """The axes of what elementwise operators give; operands that reach along an axis have the same indices there."""
        rank = max(len(axes) for axes in operands)
        found: Axes = [ONE] * rank
        for axes in operands:
            for place, extent in enumerate(axes, rank - len(axes)):
                present = found[place]
                if present.size == 1:
                    found[place] = extent
                elif extent.size != 1:
                    self.unify(present, extent, node)
        return found

    def demand(self, node: Node, position: int, sizes: Mapping[int, Extent]) -> None:
        """Entries of an integer input say how large extents are.

        Args:
            node: reads the input.
            position: of the input.
            sizes: extents by entry. Entries that are computed in a way that can't be followed freeze theirs.
        """
        self.sizes.demand(node, position, sizes)


def _differ(stated: Dim, extent: Extent) -> bool:
    return isinstance(stated, int) and isinstance(extent.size, int) and stated != extent.size
