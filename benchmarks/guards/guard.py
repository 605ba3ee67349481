"""What a guard is: where it stands, what it asks, whose it is, and how to get a pass without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.guards.worlds import Span
from graphopt.builtin_plugin import builtin_plugins
from graphopt.passes import Pass, RewritePass
from graphopt.rewriting import Rule

__all__ = ["SHARED", "Guard", "Unit", "units"]

#: Owner of what several rules run.
SHARED = "shared"
#: Passes that are not made of rules and whose guards keep numbers right.
_WHOLE_GRAPH = (
    "constants-to-initializers",
    "deduplicate-constants",
    "eliminate-common-subexpressions",
    "eliminate-dead-code",
    "fold-constants",
    "hoist-loop-invariants",
    "initializers-to-constants",
    "inline-functions",
    "remove-unused-functions",
    "remove-unused-opsets",
    "share-shape-values",
    "simplify-if",
    "simplify-loop",
    "unroll-loops",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """What guards belong to: a rule in a pass that holds it, or a pass that is not made of rules.

    Attributes:
        name: of the rule or pass.
        pass_class: the pass.
        rule: the rule, `None` for a pass as a whole.
    """

    name: str
    pass_class: type[Pass]
    rule: Rule | None = None

    @property
    def real(self) -> type[Pass]:
        """Return the pass, with this rule alone if it is made of rules: others would do some of its work."""
        return self.pass_class if self.rule is None else self.with_rule(self.rule)

    def with_rule(self, rule: Rule) -> type[Pass]:
        """Return the pass with one rule alone."""
        return type(self.pass_class.__name__, (self.pass_class,), {"rules": (rule,), "__module__": __name__})


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A condition that keeps rules from applying.

    Attributes:
        owner: the rule or pass that it guards, `SHARED` when it stands in a function that several run.
        kind: what it is about: "use", "constant", "attribute", ...
        what: the condition as people read it, with the function that it stands in.
        place: file and line.
        holders: all rules and passes that it guards.
        mutant: makes the pass of one holder, with its rule alone, without this guard.
        condition: module and span of the condition in a function, `None` for a guard of a pattern.
        accepts: whether the condition being true lets a rule apply.
    """

    owner: str
    kind: str
    what: str
    place: str
    holders: tuple[Unit, ...]
    mutant: Callable[[Unit], type[Pass]]
    condition: tuple[str, Span] | None = None
    accepts: bool = True

    @property
    def id(self) -> str:
        """Return a name that stays the same while lines move."""
        return f"{self.owner}: {self.kind}: {self.what}"


def units() -> Iterator[Unit]:
    """Yield each rule of the built-in passes once, by name, then passes that are not made of rules.

    A rule that two passes hold counts in the first.
    """
    registry = builtin_plugins(discover=False).passes
    found: dict[str, Unit] = {}
    for name in sorted(registry):
        item = registry[name]
        if issubclass(item, RewritePass):
            for rule in item.rules:
                found.setdefault(rule.name, Unit(rule.name, item, rule))
    yield from sorted(found.values(), key=lambda unit: unit.name)
    yield from (Unit(name, registry[name]) for name in _WHOLE_GRAPH)
