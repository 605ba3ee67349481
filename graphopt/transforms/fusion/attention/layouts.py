"""Where a factor of attention comes from, before heads were split, moved and scaled: by axes and shapes, not by how it was spelt.

A factor is looked at from its use backwards. Its axes are B (batch), N (heads), S (positions), H (numbers of a head), D (N*H) and F (B*N):
queries and values arrive as ``BNSH`` or ``FSH``, transposed keys as ``BNHS`` or ``FHS``. Transpose moves between layouts; whatever only
changes the shape (Reshape, Squeeze, Unsqueeze, Flatten) splits or joins axes, which is read off the two shapes; multiplication and division
by a number are collected. Each layout that is passed is noted with its value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from graphopt.ir import Dim, Node, Shape, Value
from graphopt.transforms.broadcasting import same_dim

__all__ = ["Factor", "Layout", "Seen", "is_reshape", "scalar", "trace"]

#: A factor passes fewer nodes than this.
_MOST_STEPS: Final = 16
_RESHAPES: Final = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})


class Layout(Enum):
    """Order of axes; see the module."""

    BNSH = "BNSH"
    BNHS = "BNHS"
    BSNH = "BSNH"
    BSD = "BSD"
    FSH = "FSH"
    FHS = "FHS"


_TRANSPOSES: Final = {
    (Layout.BNSH, (0, 1, 3, 2)): Layout.BNHS,
    (Layout.BNHS, (0, 1, 3, 2)): Layout.BNSH,
    (Layout.BNSH, (0, 2, 1, 3)): Layout.BSNH,
    (Layout.BNHS, (0, 2, 3, 1)): Layout.BSNH,
    (Layout.FHS, (0, 2, 1)): Layout.FSH,
    (Layout.FSH, (0, 2, 1)): Layout.FHS,
}
#: Layouts with the same last two axes, one with B and N apart, the other with both in one.
_FOLDED: Final = {Layout.BNSH: Layout.FSH, Layout.BNHS: Layout.FHS}
_UNFOLDED: Final = {Layout.FSH: Layout.BNSH, Layout.FHS: Layout.BNHS}
_AXES: Final = {layout: tuple(layout.value) for layout in Layout}


@dataclass(frozen=True, slots=True)
class Seen:
    """A value that holds the factor in some layout.

    Attributes:
        value: the value.
        scale: what it still has to be multiplied by.
    """

    value: Value
    scale: float


@dataclass(slots=True)
class Factor:
    """One factor of attention.

    Attributes:
        seen: the value farthest back in each layout that was passed.
        sizes: what is known about the size of each axis: any of these is it.
    """

    seen: dict[Layout, Seen] = field(default_factory=dict)
    sizes: dict[str, list[Dim]] = field(default_factory=dict)

    def note(self, layout: Layout, value: Value, scale: float) -> None:
        """Take down a layout and the sizes that it shows."""
        self.seen[layout] = Seen(value, scale)
        for axis, size in zip(_AXES[layout], value.shape or (), strict=False):
            if size is not None:
                self.sizes.setdefault(axis, []).append(size)

    def number(self, axis: str) -> int | None:
        """The size of an axis when it is a number."""
        return next((size for size in self.sizes.get(axis, ()) if isinstance(size, int)), None)

    def agrees(self, axis: str, other: Factor, other_axis: str = "") -> bool:
        """Whether an axis certainly has the same size in another factor."""
        mine, theirs = self.sizes.get(axis, ()), other.sizes.get(other_axis or axis, ())
        return any(same_dim(a, b) for a in mine for b in theirs)

    def as_one_head(self) -> None:
        """Take what has batch and heads in one axis as a batch of single heads."""
        seen, sizes = self.seen, self.sizes
        flat, folded = seen.get(Layout.FSH), seen.get(Layout.FHS)
        self.seen = {Layout.BSD: flat} if flat is not None else {} if folded is None else {Layout.FHS: folded}
        self.sizes = {"B": sizes.get("F", []), "N": [1], "S": sizes.get("S", []), "H": sizes.get("H", [])}

    def size(self, axis: str) -> Dim:
        """The size of an axis, a number if possible."""
        known = self.sizes.get(axis, ())
        return next((size for size in known if isinstance(size, int)), known[0] if known else None)

    def has_size(self, axis: str, size: Dim) -> bool:
        """Whether an axis certainly has a size."""
        return any(same_dim(size, mine) for mine in self.sizes.get(axis, ()))


def is_reshape(node: Node | None) -> bool:
    """Whether a node keeps all numbers in their order and changes the shape at most."""
    return node is not None and node.op in _RESHAPES


def scalar(value: Value | None, rank: int | None) -> float | None:
    """The number of a constant with a single element that makes no tensor of ``rank`` larger in rank, if it is finite."""
    if value is None or not value.is_constant or value.const is None or value.const.size != 1:
        return None
    if rank is None or len(value.const.shape) > rank:
        return None
    number = float(value.const.numpy().reshape(()))
    return number if math.isfinite(number) else None


def scaled(value: Value) -> tuple[Value, float] | None:
    """What a value is a multiple of, and the factor; ``None`` when it is not multiplied or divided by a number."""
    node = value.producer
    if node is None or node.op not in ("Mul", "Div") or node.has_references:
        return None
    a, b = node.inputs[0], node.inputs[1]
    number = scalar(b, value.rank)
    if number is not None and a is not None and a.rank == value.rank:
        if node.op == "Mul":
            return a, number
        return (a, 1 / number) if number else None
    number = scalar(a, value.rank) if node.op == "Mul" else None
    return (b, number) if number is not None and b is not None and b.rank == value.rank else None


def trace(value: Value, layout: Layout, *, scales: bool) -> Factor:
    """Follow a factor back.

    Args:
        value: as it enters the product.
        layout: of it.
        scales: whether multiplication by a number may be passed.
    """
    found = Factor()
    scale = 1.0
    found.note(layout, value, scale)
    for _ in range(_MOST_STEPS):
        node = value.producer
        multiple = scaled(value) if scales else None
        if multiple is not None:
            value, scale = multiple[0], scale * multiple[1]
        elif node is None or node.inputs[0] is None or (node.attributes and node.has_references):
            break
        else:
            source = node.inputs[0]
            following = (
                _TRANSPOSES.get((layout, node.ints_attr("perm") or ()))
                if node.op == "Transpose"
                else _reshaped(layout, source.shape, value.shape)
                if is_reshape(node)
                else None
            )
            if following is None:
                break
            value, layout = source, following
        found.note(layout, value, scale)
        if layout is Layout.FSH and found.number("N") == 1:
            layout = Layout.BSD
            found.note(layout, value, scale)
    return found


def _reshaped(layout: Layout, before: Shape | None, after: Shape | None) -> Layout | None:
    """Layout of what a value in some layout was reshaped from; ``None`` when that is not certain."""
    if before is None or after is None:
        return None
    ends = len(before) >= 2 and all(map(same_dim, before[-2:], after[-2:]))
    if layout in _FOLDED and len(before) == 3 and ends:
        return Layout.BSD if layout is Layout.BNSH and after[1] == 1 else _FOLDED[layout]
    if layout in _UNFOLDED and len(before) == 4 and ends:
        return _UNFOLDED[layout]
    if (
        layout is Layout.BNSH
        and len(before) == 4
        and after[1] == 1
        and before[2] == 1
        and same_dim(after[3], before[3])
    ):
        return Layout.BSNH if same_dim(after[0], before[0]) or same_dim(after[2], before[1]) else None
    if (
        layout in (Layout.BNSH, Layout.BNHS) and len(before) == 3 and before[1] == 1
    ):  # a single position needs no moving
        rows, size = after[2:] if layout is Layout.BNSH else after[:1:-1]
        alone = rows == 1 and isinstance(after[1], int) and isinstance(size, int) and before[2] == after[1] * size
        return Layout.BSD if alone else None
    if layout is Layout.BSNH and len(before) == 3 and isinstance(after[2], int) and isinstance(after[3], int):
        joined = before[2] == after[2] * after[3]
        return Layout.BSD if joined and any(map(same_dim, before[:2], after[:2])) else None
    return None
