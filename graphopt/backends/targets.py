"""Targets that are no more than a description here: any runtime, and TensorRT, whose backend a plugin brings.

Source: the operator matrix of https://github.com/onnx/onnx-tensorrt (facts only).
"""

from __future__ import annotations

from typing import Final

from graphopt.target import Target

__all__ = ["ONNX", "TENSORRT"]

ONNX: Final = Target("onnx", doc="Any runtime: standard operators at the model's own opset.")

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
    doc="NVIDIA TensorRT: standard operators, without sequences and text.",
)
