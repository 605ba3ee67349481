"""Quantization: how the ranges of tensors are found."""

from __future__ import annotations

from graphopt.transforms.quantization.calibrators import MinMax

__all__ = ["MinMax"]
