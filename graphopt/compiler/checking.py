"""The check at the end: original and result run side by side, in a child process; on failure the rewrite at fault is found and left out."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from graphopt.backends.onnx.files import save
from graphopt.compiler.compilation import Compilation
from graphopt.compiler.request import CheckRequest
from graphopt.compiler.result import OptimizeReport
from graphopt.errors import ExecutionError, GraphoptError, VerificationError
from graphopt.ir import Model
from graphopt.numerics import Numerics
from graphopt.passes import PipelineReport
from graphopt.rewriting import Application, Applications
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import Worker, shared_worker
from graphopt.verify import Verdict, repair

if TYPE_CHECKING:
    from graphopt.verify import Expectation

__all__ = ["Checker", "check_result"]

logger = logging.getLogger(__name__)

_BINARY_SUFFIXES = (".onnx", ".ort", ".pb", ".model", "")


class Checker:
    """Compares models with one original. Use it in a ``with`` statement: it has temporary files and a place in a child process.

    Models run in the child, so that a crash of a runtime is an error and not the end of this process; only operators of plugins that
    have kernels in Python are run here.

    Args:
        work: how the original is read.
        request: inputs and seed.
    """

    def __init__(self, work: Compilation, request: CheckRequest) -> None:
        self._work = work
        self._request = request
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-check-", ignore_cleanup_errors=True)
        self._handle: int | None = None
        self._worker: Worker | None = None
        self._here: Expectation | None = None
        self.original = self._original()

    def _original(self) -> str:
        """A file with the original."""
        source = self._work.source
        if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in _BINARY_SUFFIXES:
            return os.path.abspath(source)
        place = os.path.join(self._folder.name, "original.onnx")
        if isinstance(source, bytes | bytearray | memoryview):
            Path(place).write_bytes(source)
        else:
            save(self._work.lift(), place)
        return place

    def check(self, model: Model, numerics: Numerics) -> Verdict:
        """The verdict on a legalized model.

        Raises:
            ExecutionError: if the original crashes its runtime, or the inputs that were brought don't fit.
        """
        place = os.path.join(self._folder.name, "result.onnx")
        save(model, place, force=True)
        if self._work.environment.kernels:
            if self._here is None:
                self._here = self._expect()
            return self._here.check(place, numerics)
        if self._worker is None or not self._worker.alive or self._handle is None:
            self._worker = shared_worker()
            arguments = (self.original, self._inputs(), self._request.seed)
            self._handle = self._worker.create(expect_file, *arguments)
        try:
            return cast("Verdict", self._worker.invoke(self._handle, "check", place, numerics))
        except ExecutionError as err:
            if self._worker.alive:
                raise
            return Verdict("failed", f"the result crashes its runtime: {err}", str(numerics))

    def _expect(self) -> Expectation:
        from graphopt.verify import CheckOptions, expect  # lazily: imports ONNX Runtime

        options = CheckOptions(seed=self._request.seed, kernels=self._work.environment.kernels)
        return expect(self.original, inputs=self._inputs(), options=options)

    def _inputs(self) -> str | Feeds | None:
        inputs = self._request.inputs
        if isinstance(inputs, str | os.PathLike):
            return os.path.abspath(inputs)
        return cast("Feeds | None", inputs)

    @property
    def result(self) -> str:
        """The file of the model that was checked last."""
        return os.path.join(self._folder.name, "result.onnx")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None and self._handle is not None and self._worker.alive and error is None:
            self._worker.release(self._handle)
        self._folder.cleanup()


def expect_file(path: str, inputs: str | Feeds | None, seed: int) -> Expectation:
    """What :func:`graphopt.verify.expect` gives, with arguments that travel to a child process."""
    from graphopt.verify import CheckOptions, expect  # lazily: imports ONNX Runtime, which the parent does without

    return expect(path, inputs=inputs, options=CheckOptions(seed=seed))


def check_result(
    work: Compilation, model: Model, made: PipelineReport, report: OptimizeReport, request: CheckRequest
) -> Model:
    """A model that passes the check: the one that was made, or one without the rewrites that are at fault.

    Args:
        work: makes the model again, with fewer rewrites.
        model: what was made.
        made: how.
        report: is told the verdict and what was left out.
        request: inputs and seed.

    Raises:
        VerificationError: if no such model is found, or nothing can be told.
    """
    work.progress("check")
    with work.timed("check"), Checker(work, request) as checker:
        report.verdict = verdict = checker.check(model, made.numerics)
        if verdict.ok:
            return model
        if verdict.status == "inconclusive":
            _accept_inconclusive(verdict, report, changed=made.changed)
            return model
        return _repaired(work, checker, made, report, request)


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


def _repaired(
    work: Compilation, checker: Checker, made: PipelineReport, report: OptimizeReport, request: CheckRequest
) -> Model:
    logger.warning("the check failed: %s; looking for the rewrite at fault", report.verdict and report.verdict.reason)
    work.progress("find the rewrite at fault")
    first = report.verdict
    assert first is not None, "a failed check has a verdict"
    verdicts: list[Verdict] = []
    reports: list[PipelineReport] = []

    def run(applications: Applications) -> Model:
        model = work.lift()
        reports.append(work.run(model, applications, ()))
        return model

    def is_right(model: Model) -> bool:
        verdicts.append(checker.check(model, reports[-1].numerics))
        return verdicts[-1].status != "failed"

    fixed = repair(run, is_right)
    culprits = [culprit.application for culprit in fixed.culprits if culprit.application is not None]
    _write_reproducer(checker, report, request, first, culprits[0] if culprits else None)
    if not fixed.ok:
        reason = str(fixed.culprits[-1]) if fixed.culprits else "no rewrite is at fault"
        raise VerificationError(
            f"the result differs from the original: {first.reason}; {reason}; nothing was written{_where(report)}"
        )
    report.verdict = verdicts[-1]
    report.passes = reports[-1].records
    report.skipped = [str(application) for application in culprits]
    for application in culprits:
        report.notes.append(f"left out, because the check failed with it: {application}{_where(report)}")
    if report.verdict.status == "inconclusive":
        _accept_inconclusive(report.verdict, report, changed=True)
    return fixed.result


def _where(report: OptimizeReport) -> str:
    return f" (to see it again: {report.reproducer})" if report.reproducer else ""


def _write_reproducer(
    checker: Checker, report: OptimizeReport, request: CheckRequest, verdict: Verdict, application: Application | None
) -> None:
    if request.reproducer is None:
        return
    from graphopt.verify import write_reproducer  # lazily: imports ONNX Runtime

    try:
        written = write_reproducer(
            request.reproducer,
            original=checker.original,
            optimized=None,
            verdict=verdict,
            pipeline=report.pipeline,
            application=application,
            options={"--target": report.target, "--seed": str(request.seed)},
        )
        report.reproducer = str(written.folder)
    except GraphoptError as err:  # a failure to write about a failure must not hide it
        report.notes.append(f"no reproducer: {err}")
