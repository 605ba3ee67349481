"""Strategies of models for one rule: those that it applies to, and those that it nearly applies to."""

from __future__ import annotations

from typing import Final

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model
from graphopt.rewriting import Pattern, Rule, RuleIndex, op, rest, rewrite_graph
from graphopt.rewriting.pattern import OpPattern
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies import drawn_models
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.editing import edited
from graphopt.testing.strategies.matching import can_be_drawn
from graphopt.testing.strategies.rule_graphs import draw_graph
from graphopt.testing.strategies.samplers import SAMPLERS
from graphopt.testing.strategies.twists import TWISTS, Twist

__all__ = [
    "applications_of",
    "contexts_of",
    "draw_matching",
    "draw_near_miss",
    "graphs_matching",
    "near_misses",
    "opsets_of",
]

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


def _check(rule: Rule) -> None:
    patterns = contexts_of(rule)
    if any(can_be_drawn(pattern, version) for pattern in patterns for version in _LOOKED_AT):
        return
    parts = [part for pattern in patterns for part in pattern.parts()]
    missing = sorted({name for part in parts if isinstance(part, OpPattern) for name in part.ops} - set(SAMPLERS))
    raise InvalidArgument(
        f"no graphs can be drawn for rule {rule.name!r}: ONNX Runtime runs no nodes of {', '.join(missing)}; test the pipeline "
        "that makes and lowers them"
    )


def _versions(rule: Rule, given: SearchStrategy[int] | None) -> SearchStrategy[int]:
    if given is not None:
        return given
    return st.sampled_from(opsets_of(rule))


def opsets_of(rule: Rule) -> list[int]:
    """Opsets at which a rule may apply and that ONNX Runtime runs."""
    return drawn_models.known_opsets(getattr(rule, "min_opset", 1), getattr(rule, "max_opset", None))


def _applicable(
    choices: Choices, rule: Rule, opset: int, twist: Twist, *, wild: bool, inside: bool
) -> GeneratedModel | None:
    """A model to which the rule applies; the last one that was drawn when none is found soon."""
    found = None
    for _ in range(_TRIES):
        made = draw_graph(choices, contexts_of(rule), opset, twist, wild=wild, inside=inside)
        found = made or found
        if made is not None and applications_of(rule, made.ir):
            return made
    return found


def draw_matching(
    choices: Choices, rule: Rule, opset: int, *, applies: bool = True, extremes: bool = True
) -> GeneratedModel | None:
    """A model that the rule matches, ``None`` when none is found."""
    wild, inside = extremes and choices.chance(0.3), choices.chance(0.12)
    if not applies:
        return draw_graph(choices, contexts_of(rule), opset, "", wild=wild, inside=inside)
    found = _applicable(choices, rule, opset, "", wild=wild, inside=inside)
    return found if found is not None and applications_of(rule, found.ir) else None


@st.composite
def _matching(
    draw: DrawFn, rule: Rule, opset: SearchStrategy[int] | None, applies: bool, extremes: bool
) -> GeneratedModel:
    _check(rule)
    found = draw_matching(Choices(draw), rule, draw(_versions(rule, opset)), applies=applies, extremes=extremes)
    if found is None:
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


def draw_near_miss(choices: Choices, rule: Rule, opset: int) -> GeneratedModel | None:
    """A model that the rule nearly matches, ``None`` when none is found."""
    if choices.chance(0.2):
        twist = choices.of(TWISTS)
        version = choices.of(drawn_models.known_opsets()) if twist == "opset" else opset
        return draw_graph(choices, contexts_of(rule), version, twist, wild=twist == "extreme", inside=False)
    base = _applicable(choices, rule, opset, "", wild=False, inside=False)
    return None if base is None else edited(choices, base, max(rule.reach, 1))


@st.composite
def _missing(draw: DrawFn, rule: Rule, opset: SearchStrategy[int] | None) -> GeneratedModel:
    _check(rule)
    found = draw_near_miss(Choices(draw), rule, draw(_versions(rule, opset)))
    if found is None:
        reject()
    return found


def near_misses(rule: Rule, *, opsets: SearchStrategy[int] | None = None) -> SearchStrategy[GeneratedModel]:
    """Models to which a rule nearly applies: one to which it does, with one thing changed.

    An attribute or an operator is another one, a value has a second user or is given out, a constant is an input, a node or dequantized,
    may be overridden by a caller, has other numbers or another shape, an input is a constant, sizes or ranks are not stated, inputs are
    swapped, rewired or more, a node stands before, behind or beside a node, further outputs are used, the root stands in a branch or a
    loop and captures what it reads, an attribute refers to one of a function, the opset, element type or rank is another one, tensors
    are empty, numbers extreme. None of that is taken from the rule. It may still apply; whatever it does, results must stay.

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
