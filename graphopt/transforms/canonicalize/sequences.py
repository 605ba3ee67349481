"""Takes sequences and optionals away where it is known what is in them.

A sequence that is made of single tensors (SequenceConstruct, SequenceEmpty, SequenceInsert, SequenceErase) or by SplitToSequence along an
axis of known size has elements that are known one by one. ``SequenceAt(sequence, i)`` is then the element, ``SequenceLength`` a number,
``ConcatFromSequence`` a Concat or what was split. ``OptionalGetElement(Optional(x)) -> x`` and ``OptionalHasElement(Optional(x)) -> true``.
Positions that are outside of the sequence are left for the runtime to refuse.

Exact. Source: https://onnx.ai/onnx/operators/onnx__SplitToSequence.html and those beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from graphopt.ir import Node, OptionalType, SequenceType, TensorType, Value
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, Rule, any_, const, op, rest
from graphopt.transforms.operands import constant_ints

__all__ = ["RULES"]

_DEEPEST: Final = 32
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a tensor along an axis; ``end`` is ``None`` for one element without the axis."""

    source: Value
    axis: int
    start: int
    end: int | None


_Element = Value | _Piece


def _elements(sequence: Value, depth: int = 0) -> list[_Element] | NoMatch:
    """What is in a sequence, in order."""
    node = sequence.producer
    if node is None or depth > _DEEPEST or node.has_references:
        return NoMatch("nothing is known of what is in %r", sequence.name)
    match node.op:
        case "SequenceConstruct":
            return [value for value in node.inputs if value is not None]
        case "SequenceEmpty":
            return []
        case "SplitToSequence":
            return _split(node)
        case "SequenceInsert" | "SequenceErase":
            before = _elements(node.inputs[0], depth + 1) if node.inputs[0] is not None else NoMatch("no sequence")
            return before if isinstance(before, NoMatch) else _edited(node, before)
        case _:
            return NoMatch("nothing is known of what %s gives", node.op)


def _edited(node: Node, before: list[_Element]) -> list[_Element] | NoMatch:
    inserts = node.op == "SequenceInsert"
    place = node.input_at(2 if inserts else 1)
    last = len(before) if inserts else len(before) - 1
    at = last if place is None else _position(place, len(before), last=last)
    if isinstance(at, NoMatch):
        return at
    if inserts:
        tensor = node.inputs[1]
        return NoMatch("no tensor") if tensor is None else [*before[:at], tensor, *before[at:]]
    return NoMatch("nothing is left to erase") if at < 0 else [*before[:at], *before[at + 1 :]]


def _split(node: Node) -> list[_Element] | NoMatch:
    """The parts that SplitToSequence makes."""
    source, given = node.inputs[0], node.input_at(1)
    shape = None if source is None else source.shape
    axis = node.int_attr("axis", 0)
    if source is None or shape is None or not -len(shape) <= axis < len(shape):
        return NoMatch("the rank of what is split is not known")
    axis %= len(shape)
    size = shape[axis]
    if not isinstance(size, int) or size > _MOST:
        return NoMatch("axis %d has size %s, expected a number up to %d", axis, size, _MOST)
    if given is None:
        keeps = node.int_attr("keepdims", 1) != 0
        return [_Piece(source, axis, start, start + 1 if keeps else None) for start in range(size)]
    sizes = constant_ints(given)
    if isinstance(sizes, NoMatch):
        return sizes
    if given.rank == 0:
        if sizes[0] < 1:
            return NoMatch("parts of size %d", sizes[0])
        sizes = tuple(min(sizes[0], size - start) for start in range(0, size, sizes[0]))
    if sum(sizes) != size or min(sizes, default=0) < 0:
        return NoMatch("parts of %s do not make up %d", sizes, size)
    starts = np.cumsum((0, *sizes))
    return [_Piece(source, axis, int(start), int(start) + count) for start, count in zip(starts, sizes, strict=False)]


def _position(value: Value, length: int, *, last: int) -> int | NoMatch:
    """A constant position in a sequence, counted from the front."""
    numbers = constant_ints(value)
    if isinstance(numbers, NoMatch):
        return numbers
    if len(numbers) != 1:
        return NoMatch("%r is no single position", value.name)
    at = numbers[0] + length if numbers[0] < 0 else numbers[0]
    return at if 0 <= at <= last else NoMatch("position %d is outside of a sequence of %d", numbers[0], length)


def _made(element: _Element, rw: Rewriter) -> Value:
    """The element as a tensor."""
    if isinstance(element, Value):
        return element
    if element.end is None:
        return rw.new("Gather", element.source, np.array(element.start, np.int64), axis=element.axis)
    bounds = [np.array([number], np.int64) for number in (element.start, element.end, element.axis)]
    return rw.new("Slice", element.source, *bounds)


_PARTS: Final = op.SplitToSequence(any_("x"), const("split", optional=True))


class ResolveSequenceAt(RewritePattern):
    """SequenceAt(sequence of known elements, i) -> the element, a part of what was split as a Slice."""

    name: ClassVar[str] = "resolve-sequence-at"
    roots: ClassVar[tuple[str, ...]] = ("SequenceAt",)
    reach: ClassVar[int] = _DEEPEST
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.SequenceAt(_PARTS, const("position")),
        op.SequenceAt(op.SequenceConstruct(any_("x"), any_("x")), const("position")),
        op.SequenceAt(op.SequenceInsert(op.SequenceConstruct(any_("x")), any_("x"), rest("where")), const("position")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Take the element from where it came from."""
        sequence, place = node.inputs[:2]
        if sequence is None or place is None:
            return NoMatch("an input is absent")
        elements = _elements(sequence)
        if isinstance(elements, NoMatch):
            return elements
        at = _position(place, len(elements), last=len(elements) - 1)
        return at if isinstance(at, NoMatch) else _made(elements[at], rw)


class ResolveSequenceLength(RewritePattern):
    """SequenceLength(sequence of known elements) -> a constant."""

    name: ClassVar[str] = "resolve-sequence-length"
    roots: ClassVar[tuple[str, ...]] = ("SequenceLength",)
    reach: ClassVar[int] = _DEEPEST
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.SequenceLength(_PARTS),
        op.SequenceLength(op.SequenceConstruct(any_("x"), any_("x"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Count the elements."""
        elements = _elements(node.inputs[0]) if node.inputs[0] is not None else NoMatch("no sequence")
        return elements if isinstance(elements, NoMatch) else rw.constant(np.array(len(elements), np.int64))


class ResolveConcatFromSequence(RewritePattern):
    """ConcatFromSequence(sequence of known elements) -> Concat of them, or what was split if all of it is joined again."""

    name: ClassVar[str] = "resolve-concat-from-sequence"
    roots: ClassVar[tuple[str, ...]] = ("ConcatFromSequence",)
    reach: ClassVar[int] = _DEEPEST
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.ConcatFromSequence(_PARTS),
        op.ConcatFromSequence(op.SequenceConstruct(any_("x"), any_("x"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Join tensors; parts of one tensor only if they are all of it, in order."""
        elements = _elements(node.inputs[0]) if node.inputs[0] is not None else NoMatch("no sequence")
        if isinstance(elements, NoMatch):
            return elements
        if not elements or node.int_attr("new_axis", 0):
            return NoMatch("elements get a new axis, or there are none")
        axis = node.int_attr("axis")
        pieces = [element for element in elements if isinstance(element, _Piece)]
        if not pieces:
            return rw.new_node(
                "Concat", [item for item in elements if isinstance(item, Value)], attributes={"axis": axis}
            ).output
        return (
            _whole(pieces, axis) if len(pieces) == len(elements) else NoMatch("elements are tensors and parts of one")
        )


def _whole(pieces: list[_Piece], axis: int) -> Value | NoMatch:
    """What pieces were cut from, if they are all of it along the axis."""
    source, along = pieces[0].source, pieces[0].axis
    shape = source.shape or ()
    if axis % len(shape) != along or any(piece.source is not source or piece.end is None for piece in pieces):
        return NoMatch("parts are joined along another axis than they were split along")
    reached = 0
    for piece in pieces:
        if piece.axis != along or piece.start != reached or piece.end is None:
            return NoMatch("parts are not joined in their order")
        reached = piece.end
    return source if reached == shape[along] else NoMatch("a part is left out")


class ResolveOptional(RewritePattern):
    """OptionalGetElement of what is surely there -> it; OptionalHasElement of that -> true."""

    name: ClassVar[str] = "resolve-optional"
    roots: ClassVar[tuple[str, ...]] = ("OptionalGetElement", "OptionalHasElement")
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.OptionalGetElement(op.Optional(any_("x"))),
        op.OptionalHasElement(op.Optional(any_("x"))),
        op["OptionalGetElement", "OptionalHasElement"](any_("x")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Look at where the value comes from, or at its type."""
        value = node.input_at(0)
        if value is None:
            return NoMatch("nothing is given")
        if value.producer is not None and value.producer.op == "Optional" and value.producer.input_at(0) is not None:
            value = value.producer.inputs[0]
        if (
            value is None
            or isinstance(value.type, OptionalType)
            or not isinstance(value.type, TensorType | SequenceType)
        ):
            return NoMatch("the value may be absent")
        return value if node.op == "OptionalGetElement" else rw.constant(np.array(True))


RULES: tuple[Rule, ...] = (ResolveSequenceAt(), ResolveSequenceLength(), ResolveConcatFromSequence(), ResolveOptional())
