"""Range, scale and zero point of what each static layer reads, as they stand in a quantized model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from graphopt.analysis.model_survey import label_of, origins_of
from graphopt.ir import DType, Model, Node, Value
from graphopt.transforms.quantization.parameters import integer_range

__all__ = ["LayerParameters", "layer_parameters"]


@dataclass(frozen=True, slots=True)
class LayerParameters:
    """How what a layer reads is stored.

    Attributes:
        value: name of the tensor.
        dtype: stored element type.
        scale: a step.
        zero_point: what zero is stored as.
        low: the smallest number that can be stored.
        high: the largest.
        weight_steps: smallest and largest scale of the channels of its weight, 0 where not known.
    """

    value: str
    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float
    weight_steps: tuple[float, float] = (0.0, 0.0)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "tensor": self.value,
            "dtype": self.dtype,
            "scale": self.scale,
            "zero_point": self.zero_point,
            "low": self.low,
            "high": self.high,
            "weight_scales": list(self.weight_steps),
        }


def layer_parameters(model: Model, names: Collection[str]) -> dict[str, LayerParameters]:
    """Parameters of the layers that read quantized values, by name of the layer.

    In the QDQ form, of QLinear operators, and of ONNX Runtime's products of integers that give floats.

    Args:
        model: quantized.
        names: of layers.
    """
    found: dict[str, LayerParameters] = {}
    wanted = set(names)
    for node in model.graph.nodes:
        name = next((item for item in (label_of(node), *origins_of(node)) if item in wanted), None)
        if name is None or name in found:
            continue
        read = _parameters(node)
        if read is not None:
            found[name] = read
    return found


def _parameters(node: Node) -> LayerParameters | None:
    if node.op_type.startswith("QLinear") or node.op_type == "QGemm":
        value, scale, zero, weight = node.input_at(0), node.input_at(1), node.input_at(2), node.input_at(4)
        return None if value is None else _read(value.name, scale, zero, weight)
    x, w = node.input_at(0), node.input_at(1)
    if node.op_type == "MatMulIntegerToFloat":
        return _read(_real_name(x), node.input_at(2), node.input_at(4), node.input_at(3))
    before = None if x is None else x.producer
    if before is None or before.op_type != "DequantizeLinear":
        return None
    name = _real_name(before.input_at(0))
    decoder = None if w is None else w.producer
    steps = decoder.input_at(1) if decoder is not None and decoder.op_type == "DequantizeLinear" else None
    return _read(name, before.input_at(1), before.input_at(2), steps)


def _real_name(stored: Value | None) -> str:
    """Name of the floats that integers were made of, of the integers where nobody knows."""
    quantizer = None if stored is None else stored.producer
    real = quantizer.input_at(0) if quantizer is not None and quantizer.op_type == "QuantizeLinear" else None
    return real.name if real is not None else "" if stored is None else stored.name


def _read(name: str, scale: Value | None, zero: Value | None, weight: Value | None) -> LayerParameters | None:
    step = None if scale is None else scale.array()
    if step is None or step.size != 1:
        return None
    offset = None if zero is None else zero.array()
    dtype = DType.UINT8 if zero is None or zero.dtype is None else zero.dtype
    middle = 0 if offset is None else int(offset.reshape(-1)[0])
    least, most = integer_range(dtype)
    width = float(step.reshape(-1)[0])
    steps = None if weight is None else weight.array()
    ends = (0.0, 0.0) if steps is None or not steps.size else (float(np.min(steps)), float(np.max(steps)))
    return LayerParameters(
        name,
        str(dtype),
        width,
        middle,
        (least - middle) * width,
        (most - middle) * width,
        ends,
    )
