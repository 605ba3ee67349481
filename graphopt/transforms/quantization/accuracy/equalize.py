"""Makes the channels of tensors between layers alike, which changes nothing but what rounding will do.

Channels are divided by ``s`` where layers write them, and the columns of the layers that read them multiplied by it.

* By the weights: ``s_i = sqrt(r1_i / r2_i)`` for the largest weights ``r1`` of what writes channel ``i`` and ``r2`` of what reads it, over
  and over until nothing changes, so that both get equal ranges. Needs no data; made for one scale for all of a layer's weights.
* By the activations: the ``s`` with which it costs least to round tensors and weights as the target does, from the data (see
  :mod:`graphopt.transforms.quantization.accuracy.migration`).

Convolutions of groups, depthwise ones too, read one stream and write another one, so triples need no rule of their own; sums of
residual blocks are tied with all that is added (:mod:`graphopt.transforms.quantization.accuracy.streams` says what a stream is).
Touches weights; needs types. Numerics: re-associates. Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias
Correction, 2019 (arXiv 1906.04721), section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from graphopt.errors import PipelineError
from graphopt.ir import DType, Graph
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.quantization.accuracy.migration import balanced, best_factor, look, ratio_of
from graphopt.transforms.quantization.accuracy.noise import effect, sqnr
from graphopt.transforms.quantization.accuracy.rescaling import rescale
from graphopt.transforms.quantization.accuracy.streams import Stream, find_streams
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.parameters import round_trip, weight_quantization
from graphopt.transforms.statistics import LayerInput

__all__ = ["EqualizeLayers", "admitted"]

Float64 = npt.NDArray[np.float64]
_WAYS: Final = ("auto", "weights", "activations")
#: Rounds at most, and the factor below which a round has changed nothing.
_ROUNDS: Final = 20
_SETTLED: Final = 1.01


def admitted(stream: Stream, selection: Selection) -> bool:
    """Whether all layers at both ends of a stream are to be worked on."""
    nodes = [
        *(reader.node for reader in stream.readers),
        *(item.node for item in stream.writers if item.layer is not None),
    ]
    return all(selection.admits(node) for node in nodes)


@dataclass(frozen=True)
class EqualizeLayers(Pass):
    """Make the channels of tensors between layers alike, so that one scale fits all of them better.

    Attributes:
        by: "weights" evens out the ranges of weights, without data; "activations" makes the least of what rounding tensors and weights
            costs, by calibration data; "auto" takes activations if there are data, else weights.
        include: the layers to work on (names, patterns, ``op:Conv``), all by default.
        exclude: layers to leave alone.
    """

    name: ClassVar[str] = "equalize-layers"
    numerics: ClassVar[Numerics] = Reassociates()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    by: str = "auto"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.by not in _WAYS:
            raise PipelineError(f"{self.name}: by is {self.by!r}, expected one of {', '.join(_WAYS)}")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Scale the streams of the main graph.

        Raises:
            CalibrationError: if there is a stream to scale by its numbers and no data.
        """
        selection = Selection(self.include, self.exclude)
        streams = [stream for stream in find_streams(graph) if admitted(stream, selection)]
        streams = [item for item in streams if ctx.applications.admits(self.name, layer_name(item.readers[0].node))]
        if not streams:
            return PassResult(changed=False)
        by_weights = self.by == "weights" or (self.by == "auto" and ctx.calibration is None)
        scaled, ratios = (self._by_weights if by_weights else self._by_activations)(graph, ctx, streams)
        for stream in scaled:
            ctx.applications.record(self.name, layer_name(stream.readers[0].node))
            for value in stream.values:
                if ctx.calibration is not None:
                    ctx.calibration.forget(value.name)
        if not scaled:
            return PassResult(changed=False)
        graph.touch()
        return PassResult(changed=True, stats={"streams": len(scaled), **effect(ratios)})

    def _by_weights(
        self, graph: Graph, ctx: PassContext, streams: Sequence[Stream]
    ) -> tuple[list[Stream], list[tuple[float, float]]]:
        layers = {reader.node: reader for stream in streams for reader in stream.readers}
        layers |= {item.node: item.layer for stream in streams for item in stream.writers if item.layer is not None}
        before = {node: _weight_ratio(layer) for node, layer in layers.items()}
        scaled: list[Stream] = []
        for _ in range(_ROUNDS):
            settled = True
            for stream in streams:
                factor = _even(stream)
                if max(factor.max(), 1 / factor.min()) <= _SETTLED or not rescale(graph, stream, factor):
                    continue
                settled = False
                if stream not in scaled:
                    scaled.append(stream)
            if settled:
                break
        touched = {reader.node for stream in scaled for reader in stream.readers}
        touched |= {item.node for stream in scaled for item in stream.writers if item.layer is not None}
        return scaled, [(before[node], _weight_ratio(layers[node])) for node in layers if node in touched]

    def _by_activations(
        self, graph: Graph, ctx: PassContext, streams: Sequence[Stream]
    ) -> tuple[list[Stream], list[tuple[float, float]]]:
        readings = look(self.name, graph, ctx, streams)
        scheme = ctx.target.quantization
        scaled: list[Stream] = []
        ratios: list[tuple[float, float]] = []
        for stream in streams:
            tied = [readings[value] for value in stream.values if value in readings]
            if any(reader.value not in readings for reader in stream.readers):
                continue
            factor = best_factor(stream.readers, readings, tied, stream.channels, scheme)
            if factor is None:
                continue
            plain = [ratio_of([reader], readings, np.ones(stream.channels), scheme) for reader in stream.readers]
            after = [ratio_of([reader], readings, factor, scheme) for reader in stream.readers]
            if rescale(graph, stream, factor):
                scaled.append(stream)
                ratios.extend(zip(plain, after, strict=True))
        return scaled, ratios


def _even(stream: Stream) -> Float64:
    """What to divide channels by, so that the weights that write them and those that read them get equal ranges."""
    write = np.zeros(stream.channels)
    for writer in stream.writers:
        if writer.layer is not None:
            write = np.maximum(write, np.abs(_matrix(writer.layer)).max(axis=2).reshape(-1))
    read = np.zeros(stream.channels)
    for reader in stream.readers:
        read = np.maximum(read, np.abs(_matrix(reader)).max(axis=1).reshape(stream.channels, -1).max(axis=1))
    return balanced(np.sqrt(write), np.sqrt(read), (write > 0) & (read > 0))


def _matrix(layer: LayerInput) -> Float64:
    constant = layer.weight.const
    assert constant is not None, "the weights were found to be constant"
    return layer.matrix(constant.numpy()).astype(np.float64)


def _weight_ratio(layer: LayerInput) -> float:
    """SQNR in dB of a layer's weights as int8 with one scale for all."""
    constant = layer.weight.const
    assert constant is not None, "the weights were found to be constant"
    weights = constant.numpy().astype(np.float32)
    lost = round_trip(weights, weight_quantization(weights, DType.INT8)).astype(np.float64) - weights
    return sqnr(float(np.square(weights, dtype=np.float64).sum()), float(np.square(lost).sum()))
