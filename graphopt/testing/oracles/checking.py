"""All laws in one call, on models that are drawn for the pass and its rules."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import InvalidArgument, Unsatisfiable
from hypothesis.strategies import one_of

from graphopt.compiler import Environment
from graphopt.errors import ExecutionError
from graphopt.numerics import Numerics
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.oracles.case import Case
from graphopt.testing.oracles.commuting import TRANSFORMATIONS, Transformation, commutes
from graphopt.testing.oracles.law import Checked, LawBroken
from graphopt.testing.oracles.laws import FURTHER_LAWS, LAWS
from graphopt.testing.oracles.source import ModelLike, generated_of
from graphopt.testing.oracles.subject import Subject, Testable, default_environment, subject_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["CheckReport", "check_pass"]

_KNOWN: Final = {**LAWS, **FURTHER_LAWS}
#: Models that are drawn one after the other before a search begins anew.
_BATCH: Final = 10
_LEAST: Final = 5
_SPARSE: Final = 4
#: Seconds that a failure is shrunk for; what Hypothesis still finds after that is seldom worth the wait.
_SHRINKING: Final = 20.0


@dataclass(slots=True)
class CheckReport:
    """What :func:`check_pass` did.

    Attributes:
        subject: the pass, as people call it.
        examples: models by where they came from: ``"models"``, ``"matching RULE"``, ``"near misses of RULE"``.
        changed: models that the pass changed.
        rewrites: rewrites by rule, over all models.
        laws: how often each law held.
        compared: outputs that were compared as numbers.
        skipped: how often nothing could be told, by law and reason.
        reasons: why rules did not apply, by rule and reason.
    """

    subject: str
    examples: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    rewrites: Counter[str] = field(default_factory=Counter)
    laws: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    skipped: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        drawn = ", ".join(f"{count} {where}" for where, count in self.examples.items())
        made = ", ".join(f"{name} {count}" for name, count in sorted(self.rewrites.items())) or "none"
        held = ", ".join(f"{law} {count}" for law, count in self.laws.items())
        return (
            f"{self.subject}: {sum(self.examples.values())} models ({drawn}), {self.changed} changed, "
            f"{self.compared} outputs compared\n  rewrites: {made}\n  laws held: {held}"
        )

    def note(self, case: Case, found: Sequence[Checked]) -> None:
        """Count what one model showed."""
        self.changed += case.run.changed
        self.rewrites.update(case.run.rewrites)
        for item in found:
            self.compared += item.compared
            if item.skipped:
                self.skipped[item.law, item.skipped] += 1
            else:
                self.laws[item.law] += 1
        for rule, _place, reason in case.reasons:
            self.reasons.setdefault(rule.name, Counter())[reason] += 1


def check_pass(
    testable: Testable,
    *,
    models: SearchStrategy[ModelLike] | SearchStrategy[GeneratedModel] | None = None,
    laws: Collection[str] | None = None,
    transformations: Sequence[Transformation] | None = None,
    require_rewrites: bool | Collection[str] = True,
    max_examples: int | None = None,
    numerics: Numerics | None = None,
    may_change: Collection[str] = (),
    target: str = "onnx",
    environment: Environment | None = None,
) -> CheckReport:
    """Hold a pass to all laws, on models that Hypothesis draws and shrinks.

    Half of the models come from ``models()``, the rest from ``graphs_matching(rule)`` and ``near_misses(rule)`` for each rule of the
    pass, at least five of each, these first: they are small. A failure is shrunk for twenty seconds. For each model:
    :func:`assert_equivalent`, :func:`assert_honest`, :func:`assert_idempotent`, :func:`assert_deterministic`,
    :func:`assert_unchanged_input`, and :func:`assert_commutes_with` for each transformation. Those that keep neither rewrites nor
    structure (inlining, opset upgrade) take long and are tried on each model that the pass changed, but on a fourth of the others only.

    Args:
        testable: see :func:`assert_equivalent`.
        models: where models come from, instead of all these.
        laws: names of the laws to check: ``"equivalent"``, ``"honest"``, ``"idempotent"``, ``"deterministic"``, ``"unchanged-input"``,
            and ``"frugal"`` (:func:`assert_frugal`) for a pass that is meant to be. The first five by default, ``"idempotent"`` only of
            a pass that declares it (:attr:`graphopt.passes.Pass.idempotent`, as passes of rules do) and of a ``fixpoint(...)``.
        transformations: which other forms of a model to try, each on every model; all four as said above by default.
        require_rewrites: whether each rule (or those that are named) must have applied to some model; of a pass without rules, whether
            it must have changed one.
        max_examples: number of models, about; that of the Hypothesis profile by default.
        numerics: what is declared, instead of what ``testable`` declares.
        may_change: ``"opset"`` and ``"ir_version"`` where the pass is meant to.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Returns:
        What was checked: look at ``rewrites`` and ``skipped`` to see what that is worth.

    Raises:
        LawBroken: with the smallest model that was found.
        AssertionError: if a rule never applied.
        ValueError: if a name in ``laws`` is unknown.

    Example:
        >>> from hypothesis import strategies as st
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> report = check_pass("canonicalize", models=st.just(text), require_rewrites=["shorten-unary-chain"])
        >>> report.rewrites["shorten-unary-chain"]
        1
    """
    known = environment or default_environment()
    subject = subject_of(testable, known, numerics)
    chosen = _laws(laws)
    unpromised = {"idempotent"} if laws is None and not subject.is_idempotent else frozenset[str]()
    report = CheckReport(subject.name)
    for where, strategy, count in _sources(subject, models, max_examples or settings().max_examples):

        def hold(model: ModelLike, where: str = where) -> None:
            case = Case(subject, generated_of(model), known, target=target, may_change=may_change)
            forms = _forms(case) if transformations is None else transformations
            found = list(_hold(case, chosen, forms, unpromised))
            report.examples[where] += 1
            report.note(case, found)

        try:
            _draw(strategy, count, hold, batch=count if models is not None else _BATCH)
        except (InvalidArgument, Unsatisfiable) as err:
            if models is not None or where == "models":
                raise
            report.skipped[where, str(err)] += 1  # no model can be made up for this rule
    _require(subject, report, require_rewrites)
    return report


def _draw(
    strategy: SearchStrategy[ModelLike] | SearchStrategy[GeneratedModel],
    count: int,
    hold: Callable[[ModelLike], None],
    *,
    batch: int,
) -> None:
    """Draw models under the settings of the profile, batch by batch; one failure, shrunk for a while.

    Hypothesis mostly varies what it has drawn before. A new batch begins anew, with a seed of its own where runs are to be alike.
    """
    smallest: _Smallest = _Smallest()

    def laws(model: ModelLike) -> None:
        with smallest.noting():
            hold(model)

    for number, start in enumerate(range(0, count, batch)):
        run = given(strategy)(laws)
        if settings.default is not None and settings.default.derandomize:
            run = seed(number)(run)
        chosen = settings(
            max_examples=min(batch, count - start),
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        try:
            chosen(run)()
        except _Enough:
            assert smallest.failure is not None, "it is what was enough"
            raise smallest.failure from None


class _Enough(BaseException):
    """Ends a search that shrinks for too long: Hypothesis lets pass what is no Exception."""


@dataclass(slots=True)
class _Smallest:
    """The smallest failure of a search, and since when there is one."""

    failure: LawBroken | None = None
    since: float = 0.0

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Take note of a failure inside.

        Raises:
            _Enough: if failures have been made smaller for long enough.
        """
        if self.failure is not None and time.monotonic() - self.since > _SHRINKING:
            raise _Enough
        try:
            yield
        except LawBroken as err:
            if self.failure is None:
                self.since = time.monotonic()
            if self.failure is None or _size(err) <= _size(self.failure):
                self.failure = err
            raise


def _size(failure: LawBroken) -> tuple[int, int]:
    return len(failure.model.graph.node), failure.model.ByteSize()


def _laws(names: Collection[str] | None) -> tuple[str, ...]:
    chosen = tuple(LAWS if names is None else names)
    for name in chosen:
        if name not in _KNOWN:
            raise ValueError(f"unknown law {name!r}, expected some of {', '.join(_KNOWN)}")
    return chosen


def _forms(case: Case) -> Sequence[Transformation]:
    """The transformations to try; which ones depends on the model only, so that a failure stays one while it is shrunk."""
    if case.run.changed or not zlib.crc32(case.bytes) % _SPARSE:
        return TRANSFORMATIONS
    return [item for item in TRANSFORMATIONS if item.keeps_rewrites or item.keeps_structure]


def _hold(
    case: Case, names: Sequence[str], transformations: Sequence[Transformation], unpromised: Collection[str] = ()
) -> Iterator[Checked]:
    for name in names:
        if name in unpromised:
            yield Checked(name, skipped="it does not declare this law")
            continue
        try:
            yield _KNOWN[name](case)
        except ExecutionError as err:
            yield Checked(name, skipped=str(err))
    for transformation in transformations:
        try:
            yield commutes(case, transformation)
        except ExecutionError as err:
            yield Checked(f"commutes-with-{transformation.name}", skipped=str(err))


def _sources(
    subject: Subject,
    models: SearchStrategy[ModelLike] | SearchStrategy[GeneratedModel] | None,
    count: int,
) -> Iterator[tuple[str, SearchStrategy[ModelLike] | SearchStrategy[GeneratedModel], int]]:
    """Strategies with names and numbers of models."""
    if models is not None:
        yield "models", models, count
        return
    from graphopt.testing import strategies  # lazily: takes long, and is not needed with models of one's own

    share = max(count // (4 * max(len(subject.rules), 1)), _LEAST)
    for rule in subject.rules:
        matching = one_of(strategies.graphs_matching(rule, applies=True), strategies.graphs_matching(rule))
        yield f"matching {rule.name}", matching, share
        yield f"near misses of {rule.name}", strategies.near_misses(rule), share
    yield "models", strategies.models(), max(count // 2, 1)


def _require(subject: Subject, report: CheckReport, required: bool | Collection[str]) -> None:
    if required is False:
        return
    wanted = [rule.name for rule in subject.rules] if required is True else list(required)
    missing = [name for name in wanted if not report.rewrites[name]]
    drawn = sum(report.examples.values())
    if missing:
        why = "; ".join(f"{name}: {_top(report.reasons.get(name))}" for name in missing)
        raise AssertionError(
            f"{subject.name}: {len(missing)} of {len(wanted)} rules never applied to any of {drawn} models, so nothing is proved about "
            f"them. Most frequent reasons: {why}. Pass models= that contain what they look for, more max_examples=, or "
            "require_rewrites= with the rules that must apply"
        )
    if not wanted and required is True and not report.changed:
        raise AssertionError(
            f"{subject.name}: changed none of {drawn} models, so nothing is proved about it. Pass models= that contain what it looks "
            "for, more max_examples=, or require_rewrites=False"
        )


def _top(reasons: Counter[str] | None, most: int = 3) -> str:
    if not reasons:
        return "no model had the operator that it begins at"
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(most))
