"""Puts the weights of layers on their grid so that outputs change least, and notes how they are stored.

Works on Conv, Gemm and MatMul of the main graph with constant weights. Needs calibration data: the second moments of what each layer
reads. Touches weights; needs no shapes; a second run finds all weights on their grid already. Numerics: lossy. See
:mod:`graphopt.transforms.quantization.accuracy.gptq` for the algebra and its source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from graphopt.errors import PipelineError
from graphopt.ir import Array, Constant, DType, Graph, Quantization, Value
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.transforms.quantization.accuracy.findings import Rounded, findings_of
from graphopt.transforms.quantization.accuracy.gptq import Float64, Grid, gptq, output_error
from graphopt.transforms.quantization.accuracy.noise import effect, sqnr
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.parameters import expanded, integer_range, quantized, weight_quantization
from graphopt.transforms.statistics import Gram, LayerInput, observed, read_layer

__all__ = ["GptqWeights"]

_NOTED: Final = "noted"
_DTYPES: Final = {
    "int2": DType.INT2,
    "int4": DType.INT4,
    "int8": DType.INT8,
    "uint2": DType.UINT2,
    "uint4": DType.UINT4,
    "uint8": DType.UINT8,
}
#: Layers whose matrices need more are looked at in several runs over the data.
_BUDGET: Final = 64 << 20
#: Layers with more weights for each output would need gigabytes for a matrix: their weights stay.
_WIDEST: Final = 8192
#: Weights of few bits: what the scales that represent all weights may be multiplied by.
_SHRINKS: Final = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
_FEW_BITS: Final = 4


@dataclass(frozen=True, slots=True)
class _Weights:
    """Weights and the layers that read them, all in the same way."""

    value: Value
    layers: tuple[LayerInput, ...]

    @property
    def view(self) -> LayerInput:
        return self.layers[0]

    @property
    def bytes(self) -> int:
        return 8 * self.view.groups * self.view.columns**2


@dataclass(frozen=True)
class GptqWeights(Pass):
    """Round the weights of layers to integers so that outputs change least (GPTQ). Needs calibration data; idempotent.

    Weights become the numbers that the integers stand for, and the note on them says how they are stored. Those that have a note
    already, by ``assign-quantization``, keep to it.

    Attributes:
        dtype: stored type of weights without a note: int2 to int8, uint2 to uint8; "noted" leaves those alone.
        block: weights along the inputs of an output that share a scale, for Gemm and MatMul only; 0 for one scale for each output.
        damp: share of the mean square of the inputs that is added to the square of each, for a stable inverse.
        order: "activation" rounds weights of large inputs first, "natural" in their order.
        include: the layers to work on (names, patterns, ``op:MatMul``), all by default.
        exclude: layers to leave alone.
    """

    name: ClassVar[str] = "gptq-weights"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    needs_types: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    dtype: str = "int4"
    block: Annotated[int, msgspec.Meta(ge=0)] = 32
    damp: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01
    order: str = "activation"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, text, known in (
            ("dtype", self.dtype, (*_DTYPES, _NOTED)),
            ("order", self.order, ("activation", "natural")),
        ):
            if text not in known:
                raise PipelineError(f"{self.name}: {option} is {text!r}, expected one of {', '.join(known)}")
        if self.block < 0 or not 0 < self.damp <= 1:
            raise PipelineError(
                f"{self.name}: block is {self.block} and damp {self.damp}, expected at least 0 and a number in (0, 1]"
            )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at what the layers read, and round their weights.

        Raises:
            CalibrationError: if there is something to round and no data.
        """
        found = list(self._weights(graph))
        ratios: list[tuple[float, float]] = []
        known = findings_of(ctx)
        keys = {item: self._key(item) for item in found}
        changed = self._recalled([item for item in found if keys[item] in known], keys, known, ctx, ratios)
        found = [item for item in found if keys[item] not in known]
        for part in _slices([item for item in found if item.view.columns <= _WIDEST]):
            grams: dict[object, tuple[LayerInput, Gram]] = {}
            for layer in (layer for item in part for layer in item.layers):
                grams.setdefault(layer.reads, (layer, Gram(layer)))
            ctx.progress(f"{self.name}: {len(part)} of {len(found)} layers")
            observed(self.name, graph, ctx, [(layer.value, gram) for layer, gram in grams.values()])
            left = Counter(layer.reads for item in part for layer in item.layers)
            for item in part:
                moments = _moments([grams[layer.reads][1] for layer in item.layers])
                left.subtract(layer.reads for layer in item.layers)
                for done in [reads for reads in {layer.reads for layer in item.layers} if not left[reads]]:
                    del grams[done]  # memory
                if moments is None or not ctx.applications.admits(self.name, layer_name(item.view.node)):
                    continue
                ratio, edited = self._round(item, moments)
                known[keys[item]] = Rounded.of(item.value, ratio)
                ratios.append(ratio)
                if edited:
                    changed = True
                    ctx.applications.record(self.name, layer_name(item.view.node))
        if changed:
            graph.touch()
        stats = effect(ratios)
        wide = sum(item.view.columns > _WIDEST for item in found)
        return PassResult(changed=changed, stats=stats | ({"too_wide": wide} if wide else {}))

    def _key(self, item: _Weights) -> object:
        """What the integers of a weight depend on, beside the data: its numbers, how they are to be stored, and options."""
        how, constant = item.value.quantization, item.value.const
        assert constant is not None, "weights are constant"
        noted = None if how is None else (how.dtype, how.axis, how.block, _bytes(how.scale), _bytes(how.zero_point))
        reads = tuple(layer.value.name for layer in item.layers)
        options = (self.dtype, self.block, self.damp, self.order)
        return self.name, item.value.name, constant.digest(), reads, noted, options

    def _recalled(
        self,
        items: Sequence[_Weights],
        keys: Mapping[_Weights, object],
        known: Mapping[object, object],
        ctx: PassContext,
        ratios: list[tuple[float, float]],
    ) -> bool:
        """Take integers that were found before from the same data; whether anything changed."""
        changed = False
        for item in items:
            found = known[keys[item]]
            assert isinstance(found, Rounded), "keys begin with the name of the pass"
            if not ctx.applications.admits(self.name, layer_name(item.view.node)):
                continue
            ratios.append(found.ratio)
            item.value.const, item.value.quantization = found.constant, found.how
            ctx.applications.record(self.name, layer_name(item.view.node))
            changed = True
        return changed

    def _weights(self, graph: Graph) -> Iterator[_Weights]:
        """Weights that only layers read that are to be worked on."""
        selection = Selection(self.include, self.exclude)
        for value in graph.initializers():
            uses = list(value.uses)
            if (
                not uses
                or value.is_graph_output
                or any(use.position != 1 or use.node.graph is not graph for use in uses)
            ):
                continue
            if not all(selection.admits(use.node) for use in uses):
                continue
            views = [read_layer(use.node) for use in uses]
            layers = [view for view in views if isinstance(view, LayerInput)]
            if (
                len(layers) < len(views)
                or len({(item.groups, item.output_axis, item.node.op == "Conv") for item in layers}) > 1
            ):
                continue
            if self._note(value, layers[0]) is not None and _is_finite(value):
                yield _Weights(value, tuple(layers))

    def _note(self, value: Value, layer: LayerInput) -> Quantization | None:
        """How weights are to be stored, ``None`` where they are to stay."""
        how = value.quantization
        if how is not None:
            return how if how.dtype in _DTYPES.values() else None
        if self.dtype == _NOTED or (self.block and layer.node.op == "Conv") or value.const is None:
            return None
        axis = 1 - layer.output_axis if self.block else layer.output_axis
        dtype = _DTYPES[self.dtype]
        return weight_quantization(
            value.const.numpy(), dtype, axis=axis, block=self.block, symmetric=self.dtype.startswith("int")
        )

    def _round(self, item: _Weights, moments: Float64) -> tuple[tuple[float, float], bool]:
        """Put weights on their grid; gives the ratios of nearest rounding and of this, and whether anything changed."""
        value, view = item.value, item.view
        constant, how = value.const, self._note(value, view)
        assert constant is not None, "weights are constant"
        assert how is not None, "it is known how they are stored"
        before = constant.numpy()
        weights = view.matrix(before).astype(np.float64)
        if value.quantization is None and how.dtype.bits <= _FEW_BITS:
            how = _shrunk(how, view, weights, np.diagonal(moments, axis1=1, axis2=2))
        grid = _grid(how, view, before)
        nearest = grid.nearest(weights)
        made = gptq(weights, moments, grid, damp=self.damp, by_activation=self.order == "activation")
        after = view.weights(made).astype(before.dtype)
        edited = value.quantization is not how or not np.array_equal(after, before)
        value.const, value.quantization = Constant(np.ascontiguousarray(after)), how
        signal = float(output_error(weights, moments).sum())
        noise = [float(output_error(weights - other, moments).sum()) for other in (nearest, made)]
        return (sqnr(signal, noise[0]), sqnr(signal, noise[1])), edited


def _bytes(parameter: Constant) -> bytes:
    return parameter.numpy().tobytes()


def _slices(items: Sequence[_Weights]) -> Iterator[list[_Weights]]:
    """Weights in groups whose matrices fit into the budget together."""
    part: list[_Weights] = []
    for item in items:
        if part and sum(other.bytes for other in part) + item.bytes > _BUDGET:
            yield part
            part = []
        part.append(item)
    if part:
        yield part


def _moments(grams: Sequence[Gram]) -> Float64 | None:
    """What several saw together, ``None`` for nothing."""
    count = sum(gram.count for gram in grams)
    if not count:
        return None
    total: Float64 = np.zeros_like(grams[0].products)
    for gram in grams:
        total += gram.products / count
    return total


def _is_finite(value: Value) -> bool:
    array = value.array()
    return array is not None and bool(np.isfinite(array.astype(np.float64)).all())


def _grid(how: Quantization, view: LayerInput, weights: Array) -> Grid:
    """The numbers that weights may become: by none but the integers that rounding to nearest would use."""
    scale, zero = (_spread(parameter, how, view, weights.shape) for parameter in (how.scale, how.zero_point))
    stored = quantized(weights, how).astype(np.float64)
    least, most = float(stored.min()), float(stored.max())
    if not zero.any():
        most = max(-least, most)
        least = -most
    return Grid(scale, zero, least, most)


def _spread(parameter: Constant, how: Quantization, view: LayerInput, shape: tuple[int, ...]) -> Float64:
    """Scales or zeros as [groups, rows, columns], or with one column where there are no blocks."""
    numbers = parameter.numpy().astype(np.float64)
    if how.block or how.axis not in (None, view.output_axis):
        spread = np.broadcast_to(expanded(numbers, shape, how.axis, how.block), shape)
        return view.matrix(spread).astype(np.float64)
    return np.broadcast_to(numbers.reshape(-1), (view.outputs,)).reshape(view.groups, -1, 1)


def _shrunk(how: Quantization, view: LayerInput, weights: Float64, energy: Float64) -> Quantization:
    """Smaller scales where they lose less: what is cut off against finer steps, by the energy of the inputs.

    Args:
        how: scales that represent all weights.
        view: the layer.
        weights: float64 [groups, rows, columns].
        energy: mean square of the inputs, float64 [groups, columns].
    """
    assert view.weight.const is not None, "weights are constant"
    shape, columns = view.weight.const.shape, weights.shape[2]
    scale, zero = (_spread(parameter, how, view, shape) for parameter in (how.scale, how.zero_point))
    least, most = integer_range(how.dtype, symmetric=not zero.any())
    starts = np.arange(0, columns, how.block or columns)
    best = np.full((*weights.shape[:2], len(starts)), np.inf)
    factor = np.ones_like(best)
    for tried in (1.0, *_SHRINKS):
        error = np.square(weights - Grid(scale * tried, zero, least, most).nearest(weights)) * energy[:, None]
        found = np.add.reduceat(error, starts, axis=2)
        factor[found < best] = tried
        best = np.minimum(best, found)
    if how.block:
        spread = factor[0] if view.output_axis == 0 else factor[0].T
    else:
        spread = factor.reshape(-1)
    return replace(how, scale=Constant((how.scale.numpy() * spread).astype(np.float32)))
