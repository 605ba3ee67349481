"""Floats of other types: float16 and bfloat16 with islands of float32, and float32 again."""

from __future__ import annotations

from graphopt.transforms.quantization.float16.passes import ConvertToBfloat16, ConvertToFloat16, ConvertToFloat32

__all__ = ["ConvertToBfloat16", "ConvertToFloat16", "ConvertToFloat32"]
