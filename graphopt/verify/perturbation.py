"""How much the outputs of a model move when its rounding changes and nothing else: the measure for what a check may overlook.

Three things change only rounding: ONNX Runtime's own optimizer, inputs moved by a unit in the last place, and weights moved by one. Each
is applied to the original alone; the optimized model has no say in what it is allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import ml_dtypes
import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto

from graphopt.ir import Array, Constant, DType, pack_bytes
from graphopt.runtime.base import Datum, Feeds
from graphopt.serde import constant_from_proto

__all__ = ["nudge_constants", "nudge_feeds"]

logger = logging.getLogger(__name__)

#: Operators whose constant inputs are numbers to compute with, not sizes or limits.
_ARITHMETIC: Final = frozenset(
    {
        *("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN", "PRelu"),
        *(
            "BatchNormalization",
            "LayerNormalization",
            "InstanceNormalization",
            "GroupNormalization",
            "RMSNormalization",
        ),
        *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"),
    }
)
_LARGEST_CONSTANT: Final = 1 << 22


def nudge_feeds(feeds: Feeds, narrowest: DType | None, rng: np.random.Generator) -> dict[str, Datum]:
    """Inputs with their floating-point numbers moved by a rounding error, up or down at random; zeros stay.

    Args:
        feeds: inputs by name.
        narrowest: coarsest type that the model computes in: the error is one of that type, if an input's own is finer.
        rng: where randomness comes from.
    """
    return {name: _nudge_datum(value, narrowest, rng) for name, value in feeds.items()}


def _nudge_datum(value: Datum, narrowest: DType | None, rng: np.random.Generator) -> Datum:
    if isinstance(value, list):
        return [_nudge_datum(item, narrowest, rng) for item in value]
    if not isinstance(value, np.ndarray) or value.dtype.kind in "OSUbiuc":
        return value
    return _nudge(value, narrowest, rng)


def _nudge(array: Array, narrowest: DType | None, rng: np.random.Generator) -> Array:
    dtype = DType.from_numpy(array.dtype)
    if not dtype.is_float or dtype.bits < 16:
        return array
    eps = _eps(dtype)
    if narrowest is not None and narrowest.bits >= 16:
        eps = max(eps, _eps(narrowest) / 2)
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        moved = (wide * (1 + eps * rng.choice((-1.0, 1.0), array.shape))).astype(array.dtype)
    return np.where(np.isfinite(wide), moved, array)


def _eps(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype.numpy).eps)  # type: ignore[no-untyped-call]  # ml_dtypes ships no types


def nudge_constants(model: ModelProto, rng: np.random.Generator) -> ModelProto:
    """A copy of a model whose floating-point weights are moved by a unit in the last place, up or down at random.

    Only weights inside the message that arithmetic operators read directly; quantized ones stay.

    Args:
        model: is not changed.
        rng: where randomness comes from.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    for graph in _graphs(copy.graph):
        used = {name for node in graph.node if node.op_type in _ARITHMETIC for name in node.input}
        for tensor in graph.initializer:
            if tensor.name in used:
                _nudge_tensor(tensor, rng)
        for node in graph.node:
            if node.op_type == "Constant" and not node.domain and node.output[0] in used:
                for attribute in node.attribute:
                    if attribute.name == "value":
                        _nudge_tensor(attribute.t, rng)
    return copy


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    todo = [graph]
    while todo:
        graph = todo.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    todo.append(attribute.g)
                todo.extend(attribute.graphs)


def _nudge_tensor(tensor: TensorProto, rng: np.random.Generator) -> None:
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type not in floats:
        return
    constant: Constant = constant_from_proto(tensor)
    if constant.size > _LARGEST_CONSTANT:
        return
    moved = _nudge(constant.numpy(), None, rng)
    for field in ("float_data", "double_data", "int32_data"):
        tensor.ClearField(field)
    tensor.raw_data = pack_bytes(moved, constant.dtype)
