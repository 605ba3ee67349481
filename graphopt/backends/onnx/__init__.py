"""Plain ONNX: the backend, and model files."""

from __future__ import annotations

from graphopt.backends.onnx.files import save

__all__ = ["save"]
