"""What ONNX Runtime computes on integers on CPU, as schemes.

Found by loading models of one operator between QuantizeLinear and DequantizeLinear into ONNX Runtime 1.32 and reading the graph that its
optimizer left: an operator is listed when no float kernel of it was left there. A test does that again. Two have none, but are spelled by
others: HardSigmoid as an Add of integers that saturate, BatchNormalization as a convolution of each channel by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphopt.target import QuantizationScheme

__all__ = ["ARM64", "X64"]

#: uint8 activations times int8 weights is what VNNI multiplies; processors without it need ``reduce_range``.
X64: Final = QuantizationScheme(
    "onnxruntime-x64",
    activation="uint8",
    weight="int8",
    static_ops=frozenset(
        {
            "Add",
            "AveragePool",
            "BatchNormalization",
            "Concat",
            "Conv",
            "Gemm",
            "GlobalAveragePool",
            "HardSigmoid",
            "LeakyRelu",
            "MatMul",
            "Mul",
            "Sigmoid",
            "Softmax",
            "Where",
        }
    ),
    passing_ops=frozenset(
        {
            "DepthToSpace",
            "Expand",
            "Flatten",
            "Gather",
            "GatherElements",
            "MaxPool",
            "Reshape",
            "Resize",
            "Slice",
            "Split",
            "Squeeze",
            "Tile",
            "Transpose",
            "Unsqueeze",
        }
    ),
    float_output_ops=frozenset({"Gemm", "MatMul"}),
    activations=frozenset({"Clip", "Relu"}),
    dynamic_ops=frozenset({"Attention", "GRU", "LSTM", "MatMul"}),
    blocked_weights=frozenset({"int8", "uint8", "int4", "uint4", "int2", "uint2"}),
)

#: int8 both: Arm multiplies equal signs, with dot products or matrix instructions. ONNX Runtime on x64 makes uint8 of int8 activations, and
#: leaves floats where two nodes read one.
ARM64: Final = replace(X64, name="onnxruntime-arm64", activation="int8")
