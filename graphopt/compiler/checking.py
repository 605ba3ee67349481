"""The check at the end: original and result run side by side; on failure what is at fault is found and left out."""

from __future__ import annotations

import logging

from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Attempt, Compilation
from graphopt.compiler.judging import Outcome, judge
from graphopt.compiler.owners import owner_of
from graphopt.compiler.request import CheckRequest
from graphopt.compiler.result import OptimizeReport
from graphopt.compiler.searching import Search
from graphopt.errors import GraphoptError, VerificationError
from graphopt.ir import Model
from graphopt.numerics import Numerics
from graphopt.rewriting import EVERYWHERE, Application, Applications, Site
from graphopt.verify import Culprit, Verdict, repair
from graphopt.verify.reproducer_record import RECORD_NAME

__all__ = ["check_result"]

logger = logging.getLogger(__name__)


def check_result(work: Compilation, first: Attempt, report: OptimizeReport, request: CheckRequest) -> Model:
    """A model that passes the check: the one that was made, or one without what is at fault.

    An exception in a pass or rule of a plugin is such a fault; one in graphopt's own is an error.

    Args:
        work: makes the model again, with fewer rewrites.
        first: what was made.
        report: is told the verdict and what was left out.
        request: inputs and seed.

    Raises:
        GraphoptError: if the model can't be made, and no plugin is at fault.
        VerificationError: if no model that passes is found, or nothing can be told.
    """
    strangers = any(owner_of(work, item.name) for item in work.pipeline.passes())
    if first.error is not None and first.stage == "passes" and not strangers:
        raise first.error
    work.progress("check")
    with work.timed("check"), Checker(work, request) as checker:
        outcome = judge(first, checker, first.numerics)
        report.verdict = outcome.verdict
        if checker.note:
            report.notes.append(checker.note)
        if outcome.kind is not None:
            return _Healing(work, checker, first, report, request).heal(outcome)
        assert first.model is not None, "nothing went wrong"
        if outcome.verdict is not None and outcome.verdict.status == "inconclusive":
            assert first.report is not None, "nothing went wrong"
            _accept_inconclusive(outcome.verdict, report, changed=first.report.changed)
        return first.model


def _accept_inconclusive(verdict: Verdict, report: OptimizeReport, *, changed: bool) -> None:
    """Go on with a note where both models ran and agreed, though on numbers that say little (NaN, say); stop where nothing ran.

    Raises:
        VerificationError: if a changed model was never seen to run.
    """
    if verdict.samples:
        report.notes.append(f"the check says little: both models agree, but {verdict.reason}")
        return
    if not changed:
        report.notes.append("the check could not run the model, but nothing was changed either")
        return
    raise VerificationError(
        f"the result can't be checked: {verdict.reason}; give inputs with --inputs, or write it unchecked with --no-check"
    )


class _Healing:
    """Makes the model again and again, each time without one more thing that is at fault."""

    def __init__(
        self,
        work: Compilation,
        checker: Checker,
        first: Attempt,
        report: OptimizeReport,
        request: CheckRequest,
    ) -> None:
        self.work = work
        self.checker = checker
        self.first = first
        self.report = report
        self.request = request
        self.last: Outcome | None = None
        self.seen: Outcome | None = None

    def heal(self, failure: Outcome) -> Model:
        """A model that passes.

        Raises:
            VerificationError: if there is none.
        """
        logger.warning("the result fails: %s; looking for what is at fault", failure.reason)
        self.work.progress("find what is at fault")
        fixed = repair(self.attempt, self.is_right, find=self.find)
        self._write_reproducer(self.seen or failure, next((found.application for found in fixed.culprits), None))
        attempt = fixed.result
        if not fixed.ok or attempt.model is None or attempt.report is None or self.last is None:
            if self.first.error is not None and not any(found.application for found in fixed.culprits):
                raise self.first.error  # fails without any rewrite, too
            raise VerificationError(self._why_not(failure, fixed.culprits))
        report = self.report
        report.verdict, report.passes = self.last.verdict, attempt.report.records
        report.skipped = [self._named(found) for found in fixed.culprits]
        for found in fixed.culprits:
            report.notes.append(f"left out, because {found.reason}: {self._named(found)}{_where(report)}")
        if report.verdict is not None and report.verdict.status == "inconclusive":
            _accept_inconclusive(report.verdict, report, changed=True)
        return attempt.model

    def attempt(self, applications: Applications) -> Attempt:
        """The model, with fewer rewrites."""
        return self.work.attempt(applications)

    def is_right(self, attempt: Attempt) -> bool:
        """Whether a model passes."""
        self.last = judge(attempt, self.checker, attempt.numerics)
        return self.last.kind is None

    def find(self, attempt: Attempt, skip: frozenset[Site]) -> Culprit:
        """What is at fault."""
        search = Search(self.work, self._judge, skip=skip)
        found = search.find()
        if found is None:
            return Culprit(None, search.count, "the failure did not show again")
        if found.record is None:
            reason = "the result is wrong before the first rewrite: reading or writing the model is at fault"
            return Culprit(None, search.count, reason)
        outcome = found.after.outcome
        self.seen = self.seen or outcome
        raised = outcome.kind == "exception"
        if raised and attempt.error is not None and not owner_of(self.work, found.record.name):
            raise attempt.error  # a bug of graphopt's own
        reason = f"it failed ({outcome.reason})" if raised else "the check failed with it"
        application = found.application
        if application is None:
            application = Application(len(found.after.log), found.record.name, found.record.name, EVERYWHERE)
        return Culprit(application, search.count, reason, everywhere=found.everywhere)

    def _judge(self, attempt: Attempt, numerics: Numerics) -> Outcome:
        return judge(attempt, self.checker, numerics)

    def _named(self, culprit: Culprit) -> str:
        application = culprit.application
        assert application is not None, "what was left out is known"
        owner = owner_of(self.work, application.pass_name)
        pass_text = f"pass {application.pass_name}" + (f" of plugin {owner!r}" if owner else "")
        if application.rule == application.pass_name and culprit.everywhere:
            return pass_text
        site = f" at {application.site!r}" if application.site else ""
        whole = ", and all other places" if culprit.everywhere else ""
        return f"#{application.number} {application.rule}{site}{whole} ({pass_text})"

    def _why_not(self, failure: Outcome, culprits: tuple[Culprit, ...]) -> str:
        last = culprits[-1] if culprits else None
        what = (
            "no rewrite is at fault" if last is None else last.reason if last.application is None else self._named(last)
        )
        said = (
            "the result differs from the original"
            if failure.kind == "wrong-numbers"
            else f"the result fails ({failure.kind})"
        )
        return f"{said}: {failure.reason}; {what}; nothing was written{_where(self.report)}"

    def _write_reproducer(self, failure: Outcome, application: Application | None) -> None:
        folder = self.request.reproducer
        if folder is None:
            return
        if (
            failure.kind == "exception" and (folder / RECORD_NAME).exists()
        ):  # written when the pass failed, by who watches passes
            self.report.reproducer = str(folder)
            return
        from graphopt.compiler.reproducing import write_failure  # lazily: imports ONNX Runtime

        try:
            written = write_failure(
                folder,
                self.work,
                self.checker,
                self.request,
                failure,
                application,
                disabled=self.request.disabled,
            )
            self.report.reproducer = str(written.folder)
        except GraphoptError as err:  # a failure to write about a failure must not hide it
            self.report.notes.append(f"no reproducer: {err}")


def _where(report: OptimizeReport) -> str:
    return f" (to see it again: graphopt replay {report.reproducer})" if report.reproducer else ""
