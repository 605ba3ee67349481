"""Scales of groups of values: from ranges, and so that integers saturate where an activation that was left out cuts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphopt.ir import Constant, DType, Quantization, Value, constant_of
from graphopt.passes import Range
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.parameters import activation_quantization, represented
from graphopt.transforms.quantization.static.sharing import Group

__all__ = ["activation_dtype", "group_quantization", "is_normal", "within"]


def activation_dtype(scheme: QuantizationScheme) -> DType:
    """Element type in which a scheme stores activations."""
    return DType[scheme.activation.upper()]


def group_quantization(group: Group, ranges: Mapping[str, Range], scheme: QuantizationScheme) -> Quantization | None:
    """The scale and zero point of values that share them; ``None`` when no range of them is known.

    Args:
        group: the values.
        ranges: of activations, by name.
        scheme: element type and symmetry.
    """
    found = [item for value in group.values for item in [_range(value, ranges)] if item is not None]
    if not found:
        return None
    low, high = min(item.low for item in found), max(item.high for item in found)
    bounds = [item for item in group.bounds if item is not None]
    if bounds:
        low, high = max(low, *(item[0] for item in bounds)), min(high, *(item[1] for item in bounds))
        low, high = min(low, high), max(low, high)
    made = activation_quantization(Range(low, high), activation_dtype(scheme), symmetric=scheme.symmetric_activations)
    for item in bounds:
        made = within(made, *item)
    return made


def is_normal(how: Quantization, dtype: DType | None) -> bool:
    """Whether a scale is a normal number of the type of the floats that it is for."""
    limits = np.finfo(np.float16 if dtype is DType.FLOAT16 else np.float32)
    return bool(limits.tiny <= float(how.scale.numpy()) <= limits.max)


def within(how: Quantization, low: float, high: float) -> Quantization:
    """A quantization whose integers stand for nothing outside of bounds.

    Args:
        how: one scale.
        low: at most 0.
        high: more than 0.

    Example:
        >>> made = within(activation_quantization(Range(-1.0, 1.0), DType.UINT8), -1.0, 1.0)
        >>> represented(made)[0] >= -1.0
        True
    """
    scale = np.float32(how.scale.numpy())
    least, most = represented(how)
    shrink = max(1.0, least / low if low < 0 and least < low else 1.0, most / high if most > high else 1.0)
    scale = np.float32(scale / shrink)
    made = Quantization(how.dtype, Constant(np.array(scale)), how.zero_point)
    while not _fits(made, low, high):
        scale = np.nextafter(scale, np.float32(0))
        made = Quantization(how.dtype, Constant(np.array(scale)), how.zero_point)
    return made


def _fits(how: Quantization, low: float, high: float) -> bool:
    least, most = represented(how)
    return low <= least and most <= high


def _range(value: Value, ranges: Mapping[str, Range]) -> Range | None:
    constant = constant_of(value)
    if constant is None:
        return ranges.get(value.name)
    array = np.asarray(constant.numpy(), np.float32)
    return Range(float(array.min()), float(array.max()))
