"""The fusibility guard: a rewrite that leaves ONNX Runtime less to fuse is found and left out.

ONNX Runtime has an optimizer of its own, which looks for certain forms. The graphs that it makes of the original and of the result are
compared (:mod:`graphopt.compiler.kernel_families`); if it fuses less, the pipeline is bisected, as for a wrong result. The rule at fault is
left out, unless the model has more to compute without it. Two sessions are made in a child process and nothing is run; see decision 0013.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Final

from graphopt.analysis.cost import cost_of_graph
from graphopt.backends.onnx.files import save
from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Attempt, Compilation
from graphopt.compiler.judging import Outcome
from graphopt.compiler.kernel_families import Fusibility
from graphopt.compiler.request import CheckRequest
from graphopt.compiler.result import OptimizeReport
from graphopt.compiler.searching import Search
from graphopt.errors import GraphoptError
from graphopt.ir import Model, SymbolicDim
from graphopt.numerics import Numerics, Reassociates
from graphopt.rewriting import EVERYWHERE, Applications
from graphopt.runtime.fused_kernels import kernel_counts
from graphopt.runtime.isolation import shared_worker

__all__ = ["guard_fusibility"]

logger = logging.getLogger(__name__)

#: Targets whose optimizer is asked.
_TARGETS: Final = frozenset({"onnxruntime", "onnxruntime-cpu"})
#: Larger models are not looked at: their sessions take long, and twice their memory.
_MOST_BYTES: Final = 1 << 30
_MOST_NODES: Final = 20_000
_MOST_CULPRITS: Final = 3
#: What saves that part of all operations may cost kernels.
_WORTH: Final = 0.1
#: Number for each dynamic size, where operations are compared.
_SIZE: Final = 512
_SECONDS: Final = 300.0


def guard_fusibility(work: Compilation, first: Attempt, report: OptimizeReport, request: CheckRequest) -> Attempt:
    """The result, made again without what lets ONNX Runtime fuse less.

    Only results that were rounded in another order are looked at: rewrites that keep every bit are what ONNX Runtime does itself.

    Args:
        work: makes the model again; what is at fault is refused in all its later runs, too.
        first: what was made.
        report: is told the counts and what was left out.
        request: how the result will be checked.
    """
    if first.model is None or first.report is None or not isinstance(first.numerics, Reassociates):
        return first
    if work.target not in _TARGETS:
        return first
    if first.model.constant_bytes > _MOST_BYTES or first.report.nodes_before > _MOST_NODES:
        report.notes.append("too large to ask ONNX Runtime what it fuses")
        return first
    work.progress("count fused kernels")
    with work.timed("fusibility"), Checker(work, request) as checker:
        try:
            guard = _Guard(work, checker)
            return guard.guarded(first, report)
        except GraphoptError as err:  # a model that ONNX Runtime does not load is the check's to judge
            logger.debug("fused kernels can't be counted: %s", err)
            return first


class _Guard:
    """Counts kernels, and finds what costs some."""

    def __init__(self, work: Compilation, checker: Checker) -> None:
        self.work = work
        self.place = os.path.join(os.path.dirname(checker.result), "fused.onnx")
        self.before = shared_worker().call(kernel_counts, checker.original, timeout=_SECONDS)

    def counted(self, model: Model) -> Fusibility:
        """ONNX Runtime's kernels for the original and a legalized model."""
        save(model, self.place, force=True)
        return Fusibility(self.before, shared_worker().call(kernel_counts, self.place, timeout=_SECONDS))

    def judge(self, attempt: Attempt, numerics: Numerics) -> Outcome:
        """What is lost, as the reason of a run that did not fail."""
        if attempt.model is None:
            return Outcome()
        try:
            return Outcome(reason="; ".join(self.counted(attempt.model).lost()))
        except GraphoptError:  # a part of a pipeline may leave what does not load
            return Outcome()

    def guarded(self, first: Attempt, report: OptimizeReport) -> Attempt:
        """The attempt, or one without the rules at fault."""
        asked = self.work.skip
        attempt, found = first, self.counted(self._model(first))
        undone: list[str] = []
        kept: list[str] = []
        while found.lost() and len(undone) + len(kept) < _MOST_CULPRITS:
            reason = "; ".join(found.lost())
            logger.warning("ONNX Runtime fuses less: %s; looking for what is at fault", reason)
            rule = self.culprit()
            if rule is None:
                report.notes.append(f"ONNX Runtime fuses less: {reason}; no single rule is at fault")
                break
            self.work.skip |= {(rule, EVERYWHERE)}
            without = self.work.attempt(Applications())
            saved = _saved(self._model(without), self._model(attempt))
            if saved >= _WORTH:
                kept.append(rule)
                report.notes.append(
                    f"ONNX Runtime fuses less with {rule} ({reason}), which saves {saved:.0%} of the work"
                )
            else:
                undone.append(rule)
                report.notes.append(f"left out, because ONNX Runtime fuses less with it ({reason}): {rule}")
            attempt, found = without, self.counted(self._model(without))
        self.work.skip = asked | {(rule, EVERYWHERE) for rule in undone}
        if not undone:
            attempt = first
        elif kept:
            attempt = self.work.attempt(Applications())
        if kept:
            found = self.counted(self._model(attempt))
        if attempt is not first and attempt.report is not None:
            report.passes = attempt.report.records
        report.skipped += undone
        report.fusibility = replace(found, undone=tuple(undone), kept=tuple(kept))
        return attempt

    def culprit(self) -> str | None:
        """The rule, or the pass without rules, after which something is lost; ``None`` when none is found."""
        search = Search(self.work, self.judge, is_failure=lambda outcome: bool(outcome.reason))
        found = search.find()
        skip = None if found is None else found.skip
        return None if skip is None else skip[0]

    @staticmethod
    def _model(attempt: Attempt) -> Model:
        if attempt.model is None:
            raise attempt.error or GraphoptError("no model was made")
        return attempt.model


def _saved(without: Model, with_rule: Model) -> float:
    """The part of all operations that a rule saves."""
    more, fewer = _operations(without), _operations(with_rule)
    return 1 - fewer / more if more else 0.0


def _operations(model: Model) -> float:
    """Floating-point operations of one run, all dynamic sizes the same number."""
    flops = cost_of_graph(model).flops
    if isinstance(flops, SymbolicDim):
        return float(flops.evaluate(dict.fromkeys(flops.symbols(), _SIZE)))
    return float(flops or 0)
