"""Targets that are no more than a description here: any runtime, and TensorRT, whose backend a plugin brings.

Source: the operator matrix of https://github.com/onnx/onnx-tensorrt (facts only).
"""

from __future__ import annotations

from typing import Final

from graphopt.target import QuantizationScheme, Target

__all__ = ["ONNX", "TENSORRT"]

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

#: What most runtimes compute on integers.
_PORTABLE_SCHEME: Final = QuantizationScheme(
    "onnx",
    static_ops=frozenset({"Add", "AveragePool", "Concat", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "Mul"}),
    passing_ops=_MOVING,
    float_output_ops=frozenset({"Gemm", "MatMul"}),
    activations=frozenset({"Clip", "Relu"}),
)

#: TensorRT takes no zero point but 0, and gives floats from any integer layer.
_TENSORRT_SCHEME: Final = QuantizationScheme(
    "tensorrt",
    activation="int8",
    symmetric_activations=True,
    static_ops=frozenset(
        {"Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Gemm", "GlobalAveragePool", "MatMul", "Mul"}
    ),
    passing_ops=_MOVING,
    float_output_ops=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}),
    activations=frozenset({"Clip", "LeakyRelu", "Relu"}),
    saturating=False,
)

ONNX: Final = Target(
    "onnx",
    quantization=_PORTABLE_SCHEME,
    doc="Any runtime: standard operators at the model's own opset.",
)

#: TensorRT 10 parses opsets up to 22; from 17 and 20 on it makes one layer of LayerNormalization and Gelu.
TENSORRT: Final = Target(
    "tensorrt",
    max_opset=22,
    unsupported=frozenset(
        {
            "BitShift",
            "Compress",
            "ConcatFromSequence",
            "ConvInteger",
            "Det",
            "DynamicQuantizeLinear",
            "ImageDecoder",
            "MatMulInteger",
            "MaxRoiPool",
            "MaxUnpool",
            "Multinomial",
            "NegativeLogLikelihoodLoss",
            "Optional",
            "OptionalGetElement",
            "OptionalHasElement",
            "QLinearConv",
            "QLinearMatMul",
            "RegexFullMatch",
            "SequenceAt",
            "SequenceConstruct",
            "SequenceEmpty",
            "SequenceErase",
            "SequenceInsert",
            "SequenceLength",
            "SequenceMap",
            "SoftmaxCrossEntropyLoss",
            "SplitToSequence",
            "StringConcat",
            "StringNormalizer",
            "StringSplit",
            "TfIdfVectorizer",
            "Unique",
        }
    ),
    preferred_opset=20,
    quantization=_TENSORRT_SCHEME,
    doc="NVIDIA TensorRT: standard operators, without sequences and text.",
)
