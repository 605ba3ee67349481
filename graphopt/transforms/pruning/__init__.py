"""Pruning: weights become zero. Lossy, so these passes run only when they are asked for by name."""

from __future__ import annotations

from graphopt.transforms.pruning.magnitude import PruneMagnitude

__all__ = ["PruneMagnitude"]
