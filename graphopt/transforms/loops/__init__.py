"""Loops that do less in each turn, or are no loops any more."""

from __future__ import annotations

from graphopt.transforms.loops.hoisting import HoistLoopInvariants
from graphopt.transforms.loops.unrolling import UnrollLoops

__all__ = ["HoistLoopInvariants", "UnrollLoops"]
