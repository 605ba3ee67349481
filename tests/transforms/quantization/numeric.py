"""What tests of quantization share: drawn weights, results as wide floats, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from graphopt.ir import Array, Constant, DType, Model
from tests.transforms.harness import run

__all__ = ["Floats", "constants_of", "normal", "results", "sqnr"]

Floats = NDArray[np.floating[Any]]


def normal(*shape: int, seed: int = 0, size: float = 1.0) -> NDArray[np.float32]:
    """Normal numbers of a standard deviation."""
    return (np.random.default_rng(seed).normal(size=shape) * size).astype(np.float32)


def results(proto: ModelProto, feeds: Mapping[str, Array | Floats]) -> list[NDArray[np.float64]]:
    """Outputs by ONNX Runtime with its optimizer off, in double precision."""
    return [array.astype(np.float64) for array in run(proto, feeds)]


def sqnr(expected: Floats, found: Floats) -> float:
    """Decibels of a signal over what differs from it; infinite for the same numbers."""
    noise = float(np.square(expected - found).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(np.square(expected).sum() / noise))


def constants_of(model: Model, dtype: DType) -> list[Constant]:
    """The initializers of a type."""
    found = (value.const for value in model.graph.initializers())
    return [item for item in found if item is not None and item.dtype is dtype]
