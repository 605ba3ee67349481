"""Takes from biases what rounding adds to the mean of outputs.

Rounding weights and what a layer reads moves the mean of each output by ``E[Wq . Q(x)] - E[W . x]``: an error that is alike for all
data, so a bias can take it back. ``analytic`` computes that for each layer by itself from the means of what it reads, before and after
rounding, in one run over the data. ``measured`` runs the float model and the quantized one, and corrects layer after layer what is left
of the difference of their means, which is also what earlier layers did: one run for each layer that depends on another one, for
``runs`` of them at most, at equal distances. A corrected layer takes back all that came before it.

Stands between ``assign-quantization`` and ``insert-qdq``. Works on Conv and Gemm, and on MatMul with an Add behind it, in the main graph.
Numerics: lossy. Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019 (arXiv 1906.04721),
section 4.2; means are measured, not taken from normalizations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from graphopt.errors import PipelineError
from graphopt.ir import Array, Graph, Model, Node, Quantization, Value, clone_model
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Applications
from graphopt.transforms.quantization.accuracy.biases import Bias, Float64, read_bias
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.parameters import round_trip
from graphopt.transforms.quantization.static import InsertQdq
from graphopt.transforms.statistics import ChannelMoments, LayerInput, LayerMean, observed, read_layer

__all__ = ["CorrectBiases"]

_METHODS = ("analytic", "measured")


@dataclass(frozen=True)
class CorrectBiases(Pass):
    """Take from biases what quantization adds to the mean of outputs. Needs calibration data, after ``assign-quantization``.

    Attributes:
        method: "analytic" looks at each layer by itself, in one run; "measured" compares the float model with the quantized one,
            layer after layer, in a run for each: it takes longer and brings more.
        runs: how many layers one after another "measured" corrects at most.
        include: the layers to work on (names, patterns, ``op:Conv``), all on integers by default.
        exclude: layers to leave alone.
    """

    name: ClassVar[str] = "correct-biases"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    needs_types: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    method: str = "analytic"
    runs: Annotated[int, msgspec.Meta(ge=1)] = 16
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise PipelineError(f"{self.name}: runs is {self.runs}, expected at least 1")
        if self.method not in _METHODS:
            raise PipelineError(f"{self.name}: method is {self.method!r}, expected one of {', '.join(_METHODS)}")

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Measure means, and correct biases.

        Raises:
            CalibrationError: if there is something to correct and no data.
        """
        biases = [
            bias for bias in self._biases(graph) if ctx.applications.admits(self.name, layer_name(bias.layer.node))
        ]
        spreads = {bias: ChannelMoments(bias.layer.channel_axis) for bias in biases}
        correct = self._analytic if self.method == "analytic" else self._measured
        changed: list[Bias] = []
        shifts: list[float] = []
        for bias, term in correct(graph, ctx, biases, spreads):
            if bias.add(graph, term):
                ctx.applications.record(self.name, layer_name(bias.layer.node))
                changed.append(bias)
                deviation = np.sqrt(spreads[bias].variance.mean())
                shifts.append(float(np.abs(term).mean() / deviation) if deviation > 0 else 0.0)
        if not changed:
            return PassResult(changed=False)
        graph.touch()
        # thousandths of the standard deviation of outputs
        return PassResult(
            changed=True, stats={"layers": len(changed), "mean_shift": round(1000 * sum(shifts) / len(shifts))}
        )

    def _biases(self, graph: Graph) -> Iterator[Bias]:
        """Of layers whose weights are to be integers, in the order of the graph."""
        selection = Selection(self.include, self.exclude)
        for node in graph.nodes:
            layer = read_layer(node)
            if not isinstance(layer, LayerInput) or layer.weight.quantization is None or not selection.admits(node):
                continue
            bias = read_bias(layer)
            if isinstance(bias, Bias) and np.isfinite(bias.numbers).all():
                yield bias

    def _analytic(
        self, graph: Graph, ctx: PassContext, biases: Sequence[Bias], spreads: dict[Bias, ChannelMoments]
    ) -> Iterator[tuple[Bias, Float64]]:
        plain = {bias.layer.reads: LayerMean(bias.layer) for bias in biases}
        stored = {bias.layer.reads: _Rounded(bias.layer) for bias in biases}
        wanted = [
            *(
                (bias.layer.value, observer)
                for bias in {item.layer.reads: item for item in biases}.values()
                for observer in (plain[bias.layer.reads], stored[bias.layer.reads])
            ),
            *((bias.output, spread) for bias, spread in spreads.items()),
        ]
        observed(self.name, graph, ctx, wanted)
        for bias in biases:
            layer, how, constant = bias.layer, bias.layer.weight.quantization, bias.layer.weight.const
            assert how is not None, "the weights have a note"
            assert constant is not None, "the weights are constant"
            if not spreads[bias].count or not plain[layer.reads].count:
                continue
            weights = layer.matrix(constant.numpy()).astype(np.float64)
            rounded = layer.matrix(round_trip(constant.numpy(), how)).astype(np.float64)
            before = np.einsum("gmk,gk->gm", weights, plain[layer.reads].mean)
            after = np.einsum("gmk,gk->gm", rounded, stored[layer.reads].mean.mean)
            yield bias, (before - after).reshape(-1)

    def _measured(
        self, graph: Graph, ctx: PassContext, biases: Sequence[Bias], spreads: dict[Bias, ChannelMoments]
    ) -> Iterator[tuple[Bias, Float64]]:
        observed(self.name, graph, ctx, [(bias.output, spread) for bias, spread in spreads.items()])
        for wave in _some(_waves(graph, biases), self.runs):
            ctx.progress(f"{self.name}: {layer_name(wave[0].layer.node)}")
            model = graph.owner
            assert isinstance(model, Model), "the main graph has a model"
            copy = clone_model(model)
            InsertQdq().run(copy.graph, replace(ctx, applications=Applications()))
            found = {value.name: value for value in copy.graph.values()}
            means = [ChannelMoments(bias.layer.channel_axis) for bias in wave]
            observed(self.name, copy.graph, ctx, [(found[b.output.name], m) for b, m in zip(wave, means, strict=True)])
            for bias, mean in zip(wave, means, strict=True):
                if mean.count:
                    yield bias, spreads[bias].mean - mean.mean


class _Rounded:
    """The mean of what a layer reads once it is rounded as its note says."""

    def __init__(self, layer: LayerInput) -> None:
        self._how: Quantization | None = layer.value.quantization
        self.mean = LayerMean(layer)

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        self.mean.observe(array if self._how is None else round_trip(array, self._how))


def _some(waves: Sequence[list[Bias]], count: int) -> list[list[Bias]]:
    """As many at equal distances, the last one among them; all if there are no more."""
    if len(waves) <= count:
        return list(waves)
    return [waves[(at + 1) * len(waves) // count - 1] for at in range(count)]


def _waves(graph: Graph, biases: Sequence[Bias]) -> list[list[Bias]]:
    """Layers in groups of which none depends on another one of its group, each behind those that it depends on."""
    by_node: dict[Node, Bias] = {bias.reader: bias for bias in biases}
    depth: dict[Value, int] = {}
    waves: dict[int, list[Bias]] = {}
    for node in graph.nodes:
        read = [value for value in node.inputs if value is not None]
        read += [
            value for inner in node.subgraphs for part in inner.walk() for value in part.inputs if value is not None
        ]
        level = max((depth.get(value, 0) for value in read), default=0)
        if node in by_node:
            waves.setdefault(level, []).append(by_node[node])
            level += 1
        depth.update(dict.fromkeys(node.outputs, level))
    return [waves[level] for level in sorted(waves)]
