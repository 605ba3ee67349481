"""Ways to make a failing model smaller, one idea a module; :func:`default_shrinkers` has all of them in a good order."""

from __future__ import annotations

from graphopt.verify.reduction.search import Shrinker
from graphopt.verify.reduction.shrinkers.bypass import BypassNodes, BypassNodesInside
from graphopt.verify.reduction.shrinkers.cut import CutNodes, CutToConstants
from graphopt.verify.reduction.shrinkers.drop import DropDeadNodes, DropNotes, DropOutputs, DropSamples, DropUnused
from graphopt.verify.reduction.shrinkers.flow import FlattenIf, FlattenLoop, InlineCalls
from graphopt.verify.reduction.shrinkers.numbers import SimplifyInputs, SimplifyWeights
from graphopt.verify.reduction.shrinkers.sizes import FixSizes, ShrinkSizes

__all__ = [
    "BypassNodes",
    "BypassNodesInside",
    "CutNodes",
    "CutToConstants",
    "DropDeadNodes",
    "DropNotes",
    "DropOutputs",
    "DropSamples",
    "DropUnused",
    "FixSizes",
    "FlattenIf",
    "FlattenLoop",
    "InlineCalls",
    "ShrinkSizes",
    "SimplifyInputs",
    "SimplifyWeights",
    "default_shrinkers",
]


def default_shrinkers() -> tuple[Shrinker, ...]:
    """All shrinkers: those that take away most come first.

    Example:
        >>> [shrinker.name for shrinker in default_shrinkers()][:3]
        ['drop samples', 'drop outputs', 'cut to inputs']
    """
    return (
        DropSamples(),
        DropOutputs(),
        CutNodes(),
        DropDeadNodes(),
        BypassNodes(),
        CutToConstants(),
        FlattenIf(),
        FlattenLoop(),
        InlineCalls(),
        BypassNodesInside(),
        DropUnused(),
        DropNotes(),
        FixSizes(),
        ShrinkSizes(),
        SimplifyWeights(),
        SimplifyInputs(),
    )
