"""Merges constants that are added, or multiplied, one after the other.

``(x ± a) ± b -> x ± (a ± b)`` and ``(x * a) / b -> x * (a / b)``, where the merged constant is no larger than the two. Integers wrap
around, so this is exact for them (Add, Sub and Mul). Floats re-associate; they are left alone where the constants nearly cancel (adding
and subtracting a large number is how some models round) and where a factor is zero, extreme or not a normal number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op

__all__ = ["ALGEBRA_RULES", "RULES", "add_terms", "multiply_factors"]

#: Constants up to this size may be kept beside the merged one when somebody else reads them.
_SMALL_BYTES = 1024
_FACTOR_LIMIT = 2.0**24
#: The sum of two terms must not be smaller than this part of the larger one.
_CANCELLATION = 0.25


def add_terms(a: Array, b: Array, dtype: DType, *, subtract: bool) -> Array | NoMatch:
    """``b + a``, or ``b - a``: wrapped around for integers, rounded once for floats."""
    if dtype.is_integer:
        with np.errstate(over="ignore"):
            return np.asarray(b - a if subtract else b + a)  # type: ignore[operator]  # arrays of one integer type
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    total = wide_b - wide_a if subtract else wide_b + wide_a
    if (np.abs(total) < _CANCELLATION * np.maximum(np.abs(wide_a), np.abs(wide_b))).any():
        return NoMatch("the constants nearly cancel")
    return _narrow(total, dtype)


def multiply_factors(a: Array, b: Array, dtype: DType, *, inverse: tuple[bool, bool]) -> Array | NoMatch:
    """``a * b``, each of them inverted where ``inverse`` says so."""
    if dtype.is_integer:
        with np.errstate(over="ignore"):
            return np.asarray(a * b)  # type: ignore[operator]  # arrays of one integer type
    product = np.ones((), np.float64)
    for factor, inverted in zip((a, b), inverse, strict=True):
        wide = factor.astype(np.float64)
        size = np.abs(wide)
        if not ((size >= 1 / _FACTOR_LIMIT) & (size <= _FACTOR_LIMIT)).all():
            return NoMatch("a factor is zero, extreme or not finite")
        product = np.asarray(product / wide if inverted else product * wide)
    return _narrow(product, dtype)


def _narrow(numbers: Array, dtype: DType) -> Array | NoMatch:
    info = ml_dtypes.finfo(dtype.numpy)  # type: ignore[no-untyped-call]  # ml_dtypes leaves this one without annotations
    sizes = np.abs(numbers.astype(np.float64))
    if not ((sizes == 0) | ((sizes >= float(info.smallest_normal)) & (sizes <= float(info.max)))).all():
        return NoMatch("the merged constant is not a normal %s", dtype)
    return numbers.astype(dtype.numpy)


def _split(node: Node) -> tuple[Value, Value, int] | None:
    """Variable operand, constant operand and the position of the constant."""
    for position in (1, 0):
        constant, x = node.inputs[position], node.inputs[1 - position]
        if constant is not None and x is not None and constant.is_constant and not x.is_constant:
            return x, constant, position
    return None


@dataclass(frozen=True, slots=True)
class Chain:
    """Two nodes, each with one constant operand.

    Attributes:
        nodes: the inner and the outer one.
        x: what the inner one is applied to.
        constants: the constant operand of each.
        positions: at which input of each it stands.
        dtype: element type of both.
    """

    nodes: tuple[Node, Node]
    x: Value
    constants: tuple[Array, Array]
    positions: tuple[int, int]
    dtype: DType


class MergeConstants(RewritePattern):
    """What the two families have in common: two nodes, each with one constant operand."""

    reach: ClassVar[int] = 2
    integers: ClassVar[bool]

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Find both nodes, check types and shapes of the constants, merge."""
        outer = _split(node)
        inner_node = None if outer is None else outer[0].producer
        if outer is None or inner_node is None or inner_node.op not in self.roots:
            return NoMatch("no chain of two operators with constants")
        inner = _split(inner_node)
        if inner is None or not outer[0].has_single_use or inner_node.graph is not node.graph:
            return NoMatch("%r has other users or no constant operand", outer[0].name)
        a, b = inner[1].const, outer[1].const
        if a is None or b is None:
            return NoMatch("a constant has no numbers")
        dtype = a.dtype
        fits = dtype.is_integer if self.integers else dtype in _FLOATS
        if not fits or b.dtype != dtype or (node.opset or 0) < 7:
            return NoMatch("constants are of types %s and %s", dtype, b.dtype)
        if np.broadcast_shapes(a.shape, b.shape) not in (a.shape, b.shape):
            return NoMatch("the merged constant would be larger than %s and %s", a.shape, b.shape)
        if any(
            value.use_count > 1 and value.const is not None and value.const.nbytes > _SMALL_BYTES
            for value in (inner[1], outer[1])
        ):
            return NoMatch("a constant is shared and large")
        return self.merge(Chain((inner_node, node), inner[0], (a.numpy(), b.numpy()), (inner[2], outer[2]), dtype), rw)

    def merge(self, chain: Chain, rw: Rewriter) -> Replacement:
        """The new node, or why not."""
        raise NotImplementedError


class MergeTerms(MergeConstants):
    """(x ± a) ± b -> x ± c."""

    name: ClassVar[str] = "merge-terms"
    roots: ClassVar[tuple[str, ...]] = ("Add", "Sub")
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op[roots](op[roots](any_("x"), const("a")), const("b")),
        op[roots](const("b"), op[roots](const("a"), any_("x"))),
    )
    numerics: ClassVar[Numerics] = Reassociates()
    integers: ClassVar[bool] = False

    def merge(self, chain: Chain, rw: Rewriter) -> Replacement:
        """Both nodes as ``sign * x + term``."""
        terms, signs = list(chain.constants), [1, 1]
        for index, node in enumerate(chain.nodes):
            if node.op == "Sub":
                if chain.positions[index] == 1:
                    terms[index] = np.asarray(np.negative(terms[index]))
                else:
                    signs[index] = -1
        term = add_terms(terms[0], terms[1], chain.dtype, subtract=signs[1] < 0)
        if isinstance(term, NoMatch):
            return term
        return rw.new("Add", chain.x, term) if signs[0] == signs[1] else rw.new("Sub", term, chain.x)


class MergeFactors(MergeConstants):
    """(x * a) * b, (x / a) * b, (x * a) / b, (x / a) / b -> x * c."""

    name: ClassVar[str] = "merge-factors"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    contexts: ClassVar[tuple[Pattern, ...]] = (
        op[roots](op[roots](any_("x"), const("a")), const("b")),
        op[roots](const("b"), op[roots](const("a"), any_("x"))),
    )
    numerics: ClassVar[Numerics] = Reassociates()
    integers: ClassVar[bool] = False

    def merge(self, chain: Chain, rw: Rewriter) -> Replacement:
        """``x`` must be the dividend of each Div."""
        inner, outer = (node.op == "Div" for node in chain.nodes)
        if (inner and chain.positions[0] == 0) or (outer and chain.positions[1] == 0):
            return NoMatch("a constant is divided by x")
        factor = multiply_factors(*chain.constants, chain.dtype, inverse=(inner, outer))
        return factor if isinstance(factor, NoMatch) else rw.new("Mul", chain.x, factor)


class MergeIntegerTerms(MergeTerms):
    """(x ± a) ± b -> x ± c for integers, which wrap around."""

    name: ClassVar[str] = "merge-integer-terms"
    numerics: ClassVar[Numerics] = Exact()
    integers: ClassVar[bool] = True


class MergeIntegerFactors(MergeFactors):
    """(x * a) * b -> x * c for integers, which wrap around."""

    name: ClassVar[str] = "merge-integer-factors"
    roots: ClassVar[tuple[str, ...]] = ("Mul",)
    numerics: ClassVar[Numerics] = Exact()
    integers: ClassVar[bool] = True


_FLOATS = frozenset({DType.FLOAT16, DType.BFLOAT16, DType.FLOAT, DType.DOUBLE})
RULES = (MergeIntegerTerms(), MergeIntegerFactors())
ALGEBRA_RULES = (MergeTerms(), MergeFactors())
