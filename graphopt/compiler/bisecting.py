"""Finds the pass, and then the rewrite in it, that makes a result wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence

from graphopt.compiler.arguments import check_arguments, check_disabled, check_draws, check_tolerance
from graphopt.compiler.bisection import Bisection, Blamed, Measured, PassPlace
from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Attempt, Compilation
from graphopt.compiler.environment import Environment
from graphopt.compiler.judging import Outcome, judge
from graphopt.compiler.owners import owner_of
from graphopt.compiler.reproducing import write_failure
from graphopt.compiler.request import CheckRequest, InputSet
from graphopt.compiler.searching import Found, Search
from graphopt.errors import ExecutionError, PipelineError
from graphopt.ir import Model
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.passes import Fixpoint, Pipeline
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import EVERYWHERE, Edit, EditTrace, Site
from graphopt.verify.reproducer import check_folder
from graphopt.verify.verdict import FAILURE_KINDS, FailureKind

__all__ = ["bisect"]


def bisect(
    source: object,
    *,
    level: str = "O2",
    target: str = "onnxruntime",
    pipeline: Pipeline | str | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    inputs: InputSet | Sequence[InputSet] | None = None,
    samples: int = 4,
    seed: int = 0,
    rtol: float | None = None,
    kind: FailureKind | None = None,
    disabled: Sequence[str] = (),
    reproducer: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> Bisection:
    """Find the first run of a pass, and the rewrite in it, after which a model is wrong.

    A result is wrong when its numbers differ from the original's by more than is allowed, when it is not a valid model (by the verifier
    of the IR, ``onnx.checker``, or because ONNX Runtime does not load or run it), when a pass raises an exception, or when the result
    crashes the runtime (which happens in a child process). Passes run in this process; :func:`graphopt.reduce` is for one that crashes
    it. What is blamed was seen: the result is right up to it and wrong with it. Where a later rewrite makes up for an earlier one, that
    may not be the first that is wrong.

    Args:
        source: as for :func:`graphopt.optimize`.
        level: as for :func:`graphopt.optimize`.
        target: as for :func:`graphopt.optimize`.
        pipeline: as for :func:`graphopt.optimize`.
        options: as for :func:`graphopt.optimize`.
        inputs: an ``.npz`` file, arrays by name, or several of these; drawn by ``seed`` when ``None``.
        samples: how many sets of inputs are drawn, 1000 at most.
        seed: of all random numbers.
        rtol: difference allowed in float32, relative to an output's largest number; what the passes declare when ``None``, none when 0.
        kind: the only kind of failure that counts; any when ``None``.
        disabled: passes or rules to leave out.
        reproducer: folder for what shows the failure again.
        progress: told what is going on, in a few words.
        plugins: where passes, frontends and backends come from.

    Returns:
        What is at fault, or that nothing is wrong.

    Raises:
        ModelError: if the model is broken.
        PipelineError: if a level, pass, rule, option or kind is unknown, or a number is out of range.
        ExecutionError: if the original runs on no inputs, so that nothing can be told, or those that were brought do not fit.
        OutputError: if the reproducer can't be written.

    Example:
        >>> from graphopt.data import digits_model
        >>> bisect(digits_model(), level="O1", samples=1).status
        'right'
    """
    started = time.monotonic()
    check_arguments(
        level=level,
        target=target,
        pipeline=pipeline,
        options=options,
        seed=seed,
        disabled=disabled,
        instrumentations=(),
        bisect_limit=None,
        plugins=plugins,
    )
    if kind is not None and kind not in FAILURE_KINDS:
        raise PipelineError(f"there is no kind of failure {kind!r}; there are: {', '.join(FAILURE_KINDS)}")
    check_draws("samples", samples)
    check_tolerance(rtol)
    if reproducer is not None:
        check_folder(reproducer)
    environment = Environment(plugins)
    refused = check_disabled(environment.plugins, disabled)
    chosen = environment.pipeline(pipeline, level, options, [name for name in disabled if name not in refused])
    skip = frozenset((name, EVERYWHERE) for name in refused)
    work = Compilation(
        source, environment, chosen, target, progress=progress or (lambda text: None), seed=seed, skip=skip
    )
    request = CheckRequest(inputs, seed, samples=samples)
    with Checker(work, request) as checker:
        return _Bisector(work, checker, request, rtol, kind, disabled).run(reproducer, started)


class _Bisector:
    """One bisection."""

    def __init__(
        self,
        work: Compilation,
        checker: Checker,
        request: CheckRequest,
        rtol: float | None,
        kind: FailureKind | None,
        disabled: Sequence[str],
    ) -> None:
        self.work = work
        self.checker = checker
        self.request = request
        self.rtol = rtol
        self.kind = kind
        self.disabled = tuple(disabled)
        self.search = Search(work, self.judge, self.counts, told=work.progress)

    def judge(self, attempt: Attempt, declared: Numerics) -> Outcome:
        """What became of a run, under the tolerance that is asked for."""
        stated: Numerics = declared
        if self.rtol is not None:
            stated = Reassociates(self.rtol) if self.rtol else Exact()
        return judge(attempt, self.checker, stated, strict=True)

    def counts(self, outcome: Outcome) -> bool:
        """Whether an outcome is a failure of the kind that is looked for."""
        return outcome.kind is not None and self.kind in (None, outcome.kind)

    def run(self, reproducer: str | os.PathLike[str] | None, started: float) -> Bisection:
        """Search, look closely at what was found, and write it down."""
        found = self.search.find()
        whole = self.search.trial()
        blamed: Blamed | None = None
        model: Model | None = None
        notes: list[str] = []
        if found is None:
            self._see(whole.outcome)
            notes += [whole.outcome.reason] if whole.outcome.reason else []
        elif found.record is not None:
            blamed, model = self._look(found)
            notes += _doubts(blamed, whole.outcome)
        written = ("", "")
        if found is not None and reproducer is not None:
            made = write_failure(
                reproducer,
                self.work,
                self.checker,
                self.request,
                found.after.outcome,
                found.application,
                result=model,
                rtol=self.rtol,
                disabled=self.disabled,
            )
            written = (str(made.folder), made.command)
        outcome = whole.outcome
        verdicts = (trial.outcome.verdict for trial in (whole, *((found.before,) if found and found.before else ())))
        return Bisection(
            "right" if found is None else "original" if found.record is None else "found",
            self.work.pipeline.to_text(),
            self.work.target,
            Measured.of(outcome.kind, outcome.reason, outcome.verdict),
            blamed,
            len(whole.log),
            len(whole.runs),
            self.search.count,
            self.request.seed,
            max((len(verdict.samples) for verdict in verdicts if verdict is not None), default=0),
            *written,
            tuple(notes),
            time.monotonic() - started,
        )

    def _see(self, outcome: Outcome) -> None:
        """Stop where nothing was run.

        Raises:
            ExecutionError: then.
        """
        if outcome.kind is None and not outcome.seen:
            raise ExecutionError(f"nothing can be told: {outcome.reason}; bring inputs with --inputs")

    def _look(self, found: Found) -> tuple[Blamed, Model | None]:
        """Run up to the culprit once more with eyes open, and the whole pipeline without it."""
        record, application, after = found.record, found.application, found.after
        assert record is not None, "a pass is at fault"
        assert found.before is not None, "the result was right before it"
        raised = after.outcome.kind == "exception"
        edit, model = (None, None) if raised else self._traced(found)
        assert found.skip is not None, "a pass is at fault"
        alone = self._is_right_without(found.skip)
        rule_alone = alone or (found.skip[1] != EVERYWHERE and self._is_right_without((found.skip[0], EVERYWHERE)))
        numbered = application is not None and bool(application.site)
        place = _place(self.work.pipeline, self.search.trial(found.run - 1).next)
        runs = len(self.search.trial().runs)
        kind = after.outcome.kind
        assert kind is not None, "it fails"
        blamed = Blamed(
            kind,
            "rewrite" if numbered else "pass",
            record.name,
            PassPlace(found.run, runs, *place, record.text),
            owner_of(self.work, record.name),
            None if application is None else application.number,
            record.name if application is None else application.rule,
            "" if application is None else application.site,
            () if edit is None else edit.removed,
            () if edit is None else edit.added,
            () if edit is None else edit.changed,
            () if edit is None else edit.origins,
            before=_measured(found.before.outcome),
            after=_measured(after.outcome),
            alone=alone,
            rule_alone=rule_alone,
        )
        return blamed, model

    def _is_right_without(self, left_out: Site) -> bool:
        """Whether the whole pipeline is right when something is left out."""
        search = Search(self.work, self.judge, self.counts, frozenset({left_out}), self.work.progress)
        right = not search.fails(search.trial())
        self.search.count += search.count
        return right

    def _traced(self, found: Found) -> tuple[Edit | None, Model | None]:
        """What the culprit touched, and the first wrong model."""
        record, application = found.record, found.application
        assert record is not None
        first = application.number if application is not None else len(found.before.log) + 1 if found.before else 1
        trace = EditTrace(first)
        self.work.trace = lambda: trace
        try:
            _trial, attempt = self.search.run(found.run, None if application is None else application.number)
        finally:
            self.work.trace = None
        return (trace.edits[0] if trace.edits else None), attempt.model


def _measured(outcome: Outcome) -> Measured:
    return Measured.of(outcome.kind, outcome.reason, outcome.verdict)


def _place(pipeline: Pipeline, path: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Positions and rounds, from the numbers of records: those of a group's members go on from round to round."""
    items, index, rounds = pipeline.items, [], []
    for depth, number in enumerate(path):
        position = (number - 1) % len(items)
        if depth:
            rounds.append(1 + (number - 1) // len(items))
        index.append(position + 1)
        item = items[position]
        items = item.items if isinstance(item, Fixpoint) else items
    return tuple(index), tuple(rounds)


def _doubts(blamed: Blamed, whole: Outcome) -> list[str]:
    """What the search does not prove."""
    notes = []
    if not blamed.rule_alone:
        notes.append(f"something else is wrong, too: bisect again with --disable {blamed.rule}")
    if whole.kind != blamed.kind:
        notes.append(f"the whole pipeline fails in another way: {whole.kind}: {whole.reason}")
    return notes
