"""Following a value of a graph from node to node: where it goes on, and which of its axes and elements stay what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from graphopt.ir import Constant, DType, Node, Value

__all__ = [
    "Followed",
    "Handler",
    "Use",
    "combine",
    "compare",
    "compute",
    "constant_of",
    "dims_of",
    "flatten",
    "ints_of",
    "join",
    "keep",
    "loop",
    "move",
    "numbers_of",
    "scan",
    "squeeze",
    "transpose",
    "unsqueeze",
]

_SMALL: Final = 1 << 12
_FEW: Final = 6


@dataclass(frozen=True, slots=True)
class Followed:
    """A value on the way from an input.

    Attributes:
        value: where we are.
        axes: the input's axis that each axis of the value is, ``None`` for others; ``None`` when that is lost.
        same_elements: whether the elements are those of the input, moved or copied.
    """

    value: Value
    axes: tuple[int | None, ...] | None
    same_elements: bool


@dataclass(slots=True)
class Use:
    """What uses say about an input; fields as in ``InputHint``."""

    role: Any = "any"
    low: int | None = None
    high: int | None = None
    landmarks: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    axes: dict[int, list[int]] = field(default_factory=dict)
    least: dict[int, int] = field(default_factory=dict)

    def elements(self, here: Followed, role: str, low: int | None = None, high: int | None = None) -> None:
        """Note what the elements mean; an index is the strongest claim, and the narrower interval holds."""
        if not here.same_elements:
            return
        if self.role == "any" or role == "index":
            self.role = role
        if low is not None:
            self.low = low if self.low is None else max(self.low, low)
        if high is not None:
            self.high = high if self.high is None else min(self.high, high)

    def size(self, here: Followed, axis: int, size: int | None) -> None:
        """Note the size that an axis of the followed value must have."""
        axes = here.axes
        if axes is None or size is None or not -len(axes) <= axis < len(axes):
            return
        origin = axes[axis]
        if origin is not None and size not in self.axes.setdefault(origin, []):
            self.axes[origin].append(size)

    def at_least(self, here: Followed, axis: int, size: int) -> None:
        """Note the size that an axis must have at least."""
        axes = here.axes
        if axes is not None and axis < len(axes) and axes[axis] is not None:
            origin = axes[axis]
            assert origin is not None  # just checked
            self.least[origin] = max(self.least.get(origin, 1), size)


Handler = Callable[[Node, int, Followed, Use], Iterable[Followed]]


def constant_of(node: Node, index: int) -> Constant | None:
    """The constant that an input of a node is, as an initializer or through a Constant node."""
    value = node.input_at(index)
    if value is None or value.const is not None:
        return None if value is None else value.const
    producer = value.producer
    found = producer.attr("value") if producer is not None and producer.op == "Constant" else None
    return found if isinstance(found, Constant) else None


def dims_of(node: Node, index: int) -> tuple[int | None, ...] | None:
    """Sizes of an input of a node as far as they are numbers."""
    const = constant_of(node, index)
    if const is not None:
        return const.shape
    value = node.input_at(index)
    shape = None if value is None else value.shape
    return None if shape is None else tuple(dim if isinstance(dim, int) else None for dim in shape)


def numbers_of(node: Node, index: int) -> list[float]:
    """A small constant input as plain numbers, empty for anything else."""
    const = constant_of(node, index)
    if const is None or const.size > _SMALL or const.dtype in (DType.STRING, DType.COMPLEX64, DType.COMPLEX128):
        return []
    return [float(item) for item in const.numpy().astype(np.float64).reshape(-1)]


def ints_of(node: Node, name: str, index: int) -> tuple[int, ...] | None:
    """Integers that an operator has as an attribute or, in later opsets, as an input."""
    found = node.ints_attr(name)
    if found is not None:
        return found
    numbers = numbers_of(node, index)
    return tuple(int(number) for number in numbers) if numbers else None


def keep(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements and axes stay."""
    if position == 0:
        yield replace(here, value=node.output)


def compute(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Axes stay, elements are others."""
    if position == 0:
        yield Followed(node.output, here.axes, same_elements=False)


def combine(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Broadcasting: a constant beside it with more than one element along an axis fixes that axis."""
    axes = here.axes
    for other in range(len(node.inputs)):
        if other == position:
            continue
        dims = dims_of(node, other)
        if axes is not None and dims is not None and constant_of(node, other) is not None:
            for back in range(1, min(len(dims), len(axes)) + 1):
                if dims[-back] not in (None, 1):
                    use.size(here, -back, dims[-back])
        if dims is not None and axes is not None and len(dims) > len(axes):
            axes = (None,) * (len(dims) - len(axes)) + axes
    yield Followed(node.output, axes, same_elements=False)


def compare(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Compared with constants: these are where the model changes its mind."""
    if here.same_elements and position < 2:
        numbers = sorted({number for number in numbers_of(node, 1 - position) if np.isfinite(number)})
        few = numbers if len(numbers) <= _FEW else [*numbers[: _FEW - 1], numbers[-1]]
        use.landmarks += [number for number in few if number not in use.landmarks]
    yield from combine(node, position, here, use)


def transpose(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay, axes change places."""
    axes = here.axes
    if axes is not None:
        perm = node.ints_attr("perm") or tuple(reversed(range(len(axes))))
        axes = tuple(axes[axis] for axis in perm) if sorted(perm) == list(range(len(axes))) else None
    yield replace(here, value=node.output, axes=axes)


def unsqueeze(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay, axes are added."""
    if position:
        use.elements(here, "axes")
        return
    axes, added = here.axes, ints_of(node, "axes", 1)
    if axes is not None and added is not None:
        rank = len(axes) + len(added)
        where = {axis % rank for axis in added}
        rest = iter(axes)
        axes = tuple(None if axis in where else next(rest, None) for axis in range(rank))
    yield replace(here, value=node.output, axes=axes if added is not None else None)


def squeeze(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay, axes of size 1 go."""
    if position:
        use.elements(here, "axes")
        return
    axes, dropped = here.axes, ints_of(node, "axes", 1)
    if axes is not None and dropped is not None:
        for axis in dropped:
            use.size(here, axis, 1)
        where = {axis % len(axes) for axis in dropped} if axes else set()
        axes = tuple(origin for axis, origin in enumerate(axes) if axis not in where)
    yield replace(here, value=node.output, axes=axes if dropped is not None else None)


def move(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay, axes are lost."""
    if position == 0:
        for output in node.outputs:
            yield replace(here, value=output, axes=None)


def join(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay, among others."""
    yield replace(here, value=node.output, axes=None)


def flatten(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Elements stay; the first axis too, when it is the only one on its side."""
    kept = here.axes is not None and node.int_attr("axis", 1) == 1 and len(here.axes) > 1
    axes = (here.axes[0], here.axes[1] if len(here.axes) == 2 else None) if kept and here.axes is not None else None
    yield replace(here, value=node.output, axes=axes)


def loop(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """A trip count, or into the body."""
    if position == 0:
        use.elements(here, "count", 1, 4)
    elif position >= 2 and node.subgraphs and position < len(node.subgraphs[0].inputs):
        yield replace(here, value=node.subgraphs[0].inputs[position])


def scan(node: Node, position: int, here: Followed, use: Use) -> Iterator[Followed]:
    """Into the body, without the scanned axis."""
    if node.subgraphs and position < len(node.subgraphs[0].inputs):
        scanned = position >= len(node.inputs) - node.int_attr("num_scan_inputs", 0)
        axes = here.axes[1:] if scanned and here.axes else None if scanned else here.axes
        yield replace(here, value=node.subgraphs[0].inputs[position], axes=axes)
