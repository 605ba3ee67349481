"""What became of one run: right, or which of the ways to fail."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Attempt
from graphopt.errors import GraphoptError
from graphopt.numerics import Numerics
from graphopt.verify.verdict import FailureKind, Verdict

__all__ = ["Outcome", "judge"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run.

    Attributes:
        kind: how it failed, ``None`` when it did not.
        reason: in a line; of a run that did not fail, why that says little.
        verdict: on the numbers, ``None`` when they were not looked at.
        rule: the rule that raised an exception.
        node: the node at which it did, by its first output.
        pass_name: the pass that raised it.
    """

    kind: FailureKind | None = None
    reason: str = ""
    verdict: Verdict | None = None
    rule: str = ""
    node: str = ""
    pass_name: str = ""

    @property
    def seen(self) -> bool:
        """Whether the result was seen to run."""
        return self.verdict is not None and bool(self.verdict.samples)


def judge(attempt: Attempt, checker: Checker, numerics: Numerics, *, strict: bool = False) -> Outcome:
    """What became of a run.

    Args:
        attempt: the run.
        checker: compares with the original.
        numerics: what may differ.
        strict: whether the model must pass ``onnx.checker`` too, if the original does.
    """
    error = attempt.error
    if error is not None:
        text = str(error) if isinstance(error, GraphoptError) else f"{type(error).__name__}: {error}"
        if attempt.stage == "passes":
            known = error if isinstance(error, GraphoptError) else GraphoptError()
            return Outcome("exception", text, None, known.rule, known.node, known.pass_name)
        where = "the passes left a broken graph" if attempt.stage == "graph" else "the result can't be made ready"
        return Outcome("invalid-model", f"{where}: {text}")
    assert attempt.model is not None, "there is a model when nothing went wrong"
    problem = checker.problem(attempt.model) if strict else ""
    if problem:
        return Outcome("invalid-model", f"onnx.checker refuses the result: {problem}")
    verdict = checker.check(attempt.model, numerics)
    if verdict.status != "failed":
        return Outcome(None, verdict.reason, verdict)
    return Outcome(verdict.failure or "wrong-numbers", verdict.reason, verdict)
