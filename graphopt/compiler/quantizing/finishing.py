"""What was chosen is made once more, with ranges from all of the data: what was held out to judge on would be missing in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from graphopt.compiler.quantizing.candidates import Trials
from graphopt.compiler.quantizing.examples import Split
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.task import Task
from graphopt.ir import Model

__all__ = ["finish"]

_SQNR: Final = "sqnr"
#: Wider ranges may cost so much of the examples that were there before, in dB.
_MOST_LOST: Final = 1.0


def finish(task: Task, found: Found, split: Split, everything: Callable[[Model], Trials]) -> None:
    """Note the chosen candidate as it is when nothing is held out from it, unless that is worse.

    Its metrics stay those from before: judged on examples that nothing was made of.

    Args:
        task: the search.
        found: what it has found.
        split: the data.
        everything: makes trials that look at all of the data.
    """
    best = found.candidate
    if best is None or best.made is None or not task.has_data or not split.every:
        return
    if not best.plan.layers("static") and not best.settings.looks_at_data:
        return
    trials = everything(found.model if found.model is not None else task.trials.model)
    made = trials.make(best.name, best.plan, best.settings, note=False)
    values = trials.judge(made)
    value = values.get(task.budget.kind.name)
    if value is None or values[_SQNR] < best.values[_SQNR] - _MOST_LOST:
        return
    if task.holds(best) and not task.budget.holds(value):
        return
    kept = replace(best, made=made.made)
    found.candidate = kept
    found.candidates = [kept if item is best else item for item in found.candidates]
