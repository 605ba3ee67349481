"""Kinds of operators whose time follows their operations and bytes in the same way."""

from __future__ import annotations

from typing import Final

from graphopt.ir import Node

__all__ = ["CLASSES", "cost_class"]

_MICROSOFT: Final = ("com.microsoft::", "com.microsoft.nchwc::", "com.ms.internal.nhwc::")

#: Operators of each class. Those of ONNX Runtime's own domains stand here under their own names too.
CLASSES: Final = {
    "convolution": "Conv ConvActivation ConvTranspose FusedConv",
    "depthwise convolution": "",  # a Conv with groups; see below
    "product": "Einsum FusedGemm FusedMatMul Gemm MatMul TransposeMatMul",
    "quantized product": "ConvInteger DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat MatMulNBits QGemm QLinearConv "
    "QLinearMatMul",
    "attention": "Attention GroupQueryAttention MultiHeadAttention PackedAttention",
    "recurrent": "DynamicQuantizeLSTM GRU LSTM RNN",
    "normalization": "BatchNormalization EmbedLayerNormalization GroupNorm GroupNormalization InstanceNormalization LRN "
    "LayerNormalization LpNormalization MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization SkipGroupNorm "
    "SkipLayerNormalization SkipSimplifiedLayerNormalization",
    "softmax": "Hardmax LogSoftmax Softmax",
    "reduction": "ArgMax ArgMin CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare TopK",
    "pooling": "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool QLinearAveragePool QLinearGlobalAveragePool",
    "elementwise": "Abs Add And Ceil Clip Div Equal Floor Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less "
    "LessOrEqual Max Mean Min Mod Mul Neg Not Or PRelu QLinearAdd QLinearMul Reciprocal Relu Round Sign Sqrt Sub Sum ThresholdedRelu Where "
    "Xor",
    "transcendental": "Acos Acosh Asin Asinh Atan Atanh BiasGelu BiasSplitGelu Celu Cos Cosh Elu Erf Exp FastGelu Gelu Log Mish Pow "
    "QLinearLeakyRelu QLinearSigmoid QuickGelu RotaryEmbedding Selu Sigmoid Silu Sin Sinh Softplus Softsign Swish Tan Tanh",
    "conversion": "Cast CastLike DequantizeLinear DynamicQuantizeLinear QuantizeLinear",
    "movement": "Compress Concat ConstantOfShape Expand EyeLike Gather GatherElements GatherND NonZero OneHot Pad "
    "QLinearConcat Range ReverseSequence Scatter ScatterElements ScatterND Slice Split Tile Trilu",
    "transposition": "DepthToSpace ReorderInput ReorderOutput SpaceToDepth Transpose",
    "interpolation": "GridSample Resize Upsample",
    "constant": "Constant",
    "view": "Dropout Flatten Identity Reshape Shape Size Squeeze Unsqueeze",
}

_BY_OP: Final = {op: name for name, ops in CLASSES.items() for op in ops.split()}


def cost_class(node: Node) -> str | None:
    """The class of a node; ``None`` for control flow, and for what nobody knows.

    Example:
        >>> cost_class(Node("Relu")), cost_class(Node("MatMul")), cost_class(Node("Loop"))
        ('elementwise', 'product', None)
    """
    if node.domain and not f"{node.domain}::".startswith((*_MICROSOFT, "graphopt::")):
        return None
    found = _BY_OP.get(node.op_type)
    if found == "convolution" and _is_grouped(node):
        return "depthwise convolution"
    return found


def _is_grouped(node: Node) -> bool:
    """Whether each output is made from a few channels: the group is most of what is read."""
    weight = node.input_at(1)
    shape = None if weight is None else weight.shape
    return node.int_attr("group", 1) > 1 and shape is not None and len(shape) > 2 and shape[1] == 1
