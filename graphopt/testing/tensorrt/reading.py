"""Layers of a network as what they are, with their settings and weights.

``get_layer`` gives the base class; the object is made one of the layer's own class, after its kind was read: ``type`` of activations and
pooling means something else.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from graphopt.backends.tensorrt.api import Api
from graphopt.ir import Array, DType

__all__ = ["Item", "constant_of", "numpy_dtype", "read_layers"]

_CLASSES: Final = {
    "ACTIVATION": "IActivationLayer",
    "CAST": "ICastLayer",
    "CONCATENATION": "IConcatenationLayer",
    "CONDITION": "IConditionLayer",
    "CONDITIONAL_INPUT": "IIfConditionalInputLayer",
    "CONDITIONAL_OUTPUT": "IIfConditionalOutputLayer",
    "CONSTANT": "IConstantLayer",
    "CONVOLUTION": "IConvolutionLayer",
    "CUMULATIVE": "ICumulativeLayer",
    "DECONVOLUTION": "IDeconvolutionLayer",
    "DEQUANTIZE": "IDequantizeLayer",
    "EINSUM": "IEinsumLayer",
    "ELEMENTWISE": "IElementWiseLayer",
    "FILL": "IFillLayer",
    "GATHER": "IGatherLayer",
    "GRID_SAMPLE": "IGridSampleLayer",
    "IDENTITY": "IIdentityLayer",
    "ITERATOR": "IIteratorLayer",
    "LOOP_OUTPUT": "ILoopOutputLayer",
    "LRN": "ILRNLayer",
    "MATRIX_MULTIPLY": "IMatrixMultiplyLayer",
    "NON_ZERO": "INonZeroLayer",
    "NORMALIZATION": "INormalizationLayer",
    "ONE_HOT": "IOneHotLayer",
    "PADDING": "IPaddingLayer",
    "PARAMETRIC_RELU": "IParametricReLULayer",
    "POOLING": "IPoolingLayer",
    "QUANTIZE": "IQuantizeLayer",
    "RECURRENCE": "IRecurrenceLayer",
    "REDUCE": "IReduceLayer",
    "RESIZE": "IResizeLayer",
    "REVERSE_SEQUENCE": "IReverseSequenceLayer",
    "ROTARY_EMBEDDING": "IRotaryEmbeddingLayer",
    "SCALE": "IScaleLayer",
    "SCATTER": "IScatterLayer",
    "SELECT": "ISelectLayer",
    "SHAPE": "IShapeLayer",
    "SHUFFLE": "IShuffleLayer",
    "SLICE": "ISliceLayer",
    "SOFTMAX": "ISoftMaxLayer",
    "SQUEEZE": "ISqueezeLayer",
    "TOPK": "ITopKLayer",
    "TRIP_LIMIT": "ITripLimitLayer",
    "UNARY": "IUnaryLayer",
    "UNSQUEEZE": "IUnsqueezeLayer",
}


class Item:
    """A layer of a network.

    Attributes:
        kind: name of its ``LayerType``.
        layer: it, of its own class.
        inputs: names of its inputs, ``None`` where there is none.
        outputs: names of its outputs.
    """

    __slots__ = ("inputs", "kind", "layer", "outputs")

    def __init__(self, layer: Any, kind: str) -> None:  # noqa: ANN401  a layer of the library
        self.layer = layer
        self.kind = kind
        given = [layer.get_input(place) for place in range(layer.num_inputs)]
        self.inputs: list[str | None] = [None if item is None else str(item.name) for item in given]
        self.outputs: list[str] = [str(layer.get_output(place).name) for place in range(layer.num_outputs)]

    def __repr__(self) -> str:
        return f"{self.kind} {self.layer.name!r}"


def read_layers(api: Api, network: Any) -> list[Item]:  # noqa: ANN401  INetworkDefinition
    """The layers of a network, in the order in which they were added."""
    found = []
    for place in range(network.num_layers):
        layer = network.get_layer(place)
        kind = str(layer.type).rpartition(".")[2]
        layer.__class__ = getattr(api.module, _CLASSES.get(kind, "ILayer"))
        found.append(Item(layer, kind))
    return found


def constant_of(item: Item, stored: dict[str, Array] | None = None) -> Array | None:
    """The numbers of a constant layer, ``None`` when the library does not give them back."""
    if stored and item.layer.name in stored:
        return stored[item.layer.name]
    weights = item.layer.weights
    if not isinstance(weights, np.ndarray):
        return None
    return np.array(weights).reshape(tuple(item.layer.shape))


def numpy_dtype(api: Api, dtype: Any) -> np.dtype[np.generic]:  # noqa: ANN401  trt.DataType
    """The numpy type of one of the library's element types."""
    found: DType = api.ir_dtype(dtype)
    return found.numpy
