"""The one tensor that is added to scores, ``[B or 1, N or 1, S, L]``, made of all masks of a core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Dim, DType, Shape, Value
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.fusion.attention.core import Mask
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, trace
from graphopt.transforms.fusion.attention.levels import clamped, is_nothing
from graphopt.transforms.fusion.attention.shapes import size_vector, squeeze_first, unsqueeze

__all__ = ["BiasPlan", "plan_bias"]

_Shape = tuple[Dim, Dim, Dim, Dim]


@dataclass(frozen=True, slots=True)
class BiasPlan:
    """Masks that fit; nodes are made when everything else does, too.

    Attributes:
        masks: each with its shape, ones put in front.
        query: gives the number of rows.
        key: gives the number of columns.
        rows: whether the sum may still have a single row.
        columns: whether the sum may still have a single column.
    """

    masks: tuple[tuple[Mask, _Shape], ...]
    query: Factor
    key: Factor
    rows: bool
    columns: bool

    def emit(self, rw: Rewriter) -> Value | None:
        """The tensor; ``None`` without a mask."""
        total: Value | None = None
        dtype = next((seen.value.dtype for seen in self.query.seen.values()), None) or DType.FLOAT
        for mask, _shape in self.masks:
            value = _additive(mask, rw, dtype)
            rank = mask.value.rank or 0
            if rank == 5:
                value = squeeze_first(rw, value)
            elif rank < 4:
                value = unsqueeze(rw, value, (1,) if rank == 3 == mask.rank else tuple(range(4 - rank)))
            total = value if total is None else rw.new("Add", total, value)
        if total is None or not (self.rows or self.columns):
            return total
        sizes = [1, 1, self._size(self.query) if self.rows else 1, self._size(self.key) if self.columns else 1]
        if all(isinstance(size, int) for size in sizes):
            return rw.new("Expand", total, np.array(sizes, np.int64))
        square = self.query.agrees("S", self.key) and not self.columns
        parts: list[Value | np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = [np.ones(2, np.int64)]
        for size, factor in zip(sizes[2:], (self.query, self.key), strict=True):
            if isinstance(size, int):
                parts.append(np.array([size], np.int64))
            else:  # of a mask, if possible: all layers have the same one
                parts.append(size_vector(rw, total, 3) if square else _length(rw, factor))
        return rw.new("Expand", total, rw.new("Concat", *parts, axis=0))

    @staticmethod
    def _size(factor: Factor) -> int | None:
        return factor.number("S")


def plan_bias(masks: list[Mask], query: Factor, key: Factor, heads: int, *, joined: bool) -> BiasPlan | NoMatch:
    """How masks become one tensor.

    Args:
        masks: of a core.
        query: the left factor.
        key: the right factor; its S is the length of the keys.
        heads: how many heads the result has.
        joined: whether the result of the attention certainly has the shape that batch, rows and heads of the query say: then each mask
            has, on each axis, either that size or 1, for it would make the result larger otherwise.
    """
    fitting: list[tuple[Mask, _Shape]] = []
    for mask in masks:
        shape = mask.value.shape
        if shape is None or len(shape) > mask.rank:
            return NoMatch("mask %s has no known shape", mask.value.type)
        if mask.reshaped and mask.rank > 3 and (mask.scores is None or mask.scores[mask.rank - 3] != heads):
            return NoMatch("the scores that mask %s meets do not have heads beside rows", mask.value.type)
        if mask.rank > 4:
            if len(shape) != 5 or shape[0] != 1 or not query.has_size("B", shape[1]):
                return NoMatch("mask %s divides the batch", mask.value.type)
            shape = shape[1:]
        if len(shape) == 3 and mask.rank == 3:
            if heads != 1 and shape[0] != 1:
                return NoMatch("mask %s has batch and heads in one axis", mask.value.type)
            shape = (shape[0], 1, *shape[1:])
        first, second, third, fourth = _of_rank_4(shape)
        if not joined:
            if not (first == 1 or query.has_size("B", first)) or not (second == 1 or second == heads):
                return NoMatch("mask %s: sizes of batch and heads are not certain", mask.value.type)
            if not (third == 1 or query.has_size("S", third)) or not (fourth == 1 or key.has_size("S", fourth)):
                return NoMatch("mask %s: lengths are not certain", mask.value.type)
        if mask.filler is not None or not is_nothing(mask.value):
            fitting.append((mask, (first, second, third, fourth)))
    rows = bool(fitting) and not any(query.has_size("S", shape[2]) for _mask, shape in fitting)
    columns = bool(fitting) and not any(key.has_size("S", shape[3]) for _mask, shape in fitting)
    return BiasPlan(tuple(fitting), query, key, rows, columns)


def _of_rank_4(shape: Shape) -> _Shape:
    """A shape of at most four axes with ones in front."""
    sizes: list[Dim] = [1] * (4 - len(shape))
    sizes.extend(shape)
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _length(rw: Rewriter, factor: Factor) -> Value:
    """The number of positions of a factor, as a vector; of the parts that it is joined of, which attention may join itself then."""
    whole = factor.seen.get(Layout.BNSH)
    concat = None if whole is None else whole.value.producer
    if concat is not None and concat.op == "Concat" and concat.int_attr("axis") in (2, -2) and len(concat.inputs) == 2:
        parts = [_length(rw, trace(item, Layout.BNSH, scales=False)) for item in concat.inputs if item is not None]
        return rw.new("Add", *parts)
    for layout in (Layout.BSD, Layout.BSNH, Layout.BNSH, Layout.BNHS):
        if layout in factor.seen:
            return size_vector(rw, factor.seen[layout].value, layout.value.index("S"))
    return size_vector(rw, factor.seen[Layout.FHS].value, 2)


def _additive(mask: Mask, rw: Rewriter, dtype: DType) -> Value:
    """What adding it does to scores."""
    if mask.filler is None:
        return clamped(rw, mask.value) if mask.clamp else mask.value
    nothing, filler = np.zeros((), dtype.numpy), np.array(mask.filler, dtype.numpy)
    kept, left = (nothing, filler) if mask.keep else (filler, nothing)
    return rw.new("Where", mask.value, kept, left)
