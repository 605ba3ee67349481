"""Where the numbers in shapes come from: constants that hold the size of an axis, and sizes that a model asks for.

A Reshape to ``[-1, 12, 64]`` holds two sizes; when channels go, the numbers must follow exactly. So each element of a small integer
tensor is followed from where it starts to where it is used as a size: a constant that one node reads, or the size of an axis (Shape).
What reaches anything else than a shape, arithmetic say, freezes the axis that it is the size of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphopt.analysis.dim_groups.extents import Extent, Extents
from graphopt.ir import Node, Value
from graphopt.ir.constant_nodes import constant_of

__all__ = ["MOST", "Element", "Entry", "SizeElements", "SizeOf"]

#: Elements of longer tensors are not followed.
MOST = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """An element of a constant, as one node reads it.

    Attributes:
        node: reads the constant.
        position: of the input.
        index: which element.
        number: its number.
    """

    node: Node
    position: int
    index: int
    number: int


@dataclass(frozen=True, slots=True)
class SizeOf:
    """The size of an axis."""

    extent: Extent


Element = Entry | SizeOf | None
_Elements = tuple[Element, ...]


class SizeElements:
    """Follows elements of integer tensors.

    Attributes:
        wanted: entries that say how large an extent is.
    """

    __slots__ = ("_escaped", "_extents", "_handled", "_known", "wanted")

    def __init__(self, extents: Extents) -> None:
        self._extents = extents
        self._known: dict[Value, _Elements] = {}
        self._handled: set[tuple[Node, int]] = set()
        self._escaped: dict[tuple[Node, int, int], str] = {}
        self.wanted: dict[Entry, Extent] = {}

    def read(self, node: Node, position: int) -> _Elements | None:
        """The elements of an input, which the caller says all about; ``None`` when they are not followed."""
        self._handled.add((node, position))
        return self._elements(node, position)

    def _elements(self, node: Node, position: int) -> _Elements | None:
        value = node.input_at(position)
        if value is None:
            return None
        constant = constant_of(value)
        if constant is None:
            return self._known.get(value)
        if not constant.dtype.is_integer or constant.size > MOST or constant.ndim > 1:
            return None
        numbers = constant.numpy().reshape(-1).tolist()
        return tuple(Entry(node, position, index, int(number)) for index, number in enumerate(numbers))

    def give(self, value: Value, elements: Sequence[Element]) -> None:
        """The elements of an output."""
        if any(element is not None for element in elements) and len(elements) <= MOST:
            self._known[value] = tuple(elements)

    def demand(self, node: Node, position: int, sizes: Mapping[int, Extent]) -> None:
        """Entries of an input are the sizes of extents; see :meth:`Following.demand`."""
        where = node.name or node.outputs[0].name
        elements = self.read(node, position)
        for index, extent in sizes.items():
            element = None if elements is None or index >= len(elements) else elements[index]
            if isinstance(element, SizeOf):
                self._extents.unify(element.extent, extent, where)
            elif isinstance(element, Entry):
                present = self.wanted.setdefault(element, extent)
                if present is not extent:
                    self._extents.unify(present, extent, where)
            else:
                self._extents.freeze(extent, "a shape is computed from its size", where)
        for index, element in enumerate(elements or ()):
            if index not in sizes:
                self._escape(element, where)

    def escape(self, node: Node, position: int) -> None:
        """An input is read in a way that is not followed."""
        for element in self._elements(node, position) or ():
            self._escape(element, node.name or node.outputs[0].name)

    def leave(self, node: Node) -> None:
        """A node is done: what it read and nobody said anything about is not a size alone."""
        for position in range(len(node.inputs)):
            if (node, position) not in self._handled:
                value = node.inputs[position]
                for element in () if value is None else self._known.get(value, ()):
                    self._escape(element, node.name or node.outputs[0].name)

    def _escape(self, element: Element, where: str) -> None:
        if isinstance(element, SizeOf):
            self._extents.freeze(element.extent, "the model computes with its size", where)
        elif isinstance(element, Entry):
            self._escaped.setdefault((element.node, element.position, element.index), where)

    def finish(self) -> None:
        """Freeze what a constant is the size of that says something else as well, and sizes that a graph gives out."""
        for value, elements in self._known.items():
            for element in elements if value.is_graph_output else ():
                self._escape(element, value.name)
        for entry, extent in self.wanted.items():
            where = self._escaped.get((entry.node, entry.position, entry.index))
            if where is not None:
                self._extents.freeze(extent, "a constant is its size and something else", where)
