"""What an axis is made of: classes of indices, products of them and sums of them, and what it means that two axes are the same.

A *leaf* is a class of indices ``0..size-1`` that no operator has taken apart; removing index ``i`` of a leaf removes it wherever the
leaf stands. A *product* is a flattened axis (heads times head size), the first factor slowest; a *sum* is a joined one (Concat). To say
that two axes are the same takes leaves apart as far as both sides need it: a leaf of 12 that is a sum of 4 and 8 on one side and a
product of 4 and 3 on the other becomes ``4*(1+2)``... where such a form exists, and is frozen where none does. So nothing is ever kept
per index: a class costs the same whatever its size. Which leaves are one is kept by networkx' disjoint sets.

Source: unification, J. A. Robinson, A Machine-Oriented Logic Based on the Resolution Principle, 1965; for what is to be removed together,
Fang et al., DepGraph: Towards Any Structural Pruning, 2023, section 3.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from networkx.utils import UnionFind

from graphopt.ir import Dim, dim_product
from graphopt.ir.dims import dim_quotient

__all__ = ["ONE", "Extent", "Extents", "Leaf", "Product", "Sum", "product_of", "sum_of"]


class Leaf:
    """A class of indices; compared by identity, and only through :class:`Extents`, which knows what it has become.

    Attributes:
        size: how many there are.
    """

    __slots__ = ("size",)

    def __init__(self, size: Dim) -> None:
        self.size = size

    def __repr__(self) -> str:
        return f"Leaf({self.size})"


class Product:
    """A flattened axis: the first factor is the slowest. Without factors it is an axis of size 1."""

    __slots__ = ("factors", "size")

    size: Dim

    def __init__(self, factors: tuple[Extent, ...]) -> None:
        self.factors = factors
        self.size = dim_product([factor.size for factor in factors])

    def __repr__(self) -> str:
        return f"({' * '.join(map(repr, self.factors))})"


class Sum:
    """A joined axis. Without parts it is empty."""

    __slots__ = ("parts", "size")

    size: Dim

    def __init__(self, parts: tuple[Extent, ...]) -> None:
        self.parts = parts
        total: Dim = 0
        for part in parts:
            total = None if total is None or part.size is None else total + part.size
        self.size = total

    def __repr__(self) -> str:
        return f"({' + '.join(map(repr, self.parts))})"


Extent = Leaf | Product | Sum

#: The axis of size 1, of which nothing can be removed.
ONE = Product(())


def product_of(*factors: Extent) -> Extent:
    """The product without factors of size 1, and of products their factors."""
    flat = (inner for factor in factors for inner in (factor.factors if isinstance(factor, Product) else (factor,)))
    kept = tuple(factor for factor in flat if factor.size != 1)
    if not kept:
        return ONE
    return kept[0] if len(kept) == 1 else Product(kept)


def sum_of(*parts: Extent) -> Extent:
    """The sum without empty parts, and of sums their parts."""
    flat = (inner for part in parts for inner in (part.parts if isinstance(part, Sum) else (part,)))
    kept = tuple(part for part in flat if part.size != 0)
    return kept[0] if len(kept) == 1 else Sum(kept)


class Extents:
    """What is known of all leaves: which are one, what they were taken apart into, why they are frozen."""

    __slots__ = ("_forms", "_reasons", "_sets")

    def __init__(self) -> None:
        self._sets = UnionFind()
        self._forms: dict[Leaf, Extent] = {}
        self._reasons: dict[Leaf, dict[str, str]] = {}

    def leaf(self, size: Dim) -> Extent:
        """A new class of indices."""
        return ONE if size == 1 else Leaf(size)

    def resolve(self, extent: Extent) -> Extent:
        """What an extent is now: a leaf that stands for all that are one with it, a product or a sum."""
        if type(extent) is not Leaf:
            return extent
        root: Leaf = self._sets[extent]
        return self._forms.get(root, root)

    def factors(self, extent: Extent) -> list[Extent]:
        """The factors of an extent, none of which is a product."""
        found = self.resolve(extent)
        if not isinstance(found, Product):
            return [found]
        return [inner for factor in found.factors for inner in self.factors(factor) if inner.size != 1]

    def parts(self, extent: Extent) -> list[Extent]:
        """The parts of an extent, none of which is a sum."""
        found = self.resolve(extent)
        if not isinstance(found, Sum):
            return [found]
        return [inner for part in found.parts for inner in self.parts(part) if inner.size != 0]

    def leaves(self, extent: Extent) -> Iterator[Leaf]:
        """The leaves in an extent, as often as they stand in it."""
        found = self.resolve(extent)
        if isinstance(found, Leaf):
            yield found
        else:
            for inner in found.factors if isinstance(found, Product) else found.parts:
                yield from self.leaves(inner)

    def freeze(self, extent: Extent, why: str, where: str) -> None:
        """Nothing of an extent may be removed.

        Args:
            extent: what is frozen.
            why: the reason, the same words for all nodes.
            where: the node or tensor.
        """
        for leaf in self.leaves(extent):
            self._reasons.setdefault(leaf, {}).setdefault(why, where)

    def reasons(self, extent: Extent) -> dict[str, str]:
        """Why something of an extent is frozen, and where each reason was met first; empty if nothing is."""
        found: dict[str, str] = {}
        for leaf in self.leaves(extent):
            for why, where in self._reasons.get(leaf, {}).items():
                found.setdefault(why, where)
        return found

    # -- the same axis ------------------------------------------------------------------------------------------------------

    def unify(self, one: Extent, other: Extent, where: str) -> None:
        """Two axes have the same indices. What can't be brought to one form is frozen."""
        one, other = self.resolve(one), self.resolve(other)
        if one is other:
            return
        if one.size != other.size or one.size is None or one.size == 0:
            self._give_up([one, other], "its size differs from that of an axis it should equal", where)
        elif isinstance(one, Leaf) and isinstance(other, Leaf):
            self._join(one, other)
        elif isinstance(one, Leaf):
            self._set_form(one, other, where)
        elif isinstance(other, Leaf):
            self._set_form(other, one, where)
        elif isinstance(one, Product) or isinstance(other, Product):
            self.match_products([one], [other], where)
        else:
            self._match_sums(one, other, where)

    def match_products(self, ones: Iterable[Extent], others: Iterable[Extent], where: str) -> None:
        """Two lists of axes hold the same elements in row-major order, as before and after a Reshape."""
        left, right = deque(self._all_factors(ones)), deque(self._all_factors(others))
        while left and right:
            one, other = self.resolve(left[0]), self.resolve(right[0])
            if isinstance(one, Product) or isinstance(other, Product):  # it was taken apart meanwhile
                _put_back(left, self.factors(one))
                _put_back(right, self.factors(other))
                continue
            if one is other or (one.size == other.size and one.size is not None):
                self.unify(one, other, where)
                left.popleft()
                right.popleft()
                continue
            outer = _common(one.size, other.size)
            heads = (
                (None, None) if outer is None else (self._split(one, outer, where), self._split(other, outer, where))
            )
            if heads[0] is None or heads[1] is None:
                break
            self.unify(heads[0][0], heads[1][0], where)
            _put_back(left, self.factors(heads[0][1]))
            _put_back(right, self.factors(heads[1][1]))
        self._give_up([*left, *right], "a Reshape takes it apart in a way that can't be followed", where)

    def _all_factors(self, extents: Iterable[Extent]) -> list[Extent]:
        return [factor for extent in extents for factor in self.factors(extent) if factor.size != 1]

    def _match_sums(self, one: Extent, other: Extent, where: str) -> None:
        left, right = deque(self.parts(one)), deque(self.parts(other))
        while left and right:
            a, b = self.resolve(left[0]), self.resolve(right[0])
            if isinstance(a, Sum) or isinstance(b, Sum):  # it was taken apart meanwhile
                _put_back(left, self.parts(a))
                _put_back(right, self.parts(b))
                continue
            if a is not b and a.size != b.size:
                if not isinstance(a.size, int) or not isinstance(b.size, int):
                    break
                size = min(a.size, b.size)
                first, second = self._cut(a, size), self._cut(b, size)
                if first is None or second is None:
                    break
                a, b = first[0], second[0]
                _put_back(left, [a, *self.parts(first[1])])
                _put_back(right, [b, *self.parts(second[1])])
            self.unify(a, b, where)
            left.popleft()
            right.popleft()
        self._give_up([*left, *right], "it is joined and taken apart at different places", where)

    # -- taking apart -------------------------------------------------------------------------------------------------------

    def _split(self, extent: Extent, outer: Dim, where: str) -> tuple[Extent, Extent] | None:
        """The slow and the fast part of a leaf or a sum, or ``None``."""
        extent = self.resolve(extent)
        if extent.size == outer:
            return extent, ONE
        inner = None if outer is None or extent.size is None else dim_quotient(extent.size, outer)
        if inner is None:
            return None
        if isinstance(extent, Leaf):
            slow, fast = self.leaf(outer), self.leaf(inner)
            self._set_form(extent, product_of(slow, fast), where)
            return slow, fast
        if isinstance(extent, Product):
            return self._split_product(extent, outer, where)
        heads: list[Extent] = []
        tail: Extent | None = None
        for part in self.parts(extent):
            count = None if part.size is None else dim_quotient(part.size, inner)
            pair = None if count is None else (ONE, part) if count == 1 else self._split(part, count, where)
            if pair is None:
                return None
            heads.append(pair[0])
            if tail is not None:
                self.unify(tail, pair[1], where)
            tail = pair[1]
        return None if tail is None else (sum_of(*heads), tail)

    def _split_product(self, extent: Product, outer: Dim, where: str) -> tuple[Extent, Extent] | None:
        slow: list[Extent] = []
        rest = self.factors(extent)
        left: Dim = outer
        while rest and left != 1 and left is not None:
            first = rest.pop(0)
            if first.size is not None and dim_quotient(left, first.size) is not None:
                left = dim_quotient(left, first.size)
                slow.append(first)
                continue
            pair = self._split(first, left, where)
            if pair is None:
                return None
            slow.append(pair[0])
            rest.insert(0, pair[1])
            left = 1
        return product_of(*slow), product_of(*rest)

    def _cut(self, extent: Extent, size: int) -> tuple[Extent, Extent] | None:
        """The first ``size`` indices of a leaf or a product, and the others; ``None`` where a factor lies across."""
        extent = self.resolve(extent)
        whole = extent.size
        if not isinstance(whole, int):
            return None
        if size == whole:
            return extent, Sum(())
        if isinstance(extent, Leaf):
            first, second = self.leaf(size), self.leaf(whole - size)
            self._set_form(extent, Sum((first, second)), "")
            return first, second
        if isinstance(extent, Sum):
            return self._cut_sum(extent, size)
        slow, *fast = self.factors(extent)
        inner = product_of(*fast)
        if not isinstance(inner.size, int) or size % inner.size:
            return None
        pair = self._cut(slow, size // inner.size)
        return None if pair is None else (product_of(pair[0], inner), product_of(pair[1], inner))

    def _cut_sum(self, extent: Extent, size: int) -> tuple[Extent, Extent] | None:
        parts = self.parts(extent)
        first: list[Extent] = []
        while parts and size:
            part = parts.pop(0)
            if not isinstance(part.size, int):
                return None
            if part.size > size:
                pair = self._cut(part, size)
                if pair is None:
                    return None
                parts.insert(0, pair[1])
                part = pair[0]
            first.append(part)
            size -= part.size if isinstance(part.size, int) else 0
        return sum_of(*first), sum_of(*parts)

    # -- what leaves become -------------------------------------------------------------------------------------------------

    def _join(self, one: Leaf, other: Leaf) -> None:
        reasons = {**self._reasons.pop(one, {}), **self._reasons.pop(other, {})}
        self._sets.union(one, other)
        if reasons:
            self._reasons[self._sets[one]] = reasons

    def _set_form(self, leaf: Leaf, form: Extent, where: str) -> None:
        if any(inner is leaf for inner in self.leaves(form)):
            self._give_up([leaf, form], "it would be a part of itself", where)
            return
        self._forms[leaf] = form
        for why, place in self._reasons.pop(leaf, {}).items():
            self.freeze(form, why, place)

    def _give_up(self, extents: Sequence[Extent], why: str, where: str) -> None:
        for extent in extents:
            self.freeze(extent, why, where)


def _common(one: Dim, other: Dim) -> Dim:
    """The largest size by which both can be split at the slow end, ``None`` if there is none."""
    if one is None or other is None or one == 0 or other == 0:
        return None
    if isinstance(one, int) and isinstance(other, int):
        shared = math.gcd(one, other)
        return shared if shared > 1 else None
    if dim_quotient(one, other) is not None:
        return other
    return one if dim_quotient(other, one) is not None else None


def _put_back(queue: deque[Extent], first: Iterable[Extent]) -> None:
    queue.popleft()
    queue.extendleft(reversed(list(first)))
