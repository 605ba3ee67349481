"""Says which axes of one shape hold the same elements as which axes of another, when a tensor is reshaped from one to the other.

Row-major order keeps prefixes: wherever products of leading sizes agree, axes before and after stay apart. Sizes may be symbols; at most
one stretch of axes on each side is left that can't be compared, and it corresponds as a whole because the number of elements does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.ir import Dim, Node, Shape, Value
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.operands import ints_operand

__all__ = ["Block", "align", "is_reached", "lift_order", "order_of", "producer_of", "reshaped_dims"]


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring axes of one shape that hold the elements of neighbouring axes of another.

    Attributes:
        old: axes of the shape before.
        new: axes of the shape after.
    """

    old: range
    new: range


def reshaped_dims(node: Node) -> Shape | None:
    """Sizes that a Reshape, Flatten, Squeeze or Unsqueeze gives; ``None`` for the one that is whatever is left.

    Returns:
        ``None`` if the rank or more than one size is not known.
    """
    shape = node.output.shape
    if node.op == "Reshape":
        target = ints_operand(node, "shape", 1)
        if isinstance(target, tuple):
            if shape is None:
                shape = tuple(entry if entry > 0 else None for entry in target)
            elif len(shape) != len(target):
                return None
            rest = target.index(-1) if -1 in target else None
            unknown = [axis for axis, dim in enumerate(shape) if dim is None and axis != rest]
            return None if unknown else shape
    return None if shape is None or None in shape else shape


def align(old: Shape, new: Shape) -> tuple[Block, ...]:
    """Blocks of axes that correspond, in order; all axes of both shapes are in one.

    Example:
        >>> [(list(b.old), list(b.new)) for b in align((2, 6, 5), (2, 3, 2, 5))]
        [([0], [0]), ([1], [1, 2]), ([2], [3])]
    """
    front = 0
    while front < min(len(old), len(new)) and same_dim(old[front], new[front]):
        front += 1
    back = 0
    while back < min(len(old), len(new)) - front and same_dim(old[-1 - back], new[-1 - back]):
        back += 1
    blocks = [Block(range(axis, axis + 1), range(axis, axis + 1)) for axis in range(front)]
    blocks += _inner(old, new, front, len(old) - back, len(new) - back)
    for axis in range(-back, 0):
        a, b = len(old) + axis, len(new) + axis
        blocks.append(Block(range(a, a + 1), range(b, b + 1)))
    return tuple(blocks)


def _inner(old: Shape, new: Shape, front: int, old_end: int, new_end: int) -> list[Block]:
    """Blocks of what is left between equal sizes at both ends: by products where all are positive numbers, else one block."""
    if front == old_end and front == new_end:
        return []
    have, wanted = _numbers(old[front:old_end]), _numbers(new[front:new_end])
    if have is None or wanted is None:
        return [Block(range(front, old_end), range(front, new_end))]
    blocks: list[Block] = []
    a = b = start_a = start_b = 0
    left = right = 1
    while a < len(have) or b < len(wanted):
        if a < len(have) and (left <= right or b == len(wanted)):
            left, a = left * have[a], a + 1
        else:
            right, b = right * wanted[b], b + 1
        if left == right:
            blocks.append(Block(range(front + start_a, front + a), range(front + start_b, front + b)))
            start_a, start_b, left, right = a, b, 1, 1
    if start_a < a or start_b < b:  # products differ: sizes that are stated wrongly, which is not for this to say
        return [Block(range(front, old_end), range(front, new_end))]
    return blocks


def _numbers(dims: Sequence[Dim]) -> list[int] | None:
    found = [dim for dim in dims if isinstance(dim, int) and dim > 0]
    return found if len(found) == len(dims) else None


def is_reached(shape: Shape, wanted: Shape) -> bool:
    """Whether a shape is the wanted one, where one size may be whatever is left."""
    return len(shape) == len(wanted) and all(b is None or same_dim(a, b) for a, b in zip(shape, wanted, strict=True))


def lift_order(order: Sequence[int], blocks: Sequence[Block], new: Shape) -> tuple[int, ...] | None:
    """The order of the old axes that moves the same elements as an order of the new ones; ``None`` if a block would be torn apart.

    Args:
        order: new axes in the order that they are brought into.
        blocks: how the axes correspond.
        new: sizes of the new axes; those of size 1 may go anywhere.

    Example:
        >>> lift_order((0, 2, 1), align((2, 6, 5, 4), (12, 5, 4)), (12, 5, 4))
        (0, 1, 3, 2)
    """
    home: dict[int, int] = {}
    wide: list[list[int]] = []
    for number, block in enumerate(blocks):
        wide.append([axis for axis in block.new if new[axis] != 1])
        home.update(dict.fromkeys(wide[-1], number))
    moved = [axis for axis in order if axis in home]
    found: list[int] = []
    at = 0
    while at < len(moved):
        axes = wide[home[moved[at]]]
        if moved[at : at + len(axes)] != axes:
            return None
        found.append(home[moved[at]])
        at += len(axes)
    for number, axes in enumerate(wide):  # blocks of one element stay behind the block before them
        if not axes:
            found.insert(found.index(number - 1) + 1 if number else 0, number)
    return tuple(axis for number in found for axis in blocks[number].old)


def order_of(transpose: Node, rank: int) -> tuple[int, ...] | None:
    """The order of axes that a Transpose makes; ``None`` if it does not fit the rank."""
    stated = transpose.ints_attr("perm")
    order = tuple(reversed(range(rank))) if stated is None else stated
    return order if sorted(order) == list(range(rank)) else None


def producer_of(value: Value | None, ops: tuple[str, ...], reader: Node) -> Node | None:
    """The node of one of these operators that gives a value to ``reader`` alone, in its graph."""
    node = None if value is None else value.producer
    if value is None or node is None or node.op not in ops or not value.has_single_use:
        return None
    return node if node.graph is reader.graph and not node.has_references else None
