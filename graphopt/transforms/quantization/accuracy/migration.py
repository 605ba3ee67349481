"""How much of the difficulty of a stream's numbers to move into the weights that read them.

Dividing channel ``j`` by ``s_j = max|X_j|^a / max|W_j|^(1 - a)`` makes channels more alike, and the columns of weights less. Which ``a``
is best is told by what rounding both does to the outputs of the layers, with channels taken as independent: for weights ``W`` rounded
to ``Wq``, mean squares ``e`` of the channels and a step ``d`` of the tensor, the error of an output is
``sum e_j (Wq_j - W_j)^2 + d^2 / 12 sum W_j^2``.

Source: Xiao et al., SmoothQuant, 2022 (arXiv 2211.10438), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from graphopt.ir import DType, Graph, Value
from graphopt.passes import Observer, PassContext, Range
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.accuracy.noise import sqnr
from graphopt.transforms.quantization.accuracy.rescaling import columns_of, with_columns
from graphopt.transforms.quantization.accuracy.streams import Stream
from graphopt.transforms.quantization.parameters import activation_quantization, round_trip, weight_quantization
from graphopt.transforms.statistics import ChannelExtremes, ChannelMoments, LayerInput, observed

__all__ = ["AUTO", "Reading", "balanced", "best_factor", "factor_of", "look", "ratio_of"]

Float64 = npt.NDArray[np.float64]
#: Shares that are tried.
AUTO: Final = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
#: What targets without a scheme are taken to want.
_COMMON: Final = QuantizationScheme("common")
#: Channels are scaled by no more than this, relative to each other.
_MOST: Final = 1e4
#: dB that a change must bring.
_LEAST_GAIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a tensor, by channel.

    Attributes:
        extremes: smallest and largest numbers.
        moments: mean squares.
    """

    extremes: ChannelExtremes
    moments: ChannelMoments

    @classmethod
    def along(cls, axis: int) -> Reading:
        """Nothing seen yet."""
        return cls(ChannelExtremes(axis), ChannelMoments(axis))


def look(name: str, graph: Graph, ctx: PassContext, streams: Sequence[Stream]) -> dict[Value, Reading]:
    """What the data says of the tensors that layers read, and that sums add, in one run; only those that ever had numbers.

    Raises:
        CalibrationError: if there is no data.
    """
    found: dict[Value, Reading] = {}
    for stream in streams:
        read = {reader.value for reader in stream.readers}
        added = {value for value in stream.values if any(user.op in ("Add", "Sum", "Sub") for user in value.users)}
        for value in (item for item in stream.values if item in read or item in added):
            found[value] = Reading.along(stream.axis)
    wanted: list[tuple[Value, Observer]] = []
    for value, reading in found.items():
        wanted += [(value, reading.extremes), (value, reading.moments)]
    observed(name, graph, ctx, wanted)
    return {value: reading for value, reading in found.items() if reading.extremes.seen}


def factor_of(readers: Sequence[LayerInput], readings: Sequence[Reading], channels: int, share: float) -> Float64:
    """What to divide channels by: float64 [channels], with a geometric mean of 1; 1 for channels that are always zero.

    Args:
        readers: layers that read the channels.
        readings: of all tensors that are to be scaled.
        channels: how many.
        share: of the difficulty that goes into the weights, from 0 to 1.
    """
    loud = np.max([reading.extremes.magnitude for reading in readings], axis=0)
    heavy = np.max([_heaviest(reader, channels) for reader in readers], axis=0)
    return balanced(loud**share, heavy ** (1 - share), (loud > 0) & (heavy > 0))


def balanced(up: Float64, down: Float64, useful: npt.NDArray[np.bool_]) -> Float64:
    """``up / down`` with a geometric mean of 1 over the useful channels, kept within bounds; 1 for the others."""
    if not useful.any():
        return np.ones(len(up))
    logs = np.log(np.where(useful, up, 1.0)) - np.log(np.where(useful, down, 1.0))
    logs = logs - logs[useful].mean()
    limit = np.log(_MOST) / 2
    made: Float64 = np.where(useful, np.exp(np.clip(logs, -limit, limit)), 1.0)
    return made


def _heaviest(reader: LayerInput, channels: int) -> Float64:
    """The largest absolute weight of each input channel."""
    constant = reader.weight.const
    assert constant is not None, "the weights were found to be constant"
    columns = np.abs(reader.matrix(constant.numpy()).astype(np.float64)).max(axis=1)
    found: Float64 = columns.reshape(channels, -1).max(axis=1)
    return found


def ratio_of(
    readers: Sequence[LayerInput], readings: Mapping[Value, Reading], factor: Float64, scheme: QuantizationScheme | None
) -> float:
    """Mean SQNR in dB of the outputs of layers, with the channels that they read divided by ``factor``."""
    scheme = scheme or _COMMON
    return float(np.mean([_ratio(reader, readings[reader.value], factor, scheme) for reader in readers]))


def _ratio(reader: LayerInput, reading: Reading, factor: Float64, scheme: QuantizationScheme) -> float:
    constant = reader.weight.const
    assert constant is not None, "the weights were found to be constant"
    weights = with_columns(reader, reader.matrix(constant.numpy()).astype(np.float64), factor)
    energy = columns_of(reader, reading.moments.energy / np.square(factor))
    how = activation_quantization(
        Range(float((reading.extremes.low / factor).min()), float((reading.extremes.high / factor).max())),
        DType[scheme.activation.upper()],
        symmetric=scheme.symmetric_activations,
    )
    stored = reader.weights(weights).astype(np.float32)
    note = weight_quantization(
        stored,
        DType[scheme.weight.upper()],
        axis=reader.output_axis if scheme.per_channel else None,
        symmetric=scheme.symmetric_weights,
        reduce_range=scheme.reduce_range,
    )
    lost = reader.matrix(round_trip(stored, note)).astype(np.float64) - weights
    noise = np.square(lost) * energy + np.square(weights) * (float(how.scale.numpy()) ** 2 / 12)
    return sqnr(float((np.square(weights) * energy).sum()), float(noise.sum()))


def best_factor(
    readers: Sequence[LayerInput],
    readings: Mapping[Value, Reading],
    tied: Sequence[Reading],
    channels: int,
    scheme: QuantizationScheme | None,
) -> Float64 | None:
    """What to divide channels by for the best mean SQNR of all readers, ``None`` when nothing is better than what is there.

    Args:
        readers: layers that read the channels.
        readings: what is known of what they read.
        tied: of all tensors that are to be scaled.
        channels: how many.
        scheme: how the target wants integers; that of ONNX Runtime when there is none.
    """
    best, chosen = ratio_of(readers, readings, np.ones(channels), scheme) + _LEAST_GAIN, None
    for share in AUTO:
        factor = factor_of(readers, tied, channels, share)
        found = ratio_of(readers, readings, factor, scheme)
        if found > best:
            best, chosen = found, factor
    return chosen
