"""Quantization: to integers and back, and ONNX Runtime's operators on quantized tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphopt.analysis.shape_inference.broadcasting import broadcast_shapes
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.analysis.shape_inference.joining import concatenated
from graphopt.analysis.shape_inference.matrices import multiplied
from graphopt.ir import DType, Node, TensorType, Type

__all__ = ["FUNCTIONS"]


def _stated(node: Node) -> DType | None:
    stated = node.attributes.get("output_dtype")
    return DType(stated.value) if stated is not None and isinstance(stated.value, int) and stated.value else None


def _quantize(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = dtype_at(node, 2) or _stated(node) or (DType.UINT8 if node.input_at(2) is None else None)
    return (tensor(dtype, shape_at(node, facts, 0)),)


def _dequantize(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(_stated(node) or dtype_at(node, 1), shape_at(node, facts, 0)),)


def _dynamic_quantize(node: Node, facts: Facts) -> Sequence[Type | None]:
    found = (
        TensorType(DType.UINT8, shape_at(node, facts, 0)),
        TensorType(DType.FLOAT, ()),
        TensorType(DType.UINT8, ()),
    )
    return found[: len(node.outputs)]


def _binary(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``A, A_scale, A_zero, B, B_scale, B_zero, C_scale, C_zero``."""
    return (tensor(dtype_at(node, 0), broadcast_shapes([shape_at(node, facts, 0), shape_at(node, facts, 3)])),)


def _unary(node: Node, facts: Facts) -> Sequence[Type | None]:
    return (tensor(dtype_at(node, 0), shape_at(node, facts, 0)),)


def _concat(node: Node, facts: Facts) -> Sequence[Type | None]:
    """``Y_scale, Y_zero`` and then three inputs for each tensor."""
    shapes = [facts.shape(value) for value in node.inputs[2::3]]
    return (tensor(dtype_at(node, 1), concatenated(shapes, node.int_attr("axis", 0))),)


def _float_matmul(weight: int) -> Callable[[Node, Facts], Sequence[Type | None]]:
    def infer(node: Node, facts: Facts) -> Sequence[Type | None]:
        return (TensorType(DType.FLOAT, multiplied(shape_at(node, facts, 0), shape_at(node, facts, weight))),)

    return infer


def _matmul_nbits(node: Node, facts: Facts) -> Sequence[Type | None]:
    x, columns = shape_at(node, facts, 0), node.attributes.get("N")
    size = columns.value if columns is not None and isinstance(columns.value, int) else None
    return (tensor(dtype_at(node, 0), None if not x else (*x[:-1], size)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    **dict.fromkeys(("QuantizeLinear", "com.microsoft::QuantizeLinear"), _quantize),
    **dict.fromkeys(("DequantizeLinear", "com.microsoft::DequantizeLinear"), _dequantize),
    "DynamicQuantizeLinear": _dynamic_quantize,
    **dict.fromkeys(("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul"), _binary),
    **dict.fromkeys(
        ("com.microsoft::QLinearSigmoid", "com.microsoft::QLinearLeakyRelu", "com.microsoft::QLinearSoftmax"), _unary
    ),
    "com.microsoft::QLinearConcat": _concat,
    "com.microsoft::MatMulIntegerToFloat": _float_matmul(1),
    "com.microsoft::DynamicQuantizeMatMul": _float_matmul(1),
    "com.microsoft::MatMulNBits": _matmul_nbits,
}
