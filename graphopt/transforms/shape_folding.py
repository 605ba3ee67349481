"""Folds what models compute only to reshape, slice and expand, dynamic dimensions included, without ever fixing one.

Chains such as Shape → Gather → arithmetic → Unsqueeze → Concat → Reshape are followed symbolically (:class:`ShapeValues`). A result that
is all numbers becomes a constant. A Reshape target that holds sizes of its input takes the form of ``0`` and ``-1`` entries, an Expand
target that repeats its input's sizes takes ``1`` there, a Slice to the end of an axis takes the largest integer; what then does nothing
is removed. ``-1`` is used only where no other entry can be zero, because ``-1`` has no answer for empty tensors. Exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.analysis import Integers
from graphopt.analysis.shape_inference import Facts, broadcast_shapes, reshaped
from graphopt.ir import Dim, DType, Node, Value, lower_bound
from graphopt.passes import RewritePass
from graphopt.rewriting import IN_PLACE, NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op, rest
from graphopt.transforms.index_folding import GatherEachElement, GatherEachPosition
from graphopt.transforms.known_shapes import shape_values

__all__ = ["FoldShapes"]

_END = (1 << 63) - 1


def _constant(rw: Rewriter, numbers: tuple[int, ...], like: Value, shape: tuple[int, ...]) -> Value:
    dtype = like.dtype or DType.INT64
    return rw.constant(np.array(numbers, dtype.numpy).reshape(shape), name=f"{like.name}_folded")


class FoldKnownIntegers(RewritePattern):
    """A small integer tensor whose elements are all known -> a constant."""

    name: ClassVar[str] = "fold-known-integers"
    roots: ClassVar[tuple[str, ...]] = (
        "Shape", "Size", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Cast", "Add", "Sub", "Mul", "Div", "Mod",
        "Min", "Max", "Clip", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Neg", "Where",
        "ConstantOfShape", "Range", "Expand", "Reshape", "Split", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin",
    )  # fmt: skip
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op["Shape", "Size"](any_("x")),
        op["Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Cast"](op.Shape(any_("x")), rest("how")),
        op["Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Equal", "Greater", "Less"](
            op.Shape(any_("x")), const("operand")
        ),
        op["Add", "Mul", "Div"](op.Gather(op.Shape(any_("x")), const("which")), const("operand")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Replace the outputs if each element of each one is a number."""
        values = shape_values(rw)
        found: list[tuple[Value, Integers, tuple[int, ...]]] = []
        for output in node.outputs:
            if output.dtype is None or not (output.dtype.is_integer or output.dtype is DType.BOOL):
                return NoMatch("%r is no integer tensor", output.name)
            integers = values.of(output)
            numbers = None if integers is None else integers.numbers
            if integers is None or numbers is None:
                return NoMatch("elements of %r are not all known", output.name)
            if output.shape is not None and len(output.shape) != integers.rank:
                return NoMatch("the rank of %r is in doubt", output.name)
            found.append((output, integers, numbers))
        return [_constant(rw, numbers, output, integers.shape) for output, integers, numbers in found]


class FoldReshapeTarget(RewritePattern):
    """Reshape(x) -> x where the shape stays, or with a constant target of numbers, 0 (as in the input) and at most one -1."""

    name: ClassVar[str] = "fold-reshape-target"
    roots: ClassVar[tuple[str, ...]] = ("Reshape",)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Reshape(any_("x"), op.Shape(any_("y"))),
        op.Reshape(any_("x"), op.Shape(any_("x"))),
        op.Reshape(any_("x"), op.Concat(op.Slice(op.Shape(any_("x")), rest("which")), rest("sizes"))),
        op.Reshape(any_("x"), op.Mul(op.Shape(any_("x")), const("factor"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Use what is known of the target."""
        target = node.input_at(1)
        data = node.input_at(0)
        if target is None or data is None:
            return NoMatch("the target is an attribute")
        values = shape_values(rw)
        wanted = values.of(target)
        if wanted is None or wanted.rank != 1:
            return NoMatch("nothing is known of target %r", target.name)
        allow_zero = node.attr("allowzero") == 1
        have = values.shape_of(data)
        if have is not None and have in (
            wanted.elements,
            reshaped(have, wanted.elements, Facts(values), allow_zero=allow_zero),
        ):
            return data
        if target.is_constant:
            return NoMatch("the target is constant")
        entries = _reshape_entries(wanted.elements, have, allow_zero=allow_zero)
        if entries is None:
            return NoMatch("target %r holds sizes that 0 and -1 can't express", target.name)
        rw.set_input(node, 1, _constant(rw, entries, target, (len(entries),)))
        return IN_PLACE


def _reshape_entries(
    wanted: tuple[Dim, ...], have: tuple[Dim, ...] | None, *, allow_zero: bool
) -> tuple[int, ...] | None:
    """Entries of a constant target that always mean ``wanted``, ``None`` if there are none."""
    entries: list[int | None] = []
    positive = 0
    for axis, size in enumerate(wanted):
        if isinstance(size, int):
            entries.append(size)
        elif size is not None and not allow_zero and have is not None and axis < len(have) and have[axis] == size:
            entries.append(0)
            positive += (lower_bound(have[axis]) or 0) > 0
        else:
            entries.append(None)
    open_places = [axis for axis, entry in enumerate(entries) if entry is None]
    if not open_places:
        return tuple(entry for entry in entries if entry is not None)
    numbers = [entry for entry in entries if entry is not None]
    if len(open_places) > 1 or min(numbers, default=1) < 0 or numbers.count(0) > positive:
        return None  # -1 next to a size that may be zero has no answer for an empty tensor
    if wanted[open_places[0]] is None:
        return None  # may be -1 or 0 itself, with a meaning of its own
    return tuple(-1 if entry is None else entry for entry in entries)


class FoldExpandTarget(RewritePattern):
    """Expand(x, computed) -> x when it asks for the sizes that x has; else a constant target with 1 where x has the size."""

    name: ClassVar[str] = "fold-expand-target"
    roots: ClassVar[tuple[str, ...]] = ("Expand",)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Expand(any_("x"), op.Shape(any_("x"))),
        op.Expand(any_("x"), op.Shape(any_("y"))),
        op.Expand(any_("x"), op.Concat(op.Slice(op.Shape(any_("x")), rest("which")), rest("sizes"))),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Use what is known of the target."""
        data, target = node.input_at(0), node.input_at(1)
        if data is None or target is None:
            return NoMatch("an input is absent")
        values = shape_values(rw)
        wanted, have = values.of(target), values.shape_of(data)
        if wanted is None or have is None or wanted.rank != 1:
            return NoMatch("nothing is known of target %r or of its input", target.name)
        if have == broadcast_shapes([have, wanted.elements]):
            return data
        if target.is_constant:
            return NoMatch("the target is constant")
        if len(have) > len(wanted.elements):
            padded: tuple[Dim, ...] = (1,) * (len(have) - len(wanted.elements)) + wanted.elements
        else:
            padded = wanted.elements
        sizes: tuple[Dim, ...] = (1,) * (len(padded) - len(have)) + have
        entries: list[int] = []
        for size, present in zip(padded, sizes, strict=True):
            if isinstance(size, int):
                entries.append(size)
            elif size is not None and size == present:
                entries.append(1)
            else:
                return NoMatch("target %r asks for %s where the input has %s", target.name, size, present)
        if len(padded) == len(have) and all(
            entry == 1 or entry == present for entry, present in zip(entries, have, strict=True)
        ):
            return data
        rw.set_input(node, 1, _constant(rw, tuple(entries), target, (len(entries),)))
        return IN_PLACE


class FoldSliceBounds(RewritePattern):
    """Slice(x, 0, computed size of the axis) -> Slice(x, 0, largest integer), for steps of 1 and more."""

    name: ClassVar[str] = "fold-slice-bounds"
    roots: ClassVar[tuple[str, ...]] = ("Slice",)
    reach: ClassVar[int] = 1
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op.Slice(any_("x"), const("starts"), op.Slice(op.Shape(any_("x")), rest("which")), rest("how")),
        op.Slice(any_("x"), const("starts"), op.Gather(op.Shape(any_("x")), const("which")), rest("how")),
    )

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Use what is known of the bounds."""
        if len(node.inputs) < 3:
            return NoMatch("bounds are attributes")
        data, starts, ends = node.inputs[:3]
        if data is None or starts is None or ends is None:
            return NoMatch("bounds are absent")
        if ends.is_constant and starts.is_constant:
            return NoMatch("bounds are constant")
        values = shape_values(rw)
        have, last = values.shape_of(data), values.of(ends)
        given_axes, given_steps = node.input_at(3), node.input_at(4)
        axes = None if given_axes is None else values.of(given_axes)
        steps = None if given_steps is None else values.of(given_steps)
        axis_numbers = axes.numbers if axes is not None else None
        step_numbers = steps.numbers if steps is not None else None
        if last is None or last.rank != 1 or have is None:
            return NoMatch("nothing is known of the ends or of the input")
        if (given_axes is not None and axis_numbers is None) or (given_steps is not None and step_numbers is None):
            return NoMatch("axes or steps are not known")
        if step_numbers is not None and any(step < 1 for step in step_numbers):
            return NoMatch("a step is negative")
        places = axis_numbers if axis_numbers is not None else tuple(range(len(last.elements)))
        entries: list[int] = []
        for axis, end in zip(places, last.elements, strict=False):
            if isinstance(end, int):
                entries.append(end)
            elif end is not None and -len(have) <= axis < len(have) and end == have[axis]:
                entries.append(_END if ends.dtype is not DType.INT32 else (1 << 31) - 1)
            else:
                return NoMatch("end %s is not the size of axis %d", end, axis)
        if ends.is_constant or len(entries) != len(last.elements):
            return NoMatch("the ends are constant")
        rw.set_input(node, 2, _constant(rw, tuple(entries), ends, (len(entries),)))
        return IN_PLACE


@dataclass(frozen=True)
class FoldShapes(RewritePass):
    """Fold computed shapes, slices and expansions, dynamic sizes included. Exact; needs types; idempotent."""

    name: ClassVar[str] = "fold-shapes"
    rules: ClassVar = (
        FoldReshapeTarget(),
        FoldExpandTarget(),
        FoldSliceBounds(),
        FoldKnownIntegers(),
        GatherEachPosition(),
        GatherEachElement(),
    )
