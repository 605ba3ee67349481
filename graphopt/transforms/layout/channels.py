"""Reads constants beside a convolution as one number for each of its channels, and a normalization as a factor and a term per channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.batch_norm_affine import batch_norm_as_affine, training_reason
from graphopt.transforms.fusion.linear import Float64, Linear, as_float64

__all__ = [
    "CPU_TARGETS",
    "FLOATS",
    "channel_count",
    "channel_numbers",
    "has_no_padding",
    "input_channels",
    "norm_as_affine",
]

#: Names of ONNX Runtime on a processor, where convolutions run in the blocked layout.
CPU_TARGETS: Final = frozenset({"onnxruntime", "onnxruntime-cpu"})
#: Element types that ONNX Runtime has a kernel of BatchNormalization for.
FLOATS: Final = frozenset({DType.FLOAT, DType.DOUBLE})


def has_no_padding(conv: Node, spatial: int) -> bool:
    """Whether a convolution reads elements of its input only.

    Args:
        conv: a Conv.
        spatial: axes after batch and channels.
    """
    how = conv.str_attr("auto_pad", "NOTSET")
    if how == "VALID":
        return True
    return how in ("NOTSET", "") and not any(conv.ints_attr("pads") or (0,) * spatial)


def input_channels(linear: Linear) -> int:
    """How many channels a Conv reads."""
    weight = linear.weight.const
    assert weight is not None, "its weights were found to be constant"
    return weight.shape[1] * linear.node.int_attr("group", 1)


def channel_count(x: Value) -> int | None:
    """Size of axis 1, ``None`` when it is not known."""
    size = x.shape[1] if x.shape is not None and len(x.shape) > 1 else None
    return size if isinstance(size, int) else None


def channel_numbers(constant: Value, x: Value, channels: int) -> Float64 | NoMatch:
    """A constant operand beside ``x`` as float64 [channels], if it is one number for each channel, or one for all.

    Args:
        constant: the constant.
        x: the other operand; its rank is known and axis 1 has ``channels`` elements.
        channels: how many.
    """
    data, rank = constant.const, x.rank
    if data is None or rank is None or data.dtype != x.dtype:
        return NoMatch("%r is not a constant of the type of %s", constant.name, x.type)
    if len(data.shape) > rank:
        return NoMatch("a constant of shape %s may broadcast %s", data.shape, x.type)
    shape = (1,) * (rank - len(data.shape)) + data.shape
    if shape[:1] + shape[2:] != (1,) * (rank - 1) or shape[1] not in (1, channels):
        return NoMatch("the constant has shape %s, expected one number for each of %d channels", data.shape, channels)
    numbers = as_float64(constant).reshape(-1)
    if not np.isfinite(numbers).all():
        return NoMatch("the constant is not finite")
    return np.broadcast_to(numbers, (channels,))


def norm_as_affine(norm: Node, statistics: Sequence[Value], channels: int) -> tuple[Float64, Float64] | NoMatch:
    """Factor and term per channel of a BatchNormalization in its inference form.

    Args:
        norm: the node.
        statistics: its scale, bias, mean and variance.
        channels: how many.
    """
    reason = training_reason(norm)
    if reason is not None:
        return reason
    scale, bias, mean, var = numbers = [as_float64(value) for value in statistics]
    if any(item.shape != (channels,) for item in numbers):
        return NoMatch("statistics are not one number for each of %d channels", channels)
    if not (var + norm.float_attr("epsilon", 1e-5) > 0).all():
        return NoMatch("var + epsilon is not positive everywhere")
    return batch_norm_as_affine(scale, bias, mean, var, norm.float_attr("epsilon", 1e-5))
