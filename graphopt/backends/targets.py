"""Targets that are no more than a description here: any runtime, and TensorRT, whose backend a plugin brings.

Source: the operator matrix of https://github.com/onnx/onnx-tensorrt (facts only).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphopt.backends.tensorrt.kernels import ConvertedOperators
from graphopt.target import QuantizationScheme, Target

__all__ = ["ONNX", "TENSORRT", "TENSORRT_RTX"]

#: Operators that move or choose numbers, so that they mean the same on integers.
_MOVING: Final = frozenset(
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
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)

_FLOATS: Final = frozenset({"float", "float16", "bfloat16"})

#: What most runtimes compute on integers.
_PORTABLE_SCHEME: Final = QuantizationScheme(
    "onnx",
    static_ops=frozenset({"Add", "AveragePool", "Concat", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Mul"}),
    passing_ops=_MOVING,
    float_output_ops=frozenset({"Gemm", "MatMul"}),
    floats=_FLOATS,
    activations=frozenset({"Clip", "Relu"}),
)

#: TensorRT takes no zero point but 0 and no stored bias, and gives floats from any integer layer.
_TENSORRT_SCHEME: Final = QuantizationScheme(
    "tensorrt",
    activation="int8",
    symmetric_activations=True,
    integer_biases=False,
    static_ops=frozenset(
        {"Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "Mul"}
    ),
    passing_ops=_MOVING,
    float_output_ops=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}),
    floats=_FLOATS,
    activations=frozenset({"Clip", "LeakyRelu", "Relu"}),
    saturating=False,
)

ONNX: Final = Target(
    "onnx",
    quantization=_PORTABLE_SCHEME,
    doc="Any runtime: standard operators at the model's own opset.",
)

#: Networks are built layer by layer, so any opset is taken; from 17 and 20 on LayerNormalization and Gelu are one layer.
TENSORRT: Final = Target(
    "tensorrt",
    backend="tensorrt",
    preferred_opset=20,
    kernels=ConvertedOperators(),
    quantization=_TENSORRT_SCHEME,
    doc="NVIDIA TensorRT: engines built layer by layer; what it has no layers for is refused.",
)

TENSORRT_RTX: Final = replace(
    TENSORRT,
    name="tensorrt-rtx",
    doc="NVIDIA TensorRT for RTX: the same, and engines can be built without a GPU.",
)
