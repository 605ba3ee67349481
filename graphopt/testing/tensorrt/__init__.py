"""Checks TensorRT networks without a GPU: reads a network back, layer by layer, and computes what it means."""

from __future__ import annotations

from graphopt.testing.tensorrt.evaluator import NotEvaluated, evaluate

__all__ = ["NotEvaluated", "evaluate"]
