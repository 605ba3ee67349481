"""Makes a model that shows a failure as small as possible, so that a person can see what is wrong.

Delta debugging on the IR: :class:`Search` keeps the smallest :class:`Case` so far, shrinkers offer smaller ones, and a check tells
whether they fail in the same way. Anybody may bring shrinkers and checks; see :class:`Shrinker` and :data:`Check`.
"""

from __future__ import annotations

from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.chunks import minimize, simplify
from graphopt.verify.reduction.command import CommandCheck
from graphopt.verify.reduction.recorder import Recorder
from graphopt.verify.reduction.result import Reduction
from graphopt.verify.reduction.search import Check, Search, Shrinker, Step, run_shrinkers
from graphopt.verify.reduction.shrinkers import default_shrinkers

__all__ = [
    "Case",
    "Check",
    "CommandCheck",
    "Recorder",
    "Reduction",
    "Search",
    "Shrinker",
    "Step",
    "default_shrinkers",
    "minimize",
    "run_shrinkers",
    "simplify",
]
