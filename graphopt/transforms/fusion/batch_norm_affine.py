"""What an inference BatchNormalization computes of each channel: a factor and a term.

Source: Ioffe and Szegedy, Batch Normalization, 2015, section 3.1; https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graphopt.ir import Node
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.linear import Float64

__all__ = ["batch_norm_as_affine", "has_no_root", "training_reason"]


def batch_norm_as_affine(
    scale: Float64, bias: Float64, mean: Float64, var: Float64, epsilon: float
) -> tuple[Float64, Float64] | NoMatch:
    """Factor and term per channel of an inference BatchNormalization: ``y = x * factor + term``.

    Args:
        scale: [channels].
        bias: [channels].
        mean: [channels].
        var: [channels].
        epsilon: added to ``var``.

    Returns:
        Both, finite; where ``var + epsilon`` has no root, they mean nothing (see :func:`has_no_root`).
    """
    spread = var + epsilon
    never = has_no_root(spread)
    spread = np.where(never, 1.0, spread)
    if not (np.isfinite(spread) & (spread > 0)).all():
        return NoMatch("var + epsilon is not positive everywhere")
    factor = scale / np.sqrt(spread)
    term = bias - mean * factor
    factor, term = np.where(never, 1.0, factor), np.where(never, 0.0, term)
    if not (np.isfinite(factor) & np.isfinite(term)).all():
        return NoMatch("statistics are not finite")
    return factor, term


def has_no_root(spread: Float64) -> npt.NDArray[np.bool_]:
    """Where a sum of variance and epsilon has no root, so that what is divided by it is no number."""
    return np.isnan(spread) | (spread < 0)


def training_reason(norm: Node) -> NoMatch | None:
    """Why a BatchNormalization may use statistics of the batch, ``None`` when it surely does not."""
    opset = norm.opset or 0
    if opset >= 14:
        return None if norm.attr("training_mode", 0) == 0 else NoMatch("training_mode is 1")
    if any(value.name for value in norm.outputs[1:]):
        return NoMatch("further outputs mean training before opset 14")
    if opset < 9 and norm.attr("spatial", 1) != 1:
        return NoMatch("statistics are not per channel")
    return NoMatch("is_test is 0") if opset < 7 and norm.attr("is_test", 0) != 1 else None
