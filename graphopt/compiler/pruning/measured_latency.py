"""Channels taken away until a model takes a stated part of its time: estimates first, then measured in the runtime and corrected.

The pass works with estimated times; what it takes for a part of the time is measured beside the whole model, in turns, and the estimate
is asked for less or more by what was found, as the regula falsi does, until the measured part is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphopt.compiler.pruning.steps import Steps
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.errors import PruningError

__all__ = ["LatencyTrial", "prune_to_latency"]

_MOST_TRIALS: Final = 7
#: The measured part may be below the stated one by this, as measurements go.
_CLOSE: Final = 0.03
_LEAST, _MOST = 0.03, 0.99


@dataclass(frozen=True)
class LatencyTrial:
    """A model that was measured.

    Attributes:
        estimate: part of the estimated time that was asked for.
        measured: part of the time that it takes.
    """

    estimate: float
    measured: float


def prune_to_latency(trials: Trials, steps: Steps) -> tuple[Trial, list[LatencyTrial]]:
    """The model of which least goes so that it takes the stated part of the time at most, and all that was measured.

    Args:
        trials: makes and measures.
        steps: make pipelines; their amount is of ``latency``.

    Raises:
        PruningError: if no model takes so little time.
    """
    target = steps.amount.value
    low, high = (_LEAST, 0.0), (_MOST, 1.0)  # estimate and measured part: below the target, above it
    tried: list[LatencyTrial] = []
    best: Trial | None = None
    found = -1.0
    estimate, reason = target, ""
    for _ in range(_MOST_TRIALS):
        trial = trials.prune(f"latency, trial {len(tried) + 1}", steps.stated(estimate))
        if trial.model is None:  # so little can't be left
            reason, low = trial.reason, (estimate, low[1])
            if best is not None or high[0] - low[0] < _CLOSE / 2:
                break
            estimate = (low[0] + high[0]) / 2
            continue
        measured = trials.measure(trial) or 1.0
        tried.append(LatencyTrial(estimate, measured))
        if measured <= target:
            if measured > found:
                best, found = trial, measured
            low = (estimate, measured)
        else:
            high = (estimate, measured)
        if target - _CLOSE <= measured <= target or high[0] - low[0] < _CLOSE / 4:
            break
        part = (target - _CLOSE / 2 - low[1]) / max(high[1] - low[1], 1e-6)
        estimate = low[0] + (high[0] - low[0]) * min(max(part, 0.1), 0.9)
    if best is None:
        least = min((item.measured for item in tried), default=1.0)
        raise PruningError(
            f"latency is {target:g}, and {least:.2f} is the least that was measured{f' ({reason})' if reason and not tried else ''}; "
            "ask for more than that, or give a smaller round_to"
        )
    return best, tried
