"""Moves the outliers of activations into the weights that read them: what one scale for a tensor can't represent, one for a column can.

The channels of what MatMul and Gemm read are divided by ``s_j = max|X_j|^a / max|W_j|^(1 - a)`` and the rows of their weights multiplied by
it, for all that read a tensor together (queries, keys and values). The division goes into what gives the tensor: factor and term of a
LayerNormalization, RMSNormalization or SkipLayerNormalization, a Mul by a constant, or the columns of a linear layer before
(:mod:`graphopt.transforms.quantization.accuracy.streams`). Where none of these gives it, a Mul is put before the layers if that is asked
for. Touches weights; needs types and data; main graph only. Numerics: re-associates. Source: Xiao et al., SmoothQuant, 2022 (arXiv
2211.10438), section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from graphopt.errors import PipelineError
from graphopt.ir import Constant, Graph, Node, Value
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.linear import round_to
from graphopt.transforms.quantization.accuracy.equalize import admitted
from graphopt.transforms.quantization.accuracy.migration import Reading, best_factor, factor_of, look, ratio_of
from graphopt.transforms.quantization.accuracy.noise import effect
from graphopt.transforms.quantization.accuracy.rescaling import rescale
from graphopt.transforms.quantization.accuracy.streams import Stream, find_streams
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.statistics import LayerInput, read_layer

__all__ = ["SmoothActivations"]

_PRODUCTS = frozenset({"MatMul", "Gemm"})


@dataclass(frozen=True)
class SmoothActivations(Pass):
    """Move the outliers of what MatMul and Gemm read into their weights (SmoothQuant). Needs calibration data.

    Attributes:
        alpha: share of the difficulty that goes into the weights, from 0 to 1; "auto" takes for each tensor the one that costs outputs
            least by the target's scheme, and leaves alone what that makes no better.
        multiply: whether a Mul is put before layers where nothing before them takes the division: it costs time in each run.
        include: the layers to work on (names, patterns, ``op:MatMul``), all by default.
        exclude: layers to leave alone.
    """

    name: ClassVar[str] = "smooth-activations"
    numerics: ClassVar[Numerics] = Reassociates()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    alpha: Annotated[float, msgspec.Meta(ge=0, le=1)] | Literal["auto"] = 0.5
    multiply: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alpha != "auto" and not 0 <= self.alpha <= 1:
            raise PipelineError(f"{self.name}: alpha is {self.alpha!r}, expected a number from 0 to 1 or auto")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Scale what products of the main graph read.

        Raises:
            CalibrationError: if there is something to scale and no data.
        """
        selection = Selection(self.include, self.exclude)
        streams = [
            stream
            for stream in find_streams(graph)
            if all(reader.node.op in _PRODUCTS for reader in stream.readers) and admitted(stream, selection)
        ]
        taken = {reader.node for stream in streams for reader in stream.readers}
        if self.multiply:
            streams += _lone(graph, selection, taken)
        streams = [item for item in streams if ctx.applications.admits(self.name, layer_name(item.readers[0].node))]
        readings = look(self.name, graph, ctx, streams)
        ratios: list[tuple[float, float]] = []
        scaled = multiplied = 0
        for stream in streams:
            if any(reader.value not in readings for reader in stream.readers):
                continue
            factor = self._factor(stream, readings, ctx)
            if factor is None or np.allclose(factor, 1, rtol=1e-2):
                continue
            before = ratio_of(stream.readers, readings, np.ones(stream.channels), ctx.target.quantization)
            after = ratio_of(stream.readers, readings, factor, ctx.target.quantization)
            if not _carry_out(graph, stream, factor):
                continue
            multiplied += not stream.writers
            scaled += 1
            ratios += [(before, after)] * len(stream.readers)
            ctx.applications.record(self.name, layer_name(stream.readers[0].node))
            if ctx.calibration is not None and stream.writers:
                for value in stream.values:
                    ctx.calibration.forget(value.name)
        if not scaled:
            return PassResult(changed=False)
        graph.touch()
        more = {"multiplied": multiplied} if multiplied else {}
        return PassResult(changed=True, stats={"tensors": scaled, **effect(ratios), **more})

    def _factor(
        self, stream: Stream, readings: dict[Value, Reading], ctx: PassContext
    ) -> npt.NDArray[np.float64] | None:
        tied = [readings[value] for value in stream.values if value in readings]
        if self.alpha == "auto":
            return best_factor(stream.readers, readings, tied, stream.channels, ctx.target.quantization)
        return factor_of(stream.readers, tied, stream.channels, float(self.alpha))


def _lone(graph: Graph, selection: Selection, taken: set[Node]) -> Iterator[Stream]:
    """Products that read a tensor which nothing before them can scale, those of one tensor together."""
    found: dict[Value, list[LayerInput]] = {}
    for node in graph.nodes:
        layer = read_layer(node) if node.op in _PRODUCTS and node not in taken and selection.admits(node) else None
        if not isinstance(layer, LayerInput) or (node.op == "Gemm" and node.int_attr("transA", 0)):
            continue
        weight = layer.weight
        if weight.use_count == 1 and not weight.is_graph_output and not weight.is_input and weight.quantization is None:
            found.setdefault(layer.value, []).append(layer)
    for value, readers in found.items():
        yield Stream([value], [], readers, -1, readers[0].columns)


def _carry_out(graph: Graph, stream: Stream, factor: npt.NDArray[np.float64]) -> bool:
    """Scale a stream; one without a writer gets a Mul."""
    if stream.writers:
        return rescale(graph, stream, factor)
    value, readers = stream.values[0], stream.readers
    assert readers[0].weight.const is not None, "the weights were found to be constant"
    inverse = round_to(1 / factor, readers[0].weight.const.dtype)
    if isinstance(inverse, NoMatch) or not rescale(graph, stream, factor):
        return False
    first = next(node for node in graph.nodes if any(reader.node is node for reader in readers))
    product = Node("Mul", [value, graph.add_constant(Constant(inverse), f"{value.name}_smoothing")], 1)
    product.name = graph.fresh_name(f"{layer_name(first)}_smoothing")
    product.lineage = first.lineage
    product.output.name, product.output.type = graph.fresh_name(f"{value.name}_smoothed"), value.type
    graph.insert_before(first, product)
    for reader in readers:
        reader.node.replace_input(0, product.output)
    return True
