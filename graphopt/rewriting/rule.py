"""Rules: what to look for, what to put there, and what that does to numbers.

Two forms. :func:`rewrite` joins a pattern and a typed function; :class:`RewritePattern` is a class for shapes that no fixed pattern
describes (chains, any number of inputs). The driver treats both alike.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, runtime_checkable

from graphopt.ir import Node, Value
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting.first_look import first_looks, may_match
from graphopt.rewriting.match import Bindings, Match
from graphopt.rewriting.nomatch import NoMatch
from graphopt.rewriting.pattern import OneOf, OpPattern, Pattern
from graphopt.rewriting.pattern_check import check_pattern
from graphopt.rewriting.rewriter import Rewriter

__all__ = ["IN_PLACE", "InPlace", "Replacement", "RewritePattern", "RewriteRule", "Rule", "rewrite"]


class InPlace:
    """A rule's answer when it changed nodes where they stand, through the rewriter."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IN_PLACE"


IN_PLACE: Final = InPlace()

#: What a rule gives back: a value for the root's output (a sequence for several, ``None`` where nobody reads it), or why not.
Replacement = Value | Sequence[Value | None] | InPlace | NoMatch


@runtime_checkable
class Rule(Protocol):
    """What the driver applies."""

    @property
    def name(self) -> str:
        """Kebab-case name."""

    @property
    def roots(self) -> tuple[str, ...]:
        """Operators at which it may apply."""

    @property
    def numerics(self) -> Numerics:
        """What it does to numbers."""

    @property
    def benefit(self) -> int:
        """Of rules for one operator, larger ones are tried first."""

    @property
    def reach(self) -> int:
        """How many nodes, along a path, decide whether it applies; 1 looks at the root alone."""

    def apply(self, node: Node, rw: Rewriter) -> Replacement:
        """Try to rewrite at ``node``; must not edit unless it applies."""


@dataclass(frozen=True, slots=True, eq=False)
class RewriteRule:
    """A pattern with the function that replaces what it matches; made by :func:`rewrite`."""

    name: str
    pattern: Pattern
    body: Callable[[Match, Rewriter], Replacement]
    numerics: Numerics
    roots: tuple[str, ...]
    benefit: int
    reach: int
    min_opset: int
    max_opset: int
    doc: str
    checked: tuple[OpPattern, ...]

    def may_apply(self, node: Node) -> bool:
        """Whether the direct inputs of a node are such that the pattern may match; quicker than to try it."""
        return may_match(first_looks(self.checked), node)

    def apply(self, node: Node, rw: Rewriter) -> Replacement:
        """Match the pattern at a node and run the body."""
        if self.min_opset > 1 or self.max_opset < 1 << 30:
            version = node.graph.opset() if node.graph is not None else None
            if version is None or not self.min_opset <= version <= self.max_opset:
                return NoMatch("opset %s is not between %d and %d", version, self.min_opset, self.max_opset)
        reason: NoMatch | None = None
        for candidate in self.checked:
            if node.op not in candidate.ops:
                continue
            if candidate.output >= len(node.outputs):
                reason = NoMatch("%s has %d outputs", node.op, len(node.outputs))
                continue
            found = Bindings(node)
            reason = candidate.match_node(node, found)
            if reason is None:
                match = Match(found)
                rw.matched = match.nodes
                return self.body(match, rw)
        return reason if reason is not None else NoMatch("%s is not a root of this rule", node.op)

    def __call__(self, m: Match, rw: Rewriter) -> Replacement:
        """Run the body on a match, as tests of its arithmetic do."""
        return self.body(m, rw)

    def __str__(self) -> str:
        return f"{self.name}: {self.pattern}"

    def __repr__(self) -> str:
        return f"<rule {self.name}>"


class RewritePattern(abc.ABC):
    """A rule in class form. Subclasses state ``name`` and ``roots`` and implement :meth:`match_and_rewrite`.

    Attributes:
        contexts: graphs at which it may apply, as patterns that the driver never looks at: the testing kit makes models of them. Without
            any, it makes single nodes of the roots.
    """

    name: ClassVar[str]
    roots: ClassVar[tuple[str, ...]]
    numerics: ClassVar[Numerics] = Exact()
    benefit: ClassVar[int] = 1
    reach: ClassVar[int] = 2
    contexts: ClassVar[tuple[Pattern, ...]] = ()

    @abc.abstractmethod
    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Try to rewrite at ``node``; must not edit unless it applies."""

    def apply(self, node: Node, rw: Rewriter) -> Replacement:
        """What the driver calls; a root with attributes that refer to those of the surrounding function is left alone."""
        if node.attributes and node.has_references:
            return NoMatch("an attribute of %s refers to one of the surrounding function", node.op)
        return self.match_and_rewrite(node, rw)

    @property
    def doc(self) -> str:
        """The docstring."""
        return (self.__doc__ or "").strip()

    def __str__(self) -> str:
        return f"{self.name}: {'|'.join(self.roots)} ..."


def _depth(pattern: Pattern) -> int:
    if isinstance(pattern, OpPattern):
        return 1 + max(map(_depth, pattern.inputs), default=0)
    if isinstance(pattern, OneOf):
        return max(map(_depth, pattern.choices))
    return 0


def rewrite(
    pattern: Pattern,
    *,
    numerics: Numerics | None = None,
    benefit: int = 1,
    min_opset: int = 1,
    max_opset: int = 1 << 30,
    name: str | None = None,
) -> Callable[[Callable[[Match, Rewriter], Replacement]], RewriteRule]:
    """Make a rule of a function ``(m, rw) -> value`` and the pattern that it replaces.

    Args:
        pattern: an operator pattern, or :func:`one_of` several.
        numerics: what the rewrite does to numbers, ``Exact()`` by default: same bits for every input.
        benefit: of rules for one operator, larger ones are tried first.
        min_opset: oldest opset of the default domain at which it applies.
        max_opset: newest one.
        name: kebab-case name; that of the function by default.

    Raises:
        PatternError: if the pattern names an operator, attribute or number of inputs that no schema has.

    Example:
        >>> from graphopt.rewriting import any_, op
        >>> @rewrite(op.Neg(op.Neg(any_("x"))))
        ... def eliminate_double_neg(m, rw):
        ...     return m["x"]
        >>> eliminate_double_neg.name
        'eliminate-double-neg'
    """

    def decorate(body: Callable[[Match, Rewriter], Replacement]) -> RewriteRule:
        rule_name = name or getattr(body, "__name__", "rule").replace("_", "-")
        roots = check_pattern(pattern, rule_name)
        return RewriteRule(
            name=rule_name,
            pattern=pattern,
            body=body,
            numerics=Exact() if numerics is None else numerics,
            roots=tuple(dict.fromkeys(op for root in roots for op in root.ops)),
            benefit=benefit,
            reach=_depth(pattern),
            min_opset=min_opset,
            max_opset=max_opset,
            doc=(body.__doc__ or "").strip(),
            checked=roots,
        )

    return decorate
