"""Reads means, variances and the quotients that normalizations are made of, in whatever way they are spelled.

Axes are counted from the back, ascending: ``(-1,)`` is the last one. A view gives ``None`` for what it can't read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.expressions import other_operand, producer, scalar, square_of
from graphopt.transforms.operands import ints_operand, normalize_axes

__all__ = ["Centred", "Normalized", "centred", "inverse_root", "mean_of", "normalized", "with_epsilon"]


@dataclass(frozen=True, slots=True)
class Centred:
    """``x`` minus its mean over some axes, or with no axes ``x`` itself."""

    x: Value
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normalized:
    """``numerator / sqrt(mean(numerator^2) + epsilon)``.

    Attributes:
        x: what is normalized: the numerator, or what it is the difference from the mean of.
        axes: over which means are taken.
        epsilon: what is added to the mean of squares.
        is_centred: whether the mean is subtracted.
        is_widened: whether ``x`` is cast to float32 after the mean was subtracted.
    """

    x: Value
    axes: tuple[int, ...]
    epsilon: float
    is_centred: bool
    is_widened: bool = False


def mean_of(value: Value | None) -> Centred | None:
    """What a ReduceMean that keeps its axes takes the mean of."""
    node = producer(value, "ReduceMean")
    x = None if node is None else node.inputs[0]
    if node is None or x is None or node.attr("keepdims", 1) != 1 or node.attr("noop_with_empty_axes") == 1:
        return None
    axes = ints_operand(node, "axes", 1)
    if isinstance(axes, NoMatch):
        return None
    if x.rank is None:
        return Centred(x, tuple(sorted(axes))) if axes and max(axes) < 0 and len(set(axes)) == len(axes) else None
    found = normalize_axes(axes, x.rank) if axes else tuple(range(x.rank))
    return (
        None if isinstance(found, NoMatch) or not found else Centred(x, tuple(sorted(axis - x.rank for axis in found)))
    )


def centred(value: Value | None) -> Centred | None:
    """``x - mean(x)``."""
    node = producer(value, "Sub")
    mean = None if node is None else mean_of(node.inputs[1])
    return mean if mean is not None and node is not None and node.inputs[0] is mean.x else None


def with_epsilon(value: Value | None) -> Iterator[tuple[Value, float]]:
    """A value as another one plus a number that is not negative."""
    if value is None:
        return
    node = producer(value, "Add")
    for one in () if node is None else node.inputs:
        number = scalar(one)
        other = None if node is None or one is None else other_operand(node, one)
        if number is not None and number >= 0 and other is not None:
            yield other, number
    yield value, 0.0


def _root(value: Value | None) -> Value | None:
    """``u`` of ``sqrt(u)``, as Sqrt or Pow."""
    node = producer(value, "Sqrt", "Pow")
    if node is None:
        return None
    return node.inputs[0] if node.op == "Sqrt" or scalar(node.inputs[1]) == 0.5 else None


def _inverse(value: Value | None) -> Value | None:
    """``u`` of ``1 / u``, as Reciprocal, Div or Pow."""
    node = producer(value, "Reciprocal", "Div", "Pow")
    if node is None:
        return None
    if node.op == "Reciprocal":
        return node.inputs[0]
    if node.op == "Div":
        return node.inputs[1] if scalar(node.inputs[0]) == 1 else None
    return node.inputs[0] if scalar(node.inputs[1]) == -1 else None


def inverse_root(value: Value | None) -> Value | None:
    """``u`` of ``1 / sqrt(u)``, the two in either order, or as Pow."""
    node = producer(value, "Pow")
    if node is not None and scalar(node.inputs[1]) == -0.5:
        return node.inputs[0]
    return _root(_inverse(value)) or _inverse(_root(value))


def _quotients(node: Node) -> Iterator[tuple[Value, Value]]:
    """``(a, u)`` with the node ``a / sqrt(u)``."""
    a, b = node.inputs[0], node.inputs[1]
    if a is None or b is None:
        return
    if node.op == "Div":
        inside = _root(b)
        if inside is not None:
            yield a, inside
    elif node.op == "Mul":
        for one, other in ((a, b), (b, a)):
            inside = inverse_root(other)
            if inside is not None:
                yield one, inside


def normalized(node: Node) -> Iterator[Normalized]:
    """The ways to read a Div or Mul as a normalization, that with the mean subtracted first."""
    for numerator, inside in _quotients(node):
        for square, epsilon in with_epsilon(inside):
            mean = mean_of(square)
            of = None if mean is None else square_of(mean.x)
            if mean is None or of is None:
                continue
            for one, is_widened in _centred_or_widened(numerator):
                same = of is numerator or _same(centred(of), one)
                if same and one.axes == mean.axes:
                    yield Normalized(one.x, mean.axes, epsilon, is_centred=True, is_widened=is_widened)
            if of is numerator:
                yield Normalized(numerator, mean.axes, epsilon, is_centred=False)


def _centred_or_widened(value: Value) -> Iterator[tuple[Centred, bool]]:
    """A difference from the mean, cast to float32 or not."""
    found = centred(value)
    if found is not None:
        yield found, False
        return
    cast = producer(value, "Cast")
    found = None if cast is None or value.dtype is not DType.FLOAT else centred(cast.inputs[0])
    if found is not None:
        yield found, True


def _same(one: Centred | None, other: Centred) -> bool:
    return one is not None and one.x is other.x and one.axes == other.axes
