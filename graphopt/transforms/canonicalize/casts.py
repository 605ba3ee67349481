"""Removes and merges Cast nodes that lose nothing.

``Cast[T](x: T) -> x``; ``Cast[C](Cast[B](x: A)) -> Cast[C](x)`` where B holds every number of A, so that the inner cast changes no
number, and where going from B to C means the same as going from A to C: never float to integer through another float type (out of range
it is not defined), never text. ``CastLike(x, y: T) -> Cast[T](x)``. Exact. Source: https://onnx.ai/onnx/operators/onnx__Cast.html
"""

from __future__ import annotations

from functools import lru_cache

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, any_, op, rewrite

__all__ = ["RULES", "holds", "is_one_cast"]

#: Stored bits of the mantissa, exponents of the smallest normal and of the largest number (IEEE 754-2019, table 3.5).
_FLOAT_FORMATS = {
    DType.FLOAT16: (10, -14, 15),
    DType.BFLOAT16: (7, -126, 127),
    DType.FLOAT: (23, -126, 127),
    DType.DOUBLE: (52, -1022, 1023),
}
_STANDARD_FLOATS = frozenset(_FLOAT_FORMATS)
#: How schemas spell tensors of the element types that operators of a single one give.
_TENSORS = {f"tensor({dtype.name.lower()})": dtype for dtype in (DType.FLOAT, DType.DOUBLE, DType.INT64, DType.BOOL)}


@lru_cache(maxsize=1024)
def holds(narrow: DType, wide: DType) -> bool:
    """Whether each number of one element type is a number of the other.

    Example:
        >>> holds(DType.FLOAT16, DType.FLOAT), holds(DType.INT32, DType.FLOAT), holds(DType.UINT8, DType.BFLOAT16)
        (True, False, True)
    """
    if narrow == wide:
        return True
    if narrow is DType.BOOL:
        return wide.is_integer or wide in _STANDARD_FLOATS
    if narrow.is_integer:
        low, high = _integer_range(narrow)
        if wide.is_integer:
            wide_low, wide_high = _integer_range(wide)
            return wide_low <= low and high <= wide_high
        return wide in _STANDARD_FLOATS and high <= 2 ** (_FLOAT_FORMATS[wide][0] + 1)
    if narrow.is_float and wide in _STANDARD_FLOATS:
        if narrow not in _STANDARD_FLOATS:
            return (
                wide in (DType.FLOAT, DType.DOUBLE)
                and narrow.name.startswith("FLOAT8E")
                and narrow is not DType.FLOAT8E8M0
            )
        (digits, least, most), (wide_digits, wide_least, wide_most) = _FLOAT_FORMATS[narrow], _FLOAT_FORMATS[wide]
        return digits <= wide_digits and wide_least <= least and most <= wide_most
    return False


def _integer_range(dtype: DType) -> tuple[int, int]:
    half = 1 << (dtype.bits - 1)
    return (-half, half - 1) if dtype.is_signed else (0, 2 * half - 1)


def _dtype_of(value: Value) -> DType | None:
    """The element type, also where only the schema of the producer says it: nobody infers types for operators such as Scaler."""
    if value.type is not None or value.producer is None:
        return value.dtype
    schema = value.producer.schema
    formal = None if schema is None or value.index >= len(schema.outputs) else schema.outputs[value.index]
    if formal is None or len(formal.types) != 1:
        return None
    return _TENSORS.get(next(iter(formal.types)))


def _target(node: Node) -> DType | None:
    stated = node.attributes.get("to")
    value = None if stated is None else stated.value
    return DType(value) if isinstance(value, int) and value in DType.__members__.values() else None


def _goes_on(source: DType, middle: DType, target: DType) -> bool:
    """Whether casting to ``target`` gives the same from ``source`` as from ``middle``, for the numbers of ``source``."""
    if target == source:
        return True
    if source.is_float:
        return source in _STANDARD_FLOATS and target in _STANDARD_FLOATS
    if target is DType.BOOL or target in _STANDARD_FLOATS:
        return True
    # integers wrap around, but only from integers; from a float the number must fit
    return target.is_integer and target.bits >= 8 and (middle.is_integer or holds(source, target))


def is_one_cast(x: Value | None, inner: Node, outer: Node) -> DType | NoMatch:
    """The type that two casts give, if one cast of ``x`` gives the same numbers."""
    source, middle, target = None if x is None else _dtype_of(x), _target(inner), _target(outer)
    if source is None or middle is None or target is None:
        return NoMatch("a type is not known")
    if not holds(source, middle) or not _goes_on(source, middle, target):
        return NoMatch("%s to %s to %s is more than one cast", source, middle, target)
    return target


@rewrite(op.Cast(any_("x")))
def eliminate_cast(m: Match, rw: Rewriter) -> Replacement:
    """Cast[T](x: T) -> x."""
    target, found = _target(m.root), _dtype_of(m["x"])
    if target is None or found != target:
        return NoMatch("casts from %s to %s", found, target)
    return m["x"]


@rewrite(op.Cast(op.Cast(any_("x"), name="inner", shared=True)))
def merge_casts(m: Match, rw: Rewriter) -> Replacement:
    """Cast[C](Cast[B](x: A)) -> Cast[C](x), or x where C is A."""
    target = is_one_cast(m["x"], m.node("inner"), m.root)
    if isinstance(target, NoMatch):
        return target
    if _dtype_of(m["x"]) == target:
        return m["x"]
    return rw.new_node("Cast", [m["x"]], attributes=dict(m.root.attributes)).output


@rewrite(op.CastLike(any_("x"), any_("like")))
def resolve_cast_like(m: Match, rw: Rewriter) -> Replacement:
    """CastLike(x, y: T) -> Cast[T](x), so that nothing computes y for its type alone."""
    target = m["like"].dtype
    if target is None:
        return NoMatch("the type of %r is not known", m["like"].name)
    if m["x"].dtype == target:
        return m["x"]
    return rw.new_node("Cast", [m["x"]], attributes={"to": int(target), **m.root.attributes}).output


RULES = (eliminate_cast, merge_casts, resolve_cast_like)
