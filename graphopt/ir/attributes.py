"""Attributes of nodes: a kind, a plain Python value, or a reference to an attribute of the surrounding function.

The numbers of :class:`AttributeKind` are those of ``AttributeProto.AttributeType`` in the ONNX specification.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from graphopt.ir.constant import Constant
from graphopt.ir.types import MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorType, Type

if TYPE_CHECKING:
    from graphopt.ir.graph import Graph

__all__ = ["Attribute", "AttributeKind", "AttributeValue", "infer_kind"]

Scalar = int | float | str | bytes
AttributeValue = Union[
    int,
    float,
    str,
    bytes,
    Constant,
    "Graph",
    Type,
    tuple[int, ...],
    tuple[float, ...],
    tuple[str | bytes, ...],
    tuple[Constant, ...],
    tuple["Graph", ...],
    tuple[Type, ...],
    None,
]


class AttributeKind(enum.IntEnum):
    """What an attribute holds."""

    UNDEFINED = 0
    FLOAT = 1
    INT = 2
    STRING = 3
    TENSOR = 4
    GRAPH = 5
    FLOATS = 6
    INTS = 7
    STRINGS = 8
    TENSORS = 9
    GRAPHS = 10
    SPARSE_TENSOR = 11
    SPARSE_TENSORS = 12
    TYPE_PROTO = 13
    TYPE_PROTOS = 14

    @property
    def is_list(self) -> bool:
        """Whether the value is a tuple."""
        return self in _LISTS

    @property
    def is_graph(self) -> bool:
        """Whether the value is a subgraph or a tuple of them."""
        return self is AttributeKind.GRAPH or self is AttributeKind.GRAPHS


_LISTS = frozenset({6, 7, 8, 9, 10, 12, 14})
_TYPES = (TensorType, SequenceType, OptionalType, MapType, SparseTensorType, OpaqueType)


class Attribute:
    """One attribute of a node. Immutable by contract: replace it, don't change it.

    Attributes:
        kind: what the value is.
        value: ``int``, ``float``, ``str`` (``bytes`` when not UTF-8), :class:`Constant`, ``Graph``, a type, or a tuple of one of these;
            ``None`` for a reference.
        ref: name of the attribute of the surrounding function that this stands for, else ``""``.
        doc: doc string.
    """

    __slots__ = ("doc", "kind", "ref", "value")

    def __init__(self, kind: AttributeKind, value: AttributeValue, ref: str = "", doc: str = "") -> None:
        self.kind = kind
        self.value = value
        self.ref = ref
        self.doc = doc

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attribute) or self.kind != other.kind or self.ref != other.ref:
            return False
        mine, theirs = self.value, other.value
        if isinstance(mine, tuple) and isinstance(theirs, tuple):
            return len(mine) == len(theirs) and all(map(_same, mine, theirs))
        return _same(mine, theirs)

    def __hash__(self) -> int:
        return hash((self.kind, self.ref))

    def __repr__(self) -> str:
        return f"Attribute({self.kind.name}, {'@' + self.ref if self.ref else self.value!r})"


def _same(mine: object, theirs: object) -> bool:
    """Whether two items are equal bit for bit: 0.0 is not -0.0, a NaN is itself."""
    if isinstance(mine, Constant) and isinstance(theirs, Constant):
        return mine.equals(theirs)
    if isinstance(mine, float) and isinstance(theirs, float):
        return struct.pack("<d", mine) == struct.pack("<d", theirs)
    return mine == theirs


def infer_kind(value: object) -> AttributeKind:
    """The kind of a plain Python value, where the operator's schema does not say it.

    Raises:
        ValueError: for an empty list (its kind can't be seen) or a value that no attribute can hold.
    """
    from graphopt.ir.graph import Graph  # Graph needs Attribute: the two modules refer to each other

    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise ValueError("the kind of an empty list can't be seen; pass an Attribute")
        kinds = {infer_kind(item) for item in value}
        if kinds == {AttributeKind.INT, AttributeKind.FLOAT}:
            return AttributeKind.FLOATS
        if len(kinds) > 1:
            raise ValueError(f"a list attribute holds one kind of value, found {sorted(kind.name for kind in kinds)}")
        return _LIST_OF[kinds.pop()]
    if isinstance(value, bool | int | np.integer):
        return AttributeKind.INT
    if isinstance(value, float | np.floating):
        return AttributeKind.FLOAT
    if isinstance(value, str | bytes):
        return AttributeKind.STRING
    if isinstance(value, Constant):
        return AttributeKind.SPARSE_TENSOR if value.is_sparse else AttributeKind.TENSOR
    if isinstance(value, np.ndarray):
        return AttributeKind.TENSOR
    if isinstance(value, Graph):
        return AttributeKind.GRAPH
    if isinstance(value, _TYPES):
        return AttributeKind.TYPE_PROTO
    raise ValueError(f"no attribute can hold a {type(value).__name__}")


_LIST_OF = {
    AttributeKind.INT: AttributeKind.INTS,
    AttributeKind.FLOAT: AttributeKind.FLOATS,
    AttributeKind.STRING: AttributeKind.STRINGS,
    AttributeKind.TENSOR: AttributeKind.TENSORS,
    AttributeKind.SPARSE_TENSOR: AttributeKind.SPARSE_TENSORS,
    AttributeKind.GRAPH: AttributeKind.GRAPHS,
    AttributeKind.TYPE_PROTO: AttributeKind.TYPE_PROTOS,
}


def make_attribute(value: object, kind: AttributeKind | None = None) -> Attribute:
    """An attribute from a plain Python value.

    Args:
        value: an :class:`Attribute` (returned as it is), a number, text, array, graph, type, or a list of one of these.
        kind: what the schema wants; seen from the value when ``None``.

    Raises:
        ValueError: if the value does not fit the kind.
    """
    if isinstance(value, Attribute):
        return value
    kind = infer_kind(value) if kind is None else kind
    if kind.is_list:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise ValueError(f"expected a list for an attribute of kind {kind.name}, found {type(value).__name__}")
        return Attribute(kind, tuple(_scalar(item, _ITEM_OF[kind]) for item in value))  # type: ignore[arg-type]  # one kind for all items
    return Attribute(kind, _scalar(value, kind))


_ITEM_OF = {many: one for one, many in _LIST_OF.items()}


def _scalar(value: object, kind: AttributeKind) -> AttributeValue:
    if kind is AttributeKind.FLOAT and isinstance(value, int | float | np.floating | np.integer):
        return float(np.float32(value))
    if kind is AttributeKind.INT and isinstance(value, int | np.integer):
        return int(value)
    if kind is AttributeKind.TENSOR and isinstance(value, np.ndarray | np.generic):
        return Constant(np.asarray(value))
    if infer_kind(value) != kind:
        raise ValueError(f"expected {kind.name}, found {type(value).__name__}")
    return value  # type: ignore[return-value]  # infer_kind accepts attribute values only
