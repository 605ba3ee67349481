"""Operators by how they bear narrow floats."""

from __future__ import annotations

from typing import Final

__all__ = [
    "FLEXIBLE",
    "FROM_INTEGERS",
    "HEAVY",
    "MEANS",
    "POOLS",
    "PRODUCTS",
    "REDUCTIONS",
    "ROOTS",
    "SENSITIVE",
    "SUMS",
]

#: Inputs of any type, with which nothing else has to agree.
FLEXIBLE: Final = frozenset({"Cast", "Shape", "Size", "IsNaN", "NonZero"})
#: Operators that stay as they are, and why.
SENSITIVE: Final = {
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
        "draws numbers",
    ),
    **dict.fromkeys(
        ("TopK", "NonMaxSuppression", "ArgMax", "ArgMin", "Unique", "Hardmax"), "finds places, which ties would change"
    ),
    **dict.fromkeys(("CumSum", "CumProd", "Range"), "counts"),
    "MeanVarianceNormalization": "is defined by numbers of float32",
    **dict.fromkeys(
        ("Resize", "Upsample", "GridSample", "RoiAlign", "MaxRoiPool", "AffineGrid", "DeformConv"),
        "reads at places that it computes",
    ),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"), "quantizes"),
    **dict.fromkeys(("Det", "DFT", "STFT", "MelWeightMatrix", "SoftmaxCrossEntropyLoss"), "cancels digits"),
}
#: Sums over axes that a node states.
REDUCTIONS: Final = frozenset(
    {
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMean",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    }
)
#: Sums over all axes behind the second.
POOLS: Final = frozenset({"GlobalAveragePool", "GlobalLpPool"})
#: Those that stay in range however many numbers there are.
MEANS: Final = frozenset({"GlobalAveragePool", "ReduceMean"})
PRODUCTS: Final = frozenset({"MatMul", "Gemm"})
#: Operators that keep a small number away from 0.
SUMS: Final = frozenset({"Add", "Clip", "Max"})
#: What makes a divisor or factor of a small number.
ROOTS: Final = frozenset({"Log", "Pow", "Reciprocal", "Sqrt"})
_FROM_INTEGERS: Final = (
    "Abs Add Cast Ceil Clip Concat Cos Div Einsum Exp Expand Flatten Floor Gather Identity Log MatMul Max Min Mod Mul Neg Pow "
    "Reciprocal Reshape Round Sign Sin Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze Where"
)
#: Operators by which what is computed from integers goes on being that.
FROM_INTEGERS: Final = frozenset(_FROM_INTEGERS.split())
#: Operators that do so much work that casts around them pay; others stay with what is around them.
HEAVY: Final = frozenset(
    {
        "Attention",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "RNN",
        "com.microsoft::Attention",
        "com.microsoft::FusedMatMul",
        "com.microsoft::GroupQueryAttention",
        "com.microsoft::MatMulNBits",
        "com.microsoft::MultiHeadAttention",
    }
)
