"""All guards of some rules and passes, each with the way to a pass that lacks it.

What stands in the pattern of a rule is guarded by that rule alone; a condition in a function counts once, however many rules run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType

from benchmarks.guards.bodies import Condition, conditions_in
from benchmarks.guards.functions import Function, called_functions
from benchmarks.guards.guard import SHARED, Guard, Unit
from benchmarks.guards.kinds import kind_of
from benchmarks.guards.patterns import has_attributes, pattern_guards
from benchmarks.guards.polarity import wanted_answers
from benchmarks.guards.worlds import Edit, import_edited, path_of
from graphopt.ir import Node
from graphopt.passes import Pass, RewritePass
from graphopt.rewriting import Pattern, Replacement, RewritePattern, Rewriter, RewriteRule, Rule
from graphopt.rewriting.pattern import OneOf, OpPattern

__all__ = ["guards_of", "pass_of"]

_ANY_OPSET = {"min_opset": 1, "max_opset": 1 << 30}


def guards_of(given: Iterable[Unit]) -> list[Guard]:
    """Return the guards of rules and passes: those of each rule's own, pattern first, then what several share; ids are unique."""
    units = tuple(given)
    own: dict[str, list[Guard]] = {unit.name: list(_of_declaration(unit)) for unit in units}
    shared: list[Guard] = []
    holders: dict[Edit, list[Unit]] = {}
    conditions: dict[Edit, Condition] = {}
    for unit in units:
        functions = _functions(unit)
        wanted = wanted_answers(functions)
        for function in functions:
            for found in conditions_in(function, wanted=wanted.get(function.name, True), deeds=unit.rule is None):
                conditions.setdefault(found.edit, found)
                holders.setdefault(found.edit, []).append(unit)
    for edit, found in conditions.items():
        guard = _of_condition(found, tuple(holders[edit]))
        own.get(guard.owner, shared).append(guard)
    return list(_numbered([guard for guards in (*own.values(), shared) for guard in guards]))


def _numbered(guards: Iterable[Guard]) -> Iterator[Guard]:
    """The guards with a number behind those that read like an earlier one of the same owner."""
    met: dict[str, int] = {}
    for guard in guards:
        times = met[guard.id] = met.get(guard.id, 0) + 1
        yield guard if times == 1 else replace(guard, what=f"{guard.what} #{times}")


def _functions(unit: Unit) -> list[Function]:
    if isinstance(unit.rule, RewriteRule):
        return called_functions([unit.rule.body])
    if isinstance(unit.rule, RewritePattern):
        kind = type(unit.rule)
        return called_functions([kind.match_and_rewrite], kind)
    return called_functions([unit.pass_class.run], unit.pass_class)


# -- what rules declare -------------------------------------------------------------------------------------------------------------


def _of_declaration(unit: Unit) -> Iterator[Guard]:
    if isinstance(unit.rule, RewriteRule):
        place = f"{short_path(unit.rule.body.__module__)}:{unit.rule.body.__code__.co_firstlineno}"
        for kind, what, changed in _relaxed(unit.rule):
            yield Guard(unit.name, kind, what, place, (unit,), _with(changed))
    elif isinstance(unit.rule, RewritePattern) and any(map(has_attributes, unit.rule.roots)):
        code = type(unit.rule).match_and_rewrite.__code__
        place = f"{short_path(type(unit.rule).__module__)}:{code.co_firstlineno}"
        yield Guard(unit.name, "scope", "root: no references", place, (unit,), _with(_Referring(unit.rule)))


def _relaxed(rule: RewriteRule) -> Iterator[tuple[str, str, RewriteRule]]:
    """Kind, text and the rule without it, for each guard that a rule declares."""
    for guard in pattern_guards(rule.pattern):
        yield guard.kind, guard.what, replace(rule, pattern=guard.pattern, checked=_roots(guard.pattern))
    for name, free in _ANY_OPSET.items():
        stated = getattr(rule, name)
        if stated == free:
            continue
        relaxed = replace(rule, min_opset=free) if name == "min_opset" else replace(rule, max_opset=free)
        yield "opset", f"{name} {stated}", relaxed


def _roots(pattern: Pattern) -> tuple[OpPattern, ...]:
    choices = pattern.choices if isinstance(pattern, OneOf) else (pattern,)
    return tuple(choice for choice in choices if isinstance(choice, OpPattern))


def _with(rule: Rule) -> Callable[[Unit], type[Pass]]:
    return lambda unit: unit.with_rule(rule)


class _Referring:
    """A rule in class form that also looks at roots with attributes that refer to those of the surrounding function."""

    def __init__(self, rule: RewritePattern) -> None:
        self._rule = rule
        self.name, self.roots, self.numerics = rule.name, rule.roots, rule.numerics
        self.benefit, self.reach = rule.benefit, rule.reach

    def apply(self, node: Node, rw: Rewriter) -> Replacement:
        """Go straight to the body."""
        return self._rule.match_and_rewrite(node, rw)


# -- what functions ask -------------------------------------------------------------------------------------------------------------


def _of_condition(found: Condition, holders: tuple[Unit, ...]) -> Guard:
    owner = holders[0].name if len(holders) == 1 else SHARED
    function = found.function
    place = f"{short_path(function.module)}:{found.part.node.lineno}"

    def mutant(unit: Unit) -> type[Pass]:
        return pass_of(unit, import_edited(found.edit, unit.pass_class.__module__))

    what, condition = f"{function.name}: {found.part.what}", (found.edit.module, found.edit.span)
    return Guard(owner, kind_of(found.part), what, place, holders, mutant, condition, found.part.accepts)


def pass_of(unit: Unit, module: ModuleType) -> type[Pass]:
    """Return the pass of a rule, with this rule alone, or a pass as a whole, from its module imported anew."""
    other: type[Pass] = getattr(module, unit.pass_class.__qualname__)
    if unit.rule is None:
        return other
    assert issubclass(other, RewritePass), "the pass is the same one, imported anew"
    return unit.with_rule(_named(other.rules, unit.name))


def _named(rules: tuple[Rule, ...], name: str) -> Rule:
    return next(rule for rule in rules if rule.name == name)


def short_path(module: str) -> str:
    """Return the file of a module from the package's folder on."""
    parts = path_of(module).parts
    return "/".join(parts[len(parts) - parts[::-1].index("graphopt") - 1 :])
