"""Embeddings that are looked up, summed and normalized become ``com.microsoft::EmbedLayerNormalization``.

``LayerNormalization(word[ids] + position[places] [+ segment[kinds]], gamma, beta)`` over the last axis, with constant tables ``[rows, H]``
and indices ``[B, S]``; ``places`` may be ``[1, S]``, and a constant ``[1, S, H]`` is a table for all positions in their order. The kernel
takes indices of 32 bits, for which others are cast, and float32; it refuses negative indices, which a lookup counts from the end, as it
refuses those out of range. Numerics: re-associates. Source: ONNX Runtime's docs/ContribOperators.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter
from graphopt.transforms.broadcasting import same_dim

__all__ = ["FuseEmbedLayerNorm"]

_INDICES: Final = frozenset({DType.INT32, DType.INT64})


@dataclass(frozen=True, slots=True)
class _Lookup:
    """One term of the sum.

    Attributes:
        table: constant, ``[rows, H]``; ``[1, S, H]`` or ``[S, H]`` without indices.
        ids: which rows, ``None`` for all in their order.
        node: what looks them up.
    """

    table: Value
    ids: Value | None = None
    node: Node | None = None


class FuseEmbedLayerNorm(RewritePattern):
    """LayerNormalization(Gather(w, ids) + Gather(p, places) + Gather(s, kinds)) -> com.microsoft::EmbedLayerNormalization(...)."""

    name: ClassVar[str] = "fuse-embed-layer-norm"
    roots: ClassVar[tuple[str, ...]] = ("LayerNormalization",)
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 4
    makes: ClassVar[str] = "com.microsoft::EmbedLayerNormalization"

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Two terms, or three."""
        total, gamma, beta = node.input_at(0), node.input_at(1), node.input_at(2)
        shape = None if total is None else total.shape
        if total is None or shape is None or len(shape) != 3 or total.dtype is not DType.FLOAT:
            return NoMatch("what is normalized is %s", None if total is None else total.type)
        if node.int_attr("axis", -1) not in (-1, 2) or any(value.is_used for value in node.outputs[1:]):
            return NoMatch("normalizes axis %s, or gives mean or deviation", node.attr("axis"))
        if node.float_attr("epsilon", 1e-5) < 0:
            return NoMatch("epsilon is negative")
        width = shape[2]
        if any(row is None or not row.is_constant or row.shape != (width,) for row in (gamma, beta)):
            return NoMatch("scale and bias are not constants of %s numbers", width)
        adds: list[Node] = []
        terms = _terms(total, node, adds, 2)
        lookups = [_lookup(term, total) for term in terms]
        known = [item for item in lookups if item is not None]
        if len(known) != len(terms) or len(known) not in (2, 3):
            return NoMatch("the %d terms are not all looked up in constant tables", len(terms))
        roles = _roles(known, total)
        if isinstance(roles, NoMatch):
            return roles
        word, place, kind = roles
        rw.matched = [node, *adds, *(item.node for item in known if item.node is not None)]
        tables = [word.table, _rows(rw, place.table), None if kind is None else kind.table]
        places = None if place.ids is None or _is_in_order(place.ids) else _indices(rw, place.ids)
        kinds = None if kind is None or kind.ids is None else _indices(rw, kind.ids)
        ids = None if word.ids is None else _indices(rw, word.ids)
        made = rw.new_node(
            self.makes,
            [ids, kinds, *tables, gamma, beta, None, places],
            outputs=2,
            attributes={"epsilon": node.float_attr("epsilon", 1e-5)},
            name=node.name,
        )
        made.output.type = node.output.type
        return [made.output, *[None] * (len(node.outputs) - 1)]


def _terms(value: Value, root: Node, adds: list[Node], depth: int) -> list[Value]:
    """What a sum that only ``root`` needs is made of."""
    add = value.producer
    if add is None or add.op != "Add" or add.graph is not root.graph or not value.has_single_use or not depth:
        return [value]
    adds.append(add)
    return [term for item in add.inputs if item is not None for term in _terms(item, root, adds, depth - 1)]


def _lookup(term: Value, total: Value) -> _Lookup | None:
    """A term as rows of a table; ``None`` when it is something else."""
    width = total.shape[2] if total.shape is not None else None
    if term.is_constant and term.shape is not None and total.shape is not None:
        rows = term.shape[1:] if len(term.shape) == 3 and term.shape[0] == 1 else term.shape
        return _Lookup(term) if len(rows) == 2 and same_dim(rows[0], total.shape[1]) and rows[1] == width else None
    node = term.producer
    table, ids = (None, None) if node is None or node.op != "Gather" else (node.inputs[0], node.inputs[1])
    if (
        node is None
        or table is None
        or ids is None
        or not term.has_single_use
        or node.int_attr("axis", 0) not in (0, -2)
    ):
        return None
    plain = table.is_constant and table.rank == 2 and table.dtype is DType.FLOAT and not node.has_references
    if not plain or table.shape is None or table.shape[1] != width or ids.rank != 2 or ids.dtype not in _INDICES:
        return None
    numbers = ids.array()
    return None if numbers is not None and bool((numbers.astype(np.int64) < 0).any()) else _Lookup(table, ids, node)


def _roles(lookups: list[_Lookup], total: Value) -> tuple[_Lookup, _Lookup, _Lookup | None] | NoMatch:
    """Words, positions and kinds: whatever has all indices may be either; positions may be the same for all members of a batch."""
    full = [item for item in lookups if _covers(item, total)]
    rest = [item for item in lookups if not any(item is other for other in full)]
    if len(rest) > 1 or any(item.ids is not None and not _is_one_row(item.ids, total) for item in rest):
        return NoMatch("more than one term is the same for all members of the batch")
    if not rest:
        rest = [full.pop()]
    return (
        (full[0], rest[0], full[1] if len(full) > 1 else None)
        if full
        else NoMatch("no term has indices for each place")
    )


def _covers(item: _Lookup, total: Value) -> bool:
    shape = None if item.ids is None else item.ids.shape
    return shape is not None and total.shape is not None and all(map(same_dim, shape, total.shape[:2]))


def _is_one_row(ids: Value, total: Value) -> bool:
    return (
        ids.shape is not None
        and total.shape is not None
        and ids.shape[0] == 1
        and same_dim(ids.shape[1], total.shape[1])
    )


def _is_in_order(ids: Value) -> bool:
    """Whether indices are certainly 0, 1, 2, ... for each member of the batch."""
    numbers = ids.array()
    if numbers is not None:
        return numbers.ndim > 0 and bool((numbers == np.arange(numbers.shape[-1])).all())
    node = ids.producer
    source = None if node is None or not node.inputs else node.inputs[0]
    if node is None or source is None or (node.attributes and node.has_references):
        return False
    if node.op == "Range":
        return [_number(item) for item in (source, node.inputs[2])] == [0, 1]
    if node.op == "Unsqueeze":
        return source.rank == 1 and ids.shape is not None and ids.shape[0] == 1 and _is_in_order(source)
    if node.op == "Slice" and len(node.inputs) > 3:
        first, axis, step = (_number(node.input_at(place)) for place in (1, 3, 4))
        last = (source.rank or 0) - 1
        return first == 0 and axis in (-1, last) and (step == 1 or node.input_at(4) is None) and _is_in_order(source)
    return False


def _number(value: Value | None) -> int | None:
    """The number of a constant with one element."""
    numbers = None if value is None else value.array()
    return int(numbers.reshape(-1)[0]) if numbers is not None and numbers.size == 1 else None


def _indices(rw: Rewriter, ids: Value) -> Value:
    """Indices of 32 bits."""
    if ids.dtype is DType.INT32:
        return ids
    numbers = ids.array()
    return rw.new("Cast", ids, to=int(DType.INT32)) if numbers is None else rw.constant(numbers.astype(np.int32))


def _rows(rw: Rewriter, table: Value) -> Value:
    """A table without an axis for the batch."""
    numbers = table.array()
    return rw.constant(numbers[0]) if numbers is not None and numbers.ndim == 3 else table
