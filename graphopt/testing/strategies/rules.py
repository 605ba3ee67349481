"""Strategies of models for one rule: those that its pattern matches, and those that it nearly matches."""

from __future__ import annotations

from typing import Final

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import DType, Model
from graphopt.rewriting import Pattern, Rule, RuleIndex, op, rest, rewrite_graph
from graphopt.rewriting.pattern import OpPattern
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies import drawn_models
from graphopt.testing.strategies.assembly import Style, assemble
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.element_types import WEIGHTS
from graphopt.testing.strategies.growth import grow
from graphopt.testing.strategies.matching import ODD_TYPES, Matcher, can_be_drawn
from graphopt.testing.strategies.samplers import SAMPLERS
from graphopt.testing.strategies.scope import RefusedError, Scope, World
from graphopt.testing.strategies.twists import MATCH, Twist, twists_of

__all__ = ["applications_of", "graphs_matching", "near_misses"]

_TRIES: Final = 6
_LOOKED_AT: Final = (9, 13, 17, 21, 24)


def contexts_of(rule: Rule) -> tuple[Pattern, ...]:
    """Patterns of graphs at which a rule may apply: its own, those that it states, or else one node of each of its roots."""
    pattern = getattr(rule, "pattern", None)
    if pattern is not None:
        return (pattern,)
    stated: tuple[Pattern, ...] = getattr(rule, "contexts", ())
    return stated or tuple(op[root](rest("operands")) for root in rule.roots)


def applications_of(rule: Rule, model: Model) -> int:
    """How often a rule applies to a model, which it rewrites."""
    types = OnnxTypes()
    types.infer_model(model)
    return sum(
        rewrite_graph(owner.graph, RuleIndex((rule,)), inference=types).applied.total() for owner in model.owners()
    )


def _draw(choices: Choices, rule: Rule, opset: int, twist: Twist, *, wild: bool) -> GeneratedModel | None:
    patterns = [pattern for pattern in contexts_of(rule) if can_be_drawn(pattern, opset)]
    if not patterns:
        return None
    for _ in range(_TRIES):
        dtypes = WEIGHTS
        if twist.kind == "dtype":
            odd = choices.of(ODD_TYPES)
            dtypes = {odd: 8, DType.INT64: 1}
        scope = Scope(World(choices, opset, wild, dtypes, max_inputs=6, constant_nodes=0.05))
        try:
            found = _one(scope, choices.of(patterns), twist)
        except RefusedError:
            continue
        if found is not None:
            return found
    return None


def _one(scope: Scope, pattern: Pattern, twist: Twist) -> GeneratedModel | None:
    choices = scope.choices
    if twist.kind == "empty":
        _nothing(scope)
    elif choices.chance(0.25):
        grow(scope, choices.integer(1, 2))
    inside = twist.kind == "captured" or choices.chance(0.1)
    home = scope.child("t") if inside else scope
    matcher = Matcher(home, twist, scope if inside else None)
    if twist.kind == "dtype":
        matcher.change = f"element type {next(iter(scope.world.dtypes))}"
    root = matcher.make(pattern)
    site = root
    if inside:
        root = _branch(scope, home, root)
    if choices.chance(0.4):
        root = scope.one("Identity", [root])
    model = assemble(
        scope,
        Style(
            outputs=False,
            overridable=False,
            statements=False,
            keep=(root, *matcher.keep),
            override=matcher.overridden,
        ),
        sites=[site],
    )
    if model is None or (twist is not MATCH and not _is_changed(matcher, twist)):
        return None
    change = matcher.change or str(twist) if twist is not MATCH else ""
    return GeneratedModel(model.proto, model.feeds, model.tags, model.sites, change, model.refused)


def _is_changed(matcher: Matcher, twist: Twist) -> bool:
    return bool(matcher.change) or twist.kind in ("opset", "extreme", "empty", "rank")


def _nothing(scope: Scope) -> None:
    """Inputs without elements, for the nodes to read."""
    for rank in (1, 2, 4):
        shape = [scope.choices.of((2, 1, 3)) for _ in range(rank)]
        shape[scope.choices.integer(0, rank - 1)] = 0
        scope.input(np.zeros(shape, np.float32))


def _branch(scope: Scope, inner: Scope, root: str) -> str:
    """An If around a graph, whose other branch gives a tensor of zeros of the same type."""
    condition = scope.input(np.array(True)) or scope.constant(np.array(True))
    other = scope.child("e")
    if root not in inner.own:
        root = inner.one("Identity", [root])
    name = other.constant(np.zeros_like(inner.arrays[root]))
    then = inner.graph("then", [], [inner.info(root, shaped=False)])
    otherwise = other.graph("else", [], [other.info(name, shaped=False)])
    return scope.node("If", [condition], attributes={"then_branch": then, "else_branch": otherwise})[0]


def _check(rule: Rule) -> None:
    patterns = contexts_of(rule)
    missing = sorted(
        {name for pattern in patterns for part in pattern.parts() if isinstance(part, OpPattern) for name in part.ops}
        - set(SAMPLERS)
    )
    if not any(can_be_drawn(pattern, version) for pattern in patterns for version in (13, 17, 21, 24)):
        raise InvalidArgument(
            f"no graphs can be drawn for rule {rule.name!r}: of {', '.join(missing)} no nodes can be drawn that ONNX Runtime runs"
        )


def _versions(rule: Rule, given: SearchStrategy[int] | None) -> SearchStrategy[int]:
    if given is not None:
        return given
    low, high = getattr(rule, "min_opset", 1), getattr(rule, "max_opset", 1 << 30)
    return drawn_models.opsets(min_opset=low, max_opset=high)


@st.composite
def _matching(
    draw: DrawFn, rule: Rule, opset: SearchStrategy[int] | None, applies: bool, extremes: bool
) -> GeneratedModel:
    _check(rule)
    choices = Choices(draw)
    version = draw(_versions(rule, opset))
    found = None
    for _ in range(_TRIES if applies else 1):
        found = _draw(choices, rule, version, MATCH, wild=extremes and choices.chance(0.3))
        if found is not None and (not applies or applications_of(rule, found.ir)):
            return found
    if found is None or applies:
        reject()
    return found


def graphs_matching(
    rule: Rule, *, opsets: SearchStrategy[int] | None = None, applies: bool = False, allow_extremes: bool = True
) -> SearchStrategy[GeneratedModel]:
    """Models that contain what a rule looks for.

    Each part of the pattern becomes a node of its operator, drawn from its schema: any attributes that the pattern does not ask for,
    constants in all their forms, other operands as inputs or computed. Whether the rule then applies is up to its own checks too.

    Args:
        rule: made by :func:`~graphopt.rewriting.rewrite`, or a :class:`~graphopt.rewriting.RewritePattern`, which says in its
            ``contexts`` what graphs it is for.
        opsets: of the default domain; all at which the rule may apply by default.
        applies: draw only models at which the rule does apply.
        allow_extremes: whether NaN, infinities and the like may be among the numbers.

    Raises:
        InvalidArgument: when drawn from, if ONNX Runtime runs no operator that the rule is for.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> from graphopt.rewriting import any_, op, rewrite
        >>> @rewrite(op.Neg(op.Neg(any_("x"))))
        ... def eliminate_double_neg(m, rw):
        ...     return m["x"]
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(graphs_matching(eliminate_double_neg))
        ... def test_two_are_there(model):
        ...     assert model.sites
        >>> test_two_are_there()
    """
    return _matching(rule, opsets, applies, allow_extremes)


@st.composite
def _missing(draw: DrawFn, rule: Rule, opset: SearchStrategy[int] | None) -> GeneratedModel:
    _check(rule)
    choices = Choices(draw)
    twist = choices.of(twists_of(contexts_of(rule)))
    version = draw(drawn_models.opsets() if twist.kind == "opset" and opset is None else _versions(rule, opset))
    found = _draw(choices, rule, version, twist, wild=twist.kind == "extreme" or choices.chance(0.15))
    if found is None:
        reject()
    return found


def near_misses(rule: Rule, *, opsets: SearchStrategy[int] | None = None) -> SearchStrategy[GeneratedModel]:
    """Models that a rule nearly matches: what it looks for, with one thing changed.

    An attribute is another one of those that the schema allows, an inner value has a second user or is given out, a constant is an
    input or may be overridden by a caller, numbers, element types, ranks or opsets are others, a node is captured from an outer graph,
    inputs are swapped or more, tensors are empty. The rule may still apply; whatever it does, results must stay.

    Args:
        rule: see :func:`graphs_matching`.
        opsets: of the default domain.

    Raises:
        InvalidArgument: see :func:`graphs_matching`.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> from graphopt.rewriting import any_, op, rewrite
        >>> @rewrite(op.Neg(op.Neg(any_("x"))))
        ... def eliminate_double_neg(m, rw):
        ...     return m["x"]
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(near_misses(eliminate_double_neg))
        ... def test_something_is_changed(model):
        ...     assert model.change
        >>> test_something_is_changed()
    """
    return _missing(rule, opsets)
