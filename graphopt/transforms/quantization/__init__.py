"""Quantization: how the ranges of tensors are found."""

from __future__ import annotations

from graphopt.transforms.quantization.min_max import MinMax

__all__ = ["MinMax"]
