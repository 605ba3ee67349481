"""Of candidates that are faster than floats the fastest that is accurate enough.

In order of speed each is made more accurate. Those that are accurate enough then are measured once more, for longer; of those that are
not, the worst layers go back to floats, if there is anything to gain by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.sensitivity import Repair
from graphopt.compiler.quantizing.task import Improved, Task
from graphopt.errors import QuantizationError

__all__ = ["settle"]

#: So many candidates, the fastest, are made more accurate.
_MOST_IMPROVED: Final = 4
#: What is not accurate enough must be faster by so much than what is, for it is slower with layers in floats.
_WORTH_REPAIR: Final = 1.15


def settle(task: Task, found: Found, viable: Sequence[Candidate]) -> Improved | None:
    """Note the best of some candidates, if one is accurate enough.

    Args:
        task: the search.
        found: what is known so far.
        viable: candidates that are faster than floats, the fastest first.

    Returns:
        The trials that made it.

    Raises:
        QuantizationError: if a budget is asked for, and none can meet it.
    """
    chosen = _Choice(task, found)
    short: list[tuple[Candidate, Improved, Candidate]] = []
    for item in viable[:_MOST_IMPROVED]:
        if not chosen.may_gain(item, 1.0):
            break
        better = task.improved(item.plan)
        made = better.trials.make(item.name, item.plan, better.settings, note=False, quick=True)
        item.values = dict(better.trials.judge(made))
        if not made.values:
            item.outcome, item.reason = made.outcome, made.reason
        elif task.holds(made):
            chosen.consider(made, better, item)
        else:
            item.outcome = "not accurate enough"
            short.append((item, better, made))
    last: Repair | None = None
    for item, better, made in short:
        if not chosen.may_gain(item, _WORTH_REPAIR):
            continue
        last = task.repaired(better.trials, made, found)
        if last.candidate is not None and last.candidate.plan.quantized:
            last.candidate.name = f"{item.name}, worst layers in floats"
            found.candidates.append(last.candidate)
            chosen.consider(last.candidate, better, None, last)
    found.candidate = chosen.best
    if chosen.best is None:
        if task.budget.stated and last is not None and (last.candidate is None or not last.candidate.plan.quantized):
            found.note(last)
            raise QuantizationError(task.unmet(viable[0], last))
        found.reason = (
            "what is faster than floats is not accurate enough"
            if last is not None
            else "what seemed faster than floats was not when it was measured again"
        )
    return chosen.better


class _Choice:
    """The best so far, and the trials that made it."""

    def __init__(self, task: Task, found: Found) -> None:
        self._task, self._found = task, found
        self.best: Candidate | None = None
        self.better: Improved | None = None

    def may_gain(self, item: Candidate, factor: float) -> bool:
        """Whether a candidate is so much faster than the best."""
        return self.best is None or (self.best.speedup or 0.0) * factor < (item.speedup or 0.0)

    def consider(self, made: Candidate, better: Improved, item: Candidate | None, fixed: Repair | None = None) -> None:
        """Measure a candidate once more, for longer, and take it if it is the fastest."""
        better.trials.measure(made, factor=2.0, drop=False)
        if not made.is_faster or not self.may_gain(made, 1.0):
            return
        self._task.adopt(better, self._found)
        self.best, self.better = made, better
        found = self._found
        if item is not None:  # made once more, with passes for accuracy: it stands in the place of the first
            found.candidates[found.candidates.index(item)] = made
        found.note(fixed)
