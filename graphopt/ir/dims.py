"""Symbolic dimensions: integer polynomials over named sizes, canonical, hashable and immutable.

A dimension is an ``int``, a :class:`SymbolicDim` (a size known by an expression) or ``None`` (nothing known). Arithmetic keeps a
canonical form, so two expressions that are equal as polynomials compare equal: ``(h - 1) * 2 + 2 == h * 2``. Floor division, minimum
and maximum that do not simplify become atoms of their own. Exact over the integers of any size; names stand for sizes, which are never
negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Union

__all__ = [
    "Dim",
    "SymbolicDim",
    "dim_max",
    "dim_min",
    "dim_product",
    "dim_quotient",
    "fresh_dim",
    "is_nonnegative",
    "lower_bound",
    "symbol_of_axis",
    "upper_bound",
]

#: How names begin that inference made up. No size of a file has such a name: reading takes it as no name.
GENERATED_PREFIX = "?"
#: Numbers of made-up names; one count for all models, so that no two sizes ever share a name.
_numbers = itertools.count()

Dim = Union[int, "SymbolicDim", None]
#: What arithmetic takes and gives: a number or an expression, never unknown.
KnownDim = Union[int, "SymbolicDim"]
Atom = str | tuple[str, KnownDim, KnownDim]
Monomial = tuple[Atom, ...]


class _Bounded(str):
    """The name of a size that a caller promises to be in a range; equal to the plain name, which it may stand for anywhere.

    Attributes:
        low: smallest size.
        high: largest size, ``None`` for none.
    """

    low: int
    high: int | None

    def __new__(cls, name: str, low: int, high: int | None) -> _Bounded:
        self = super().__new__(cls, name)
        self.low, self.high = low, high
        return self

    def __reduce__(self) -> tuple[type[_Bounded], tuple[str, int, int | None]]:
        return _Bounded, (str(self), self.low, self.high)


def _rank_of_atom(atom: Atom) -> tuple[object, ...]:
    """A total order of atoms, whatever names the symbols have."""
    if isinstance(atom, str):
        return 0, atom
    return 1, atom[0], _rank_of_dim(atom[1]), _rank_of_dim(atom[2])


def _rank_of_dim(dim: KnownDim) -> tuple[object, ...]:
    if isinstance(dim, SymbolicDim):
        return 1, tuple((_rank_of_monomial(mono), coef) for mono, coef in dim._terms)
    return 0, dim


def _rank_of_monomial(mono: Monomial) -> tuple[object, ...]:
    return -len(mono), tuple(map(_rank_of_atom, mono))


class SymbolicDim:
    """An integer expression over named dimensions.

    Args:
        name: the name of a dimension, such as ``"batch"``. Taken as one symbol, whatever characters it has.
        low: the smallest size that it may have.
        high: the largest one, ``None`` for none. Bounds are a promise about the name: dimensions of one name are equal with and without.

    Example:
        >>> h = SymbolicDim("h")
        >>> (h - 1) * 2 + 2 == h * 2
        True
        >>> str((h - 1) // 2 + 1)
        '(h+1)//2'
        >>> dim_min(SymbolicDim("seq", 1, 512), 512)
        SymbolicDim('seq')
    """

    __slots__ = ("_generated", "_hash", "_terms", "_text")

    _terms: tuple[tuple[Monomial, int], ...]

    def __init__(self, name: str, low: int = 0, high: int | None = None) -> None:
        atom = name if low <= 0 and high is None else _Bounded(name, low, high)
        self._terms = (((atom,), 1),)
        self._hash = hash(self._terms)
        self._text: str | None = name
        self._generated: bool | None = name.startswith(GENERATED_PREFIX)

    @classmethod
    def _from_terms(cls, terms: Mapping[Monomial, int]) -> KnownDim:
        kept = {mono: coef for mono, coef in terms.items() if coef}
        if not kept:
            return 0
        if len(kept) == 1 and () in kept:
            return kept[()]
        self = object.__new__(cls)
        number = kept.pop((), 0)  # the shortest product, which comes last
        if len(kept) > 1:
            found = sorted(kept.items(), key=lambda item: _rank_of_monomial(item[0]))
            self._terms = (*found, ((), number)) if number else tuple(found)
        else:
            self._terms = (*kept.items(), ((), number)) if number else tuple(kept.items())
        self._hash = hash(self._terms)
        self._text = None
        self._generated = None
        return self

    @property
    def name(self) -> str | None:
        """The name, when this is one plain symbol, else ``None``."""
        if len(self._terms) == 1:
            mono, coef = self._terms[0]
            if coef == 1 and len(mono) == 1 and isinstance(mono[0], str):
                return str.__str__(mono[0])
        return None

    @property
    def is_generated(self) -> bool:
        """Whether this depends on a symbol that inference made up for a size that it can't name (:func:`fresh_dim`)."""
        if self._generated is None:
            self._generated = any(name.startswith(GENERATED_PREFIX) for name in self.symbols())
        return self._generated

    @property
    def terms(self) -> tuple[tuple[Monomial, int], ...]:
        """The polynomial: factors and coefficient of each term, in canonical order."""
        return self._terms

    def _only_atom(self) -> tuple[str, KnownDim, KnownDim] | None:
        """The division, minimum or maximum that this is, ``None`` for anything else."""
        if len(self._terms) == 1:
            mono, coef = self._terms[0]
            if coef == 1 and len(mono) == 1 and not isinstance(mono[0], str):
                return mono[0]
        return None

    def symbols(self) -> frozenset[str]:
        """Names of all dimensions that the expression depends on."""
        found: set[str] = set()
        todo: list[Atom] = [atom for mono, _ in self._terms for atom in mono]
        while todo:
            atom = todo.pop()
            if isinstance(atom, str):
                found.add(atom)
                continue
            for side in atom[1:]:
                if isinstance(side, SymbolicDim):
                    todo.extend(inner for mono, _ in side._terms for inner in mono)
        return frozenset(found)

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """Value of the expression for given sizes of its symbols.

        Raises:
            KeyError: if a symbol has no size.
        """
        total = 0
        for mono, coef in self._terms:
            product = coef
            for atom in mono:
                product *= _evaluate_atom(atom, sizes)
            total += product
        return total

    def __add__(self, other: KnownDim) -> KnownDim:
        terms = dict(self._terms)
        for mono, coef in _terms_of(other):
            terms[mono] = terms.get(mono, 0) + coef
        return SymbolicDim._from_terms(terms)

    __radd__ = __add__

    def __neg__(self) -> KnownDim:
        return SymbolicDim._from_terms({mono: -coef for mono, coef in self._terms})

    def __sub__(self, other: KnownDim) -> KnownDim:
        return self + (-other)

    def __rsub__(self, other: KnownDim) -> KnownDim:
        return (-self) + other

    def __mul__(self, other: KnownDim) -> KnownDim:
        terms: dict[Monomial, int] = {}
        for left, a in self._terms:
            for right, b in _terms_of(other):
                mono = tuple(sorted(left + right, key=_rank_of_atom)) if left and right else left or right
                terms[mono] = terms.get(mono, 0) + a * b
        return SymbolicDim._from_terms(terms)

    __rmul__ = __mul__

    def __floordiv__(self, other: KnownDim) -> KnownDim:
        return _floor_divide(self, other)

    def __rfloordiv__(self, other: KnownDim) -> KnownDim:
        return _floor_divide(other, self)

    def __mod__(self, other: KnownDim) -> KnownDim:
        return self - (self // other) * other

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SymbolicDim) and self._terms == other._terms)

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if self._text is None:
            self._text = self.format(str)
        return self._text

    def format(self, symbol: Callable[[str], str]) -> str:
        """The expression as text that means the same in Python.

        Args:
            symbol: how to spell the name of a dimension; must give something that binds as tightly as a name.
        """
        return _text_of_terms(self._terms, symbol)

    def __repr__(self) -> str:
        return f"SymbolicDim({str(self)!r})"


def _terms_of(dim: KnownDim) -> Iterable[tuple[Monomial, int]]:
    return dim._terms if isinstance(dim, SymbolicDim) else (((), int(dim)),)


def _text_of_dim(dim: KnownDim, symbol: Callable[[str], str]) -> str:
    return _text_of_terms(dim._terms, symbol) if isinstance(dim, SymbolicDim) else str(dim)


def _text_of_atom(atom: Atom, symbol: Callable[[str], str]) -> str:
    if isinstance(atom, str):
        return symbol(atom)
    op, left, right = atom
    a, b = _text_of_dim(left, symbol), _text_of_dim(right, symbol)
    if op == "//":
        return f"({a})//{b}" if isinstance(right, int) and right > 0 else f"({a})//({b})"
    return f"{op}({a}, {b})"


def _text_of_terms(terms: Iterable[tuple[Monomial, int]], symbol: Callable[[str], str]) -> str:
    parts: list[str] = []
    for mono, coef in terms:
        factors: list[str] = []
        for atom in mono:
            text = _text_of_atom(atom, symbol)
            # A division binds to all factors on its left, and weaker than a leading sign.
            alone = not factors and (coef > 0 or parts)
            factors.append(text if alone or isinstance(atom, str) or atom[0] != "//" else f"({text})")
        if abs(coef) != 1 or not factors:
            factors.append(str(abs(coef)))
        sign = "-" if coef < 0 else "+" if parts else ""
        parts.append(sign + "*".join(factors))
    return "".join(parts)


def _evaluate_atom(atom: Atom, sizes: Mapping[str, int]) -> int:
    if isinstance(atom, str):
        return sizes[atom]
    op, left, right = atom
    a = left.evaluate(sizes) if isinstance(left, SymbolicDim) else left
    b = right.evaluate(sizes) if isinstance(right, SymbolicDim) else right
    return a // b if op == "//" else min(a, b) if op == "min" else max(a, b)


def _floor_divide(a: KnownDim, b: KnownDim) -> KnownDim:
    if not isinstance(b, SymbolicDim):
        b = int(b)  # numpy integers too
        if b == 0:
            raise ZeroDivisionError(f"symbolic dimension {a} divided by zero")
        if isinstance(a, int):
            return a // b
        most = upper_bound(a) if b > 0 else None
        if most is not None and most < b and is_nonnegative(a):
            return 0
        return _divide_terms(a, b)
    if a == 0:
        return 0
    return SymbolicDim._from_terms({(("//", a, b),): 1})


def _divide_terms(a: SymbolicDim, b: int) -> KnownDim:
    """The terms that a number divides leave the division, ``(4*h + 3) // 2 == 2*h + 1``, and what all share is cancelled."""
    outside: dict[Monomial, int] = {}
    inside: dict[Monomial, int] = {}
    for mono, coef in a._terms:
        if coef % b == 0:
            outside[mono] = coef // b
        elif mono:
            inside[mono] = coef
        else:
            outside[mono], inside[mono] = divmod(coef, b)
    common = math.gcd(b, *(coef for mono, coef in inside.items() if mono))
    if b > 0 and common > 1:  # what they share leaves no rest that could reach the next number
        inside, b = {mono: coef // common for mono, coef in inside.items()}, b // common
    shift = inside.pop((), 0)
    rest = SymbolicDim._from_terms(inside)
    if isinstance(rest, SymbolicDim):
        nested = rest._only_atom()
        if nested is not None and nested[0] == "//" and b > 0 and isinstance(nested[2], int) and nested[2] > 0:
            # (n // d + s) // b == (n + d * s) // (d * b): strides of one layer after the other
            atom = _floor_divide(nested[1] + nested[2] * shift, nested[2] * b)
        else:
            atom = SymbolicDim._from_terms({(("//", rest + shift, b),): 1})
    else:
        atom = (rest + shift) // b
    return atom + SymbolicDim._from_terms(outside)


def _extreme(op: str, a: KnownDim, b: KnownDim) -> KnownDim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if op == "min" else max(a, b)
    difference = a - b
    if is_nonnegative(difference):
        return b if op == "min" else a
    if is_nonnegative(-difference):
        return a if op == "min" else b
    for one, other in ((a, b), (b, a)):
        nested = one._only_atom() if isinstance(one, SymbolicDim) else None
        if nested is not None and nested[0] == op:
            if other in nested[1:]:
                return one
            numbers = [side for side in (*nested[1:], other) if isinstance(side, int)]
            if len(numbers) > 1:
                kept = nested[2] if isinstance(nested[1], int) else nested[1]
                return _extreme(op, min(numbers) if op == "min" else max(numbers), kept)
    left, right = sorted((a, b), key=_rank_of_dim)
    return SymbolicDim._from_terms({((op, left, right),): 1})


def fresh_dim() -> SymbolicDim:
    """A size that nothing is known of, equal to no other; the name means nothing and is never written to a file."""
    return SymbolicDim(f"{GENERATED_PREFIX}{next(_numbers)}")


def symbol_of_axis(name: str, axis: int, low: int = 0, high: int | None = None) -> SymbolicDim:
    """The size of an axis of an input of the model, which has no name: the same each time, since the caller gives it.

    Args:
        name: the input.
        axis: its axis.
        low: the smallest size.
        high: the largest one, ``None`` for none.
    """
    return SymbolicDim(f"{GENERATED_PREFIX}{name}#{axis}", low, high)


def is_nonnegative(dim: Dim) -> bool:
    """Whether an expression can't be negative: sizes are not, nor are sums and products of them."""
    bound = lower_bound(dim)
    return bound is not None and bound >= 0


def lower_bound(dim: Dim, positive: Container[str] = ()) -> int | None:
    """A number that an expression is never smaller than, ``None`` when no such number is seen.

    Args:
        dim: an expression over sizes.
        positive: names of sizes that are never zero.
    """
    return _least(dim, 1, positive) if isinstance(dim, SymbolicDim) else dim


def upper_bound(dim: Dim) -> int | None:
    """A number that an expression is never larger than, ``None`` when no such number is seen.

    Args:
        dim: an expression over sizes.

    Example:
        >>> upper_bound(SymbolicDim("seq", 1, 512) * 2 + 1), upper_bound(SymbolicDim("seq"))
        (1025, None)
    """
    if not isinstance(dim, SymbolicDim):
        return dim
    below = _least(dim, -1, ())
    return None if below is None else -below


def _least(dim: SymbolicDim, sign: int, positive: Container[str]) -> int | None:
    """A number that an expression, or its opposite, is never smaller than."""
    total = 0
    for mono, coef in dim._terms:
        factor = sign * coef
        bound = _bound_of_monomial(mono, positive, is_upper=factor < 0)
        if bound is None:
            return None
        total += factor * bound
    return total


def _bound_of_monomial(mono: Monomial, positive: Container[str], *, is_upper: bool) -> int | None:
    """A bound of a product, which is only seen where no factor of several may be negative."""
    product = 1
    for atom in mono:
        bound = _upper_bound_of_atom(atom) if is_upper else _bound_of_atom(atom, positive)
        if bound is None:
            return None
        if len(mono) > 1:
            low = _bound_of_atom(atom, positive) if is_upper else bound
            if low is None or low < 0:
                return None
        product *= bound
    return product


def _bound_of_atom(atom: Atom, positive: Container[str]) -> int | None:
    if isinstance(atom, str):
        return max(int(atom in positive), atom.low if isinstance(atom, _Bounded) else 0)
    op, left, right = atom
    a = lower_bound(left, positive)
    if op == "//":
        if isinstance(right, int):
            return None if a is None or right < 0 else a // right
        return 0 if a is not None and a >= 0 and is_nonnegative(right) else None
    b = lower_bound(right, positive)
    if op == "min":
        return None if a is None or b is None else min(a, b)
    return b if a is None else a if b is None else max(a, b)


def _upper_bound_of_atom(atom: Atom) -> int | None:
    if isinstance(atom, str):
        return atom.high if isinstance(atom, _Bounded) else None
    op, left, right = atom
    a = upper_bound(left)
    if op == "//":
        return None if a is None or not isinstance(right, int) or right < 0 else a // right
    b = upper_bound(right)
    if op == "max":
        return None if a is None or b is None else max(a, b)
    return b if a is None else a if b is None else min(a, b)


def dim_min(a: KnownDim, b: KnownDim) -> KnownDim:
    """The smaller of two sizes, as a number when that is certain."""
    return _extreme("min", a, b)


def dim_max(a: KnownDim, b: KnownDim) -> KnownDim:
    """The larger of two sizes, as a number when that is certain."""
    return _extreme("max", a, b)


def dim_product(dims: Iterable[Dim]) -> Dim:
    """Product of sizes, ``None`` as soon as one is unknown (and none of them is the number 0)."""
    total: Dim = 1
    for dim in dims:
        if dim == 0:
            return 0
        total = None if dim is None or total is None else total * dim
    return total


def dim_quotient(a: KnownDim, b: KnownDim) -> KnownDim | None:
    """The expression that gives ``a`` when multiplied by ``b``, ``None`` when there is none or ``b`` is the number 0.

    Example:
        >>> n = SymbolicDim("n")
        >>> print(dim_quotient(n * 12 + 12, n + 1))
        12
    """
    divisor = list(_terms_of(b))
    if b == 0:
        return None
    # Terms stand in an order that multiplication keeps (by degree, then by atoms), so the first terms divide each other.
    lead, lead_coef = min(divisor, key=lambda item: _rank_of_monomial(item[0]))
    rest: KnownDim = a
    found: KnownDim = 0
    for _ in range(64):
        if rest == 0:
            return found
        mono, coef = min(_terms_of(rest), key=lambda item: _rank_of_monomial(item[0]))
        factor = _without(mono, lead)
        if factor is None or coef % lead_coef:
            return None
        step = SymbolicDim._from_terms({factor: coef // lead_coef})
        found, rest = found + step, rest - step * b
    return None


def _without(mono: Monomial, factors: Monomial) -> Monomial | None:
    left = list(mono)
    for atom in factors:
        if atom not in left:
            return None
        left.remove(atom)
    return tuple(left)
