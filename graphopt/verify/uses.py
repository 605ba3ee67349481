"""How operators use an input: a handler by operator, which notes what the use says and gives the values to follow from there."""

from __future__ import annotations

from typing import Final

from graphopt.verify import axis_uses as axis
from graphopt.verify import element_uses as elements
from graphopt.verify import following as follow
from graphopt.verify.following import Handler

__all__ = ["USES"]

_KEEP = "Identity Cast CastLike Clip Max Min Abs Dropout"
_MOVE = "Reshape Slice Split Expand Tile Pad Resize Upsample DepthToSpace SpaceToDepth Compress ReverseSequence"
_COMPUTE = (
    "Neg Relu LeakyRelu PRelu Elu Celu Selu ThresholdedRelu Sigmoid HardSigmoid HardSwish Tanh Gelu Erf Exp Softplus Softsign Mish Swish "
    "Softmax LogSoftmax Hardmax Floor Ceil Round Sign Sin Cos Not BitwiseNot IsNaN IsInf Reciprocal QuantizeLinear DequantizeLinear "
    "DynamicQuantizeLinear LpNormalization MeanVarianceNormalization LRN com.microsoft::FastGelu com.microsoft::BiasGelu "
    "com.microsoft::QuickGelu com.microsoft::Gelu ai.onnx.ml::Imputer"
)
_COMBINE = "Add Sub Mul Pow Mod And Or Xor Sum Mean BitShift BitwiseAnd BitwiseOr PRelu"

USES: Final[dict[str, Handler]] = {
    **dict.fromkeys(_KEEP.split(), follow.keep),
    **dict.fromkeys(_MOVE.split(), follow.move),
    **dict.fromkeys(_COMPUTE.split(), follow.compute),
    **dict.fromkeys(_COMBINE.split(), follow.combine),
    **dict.fromkeys(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"), follow.compare),
    **dict.fromkeys(("Div", "Mod"), elements.divide),
    **dict.fromkeys(("Sqrt", "Log"), elements.arguments({0: ("positive", None, None)})),
    **dict.fromkeys(("Gather", "GatherElements"), elements.gather),
    **dict.fromkeys(("ScatterElements", "Scatter", "ScatterND"), elements.scatter),
    **dict.fromkeys(("Concat", "SequenceConstruct", "Optional", "SequenceInsert"), follow.join),
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "com.microsoft::FusedConv"), axis.convolution(1)),
    **dict.fromkeys(
        ("MatMul", "MatMulInteger", "com.microsoft::FusedMatMul", "com.microsoft::DynamicQuantizeMatMul"),
        axis.product(0, 1),
    ),
    **dict.fromkeys(("RNN", "GRU", "LSTM", "com.microsoft::DynamicQuantizeLSTM"), axis.recurrent),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "GroupNormalization"), axis.normalize),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "com.microsoft::SkipLayerNormalization"), axis.layer_normalize
    ),
    "QLinearConv": axis.convolution(3),
    "QLinearMatMul": axis.product(0, 3),
    "Gemm": axis.gemm,
    "Transpose": follow.transpose,
    "Unsqueeze": follow.unsqueeze,
    "Squeeze": follow.squeeze,
    "Flatten": follow.flatten,
    "GatherND": elements.gather_nd,
    "OneHot": elements.one_hot,
    "com.microsoft::EmbedLayerNormalization": elements.embed,
    "Loop": follow.loop,
    "Scan": follow.scan,
    "Reshape": elements.argument("target_shape", 1, then=follow.move),
    "Expand": elements.argument("size", 1, 1, 1, then=follow.move),
    "Tile": elements.argument("size", 1, 1, 2, then=follow.move),
    "ConstantOfShape": elements.argument("size", 0, 1, 3),
    "Range": elements.arguments({0: ("zero", 0, 0), 1: ("count", 3, 6), 2: ("positive", 1, 1)}),
    "TopK": elements.argument("count", 1, 1, 2),
    "Slice": elements.arguments(
        {1: ("zero", 0, 0), 2: ("far", None, None), 3: ("axes", None, None), 4: ("count", 1, 1)}, follow.move
    ),
    "Pad": elements.arguments({1: ("size", 0, 1), 3: ("axes", None, None)}, follow.move),
    "Resize": elements.arguments({2: ("scale", None, None), 3: ("size", 1, 6)}, follow.move),
    "Upsample": elements.argument("scale", 1, then=follow.move),
    "CumSum": elements.argument("zero", 1, 0, 0, then=follow.compute),
    "Trilu": elements.argument("count", 1, 0, 1, then=follow.keep),
    "Dropout": elements.arguments({1: ("unit", None, None), 2: ("zero", 0, 0)}, follow.keep),
    "ReverseSequence": elements.argument("count", 1, 1, 2, then=follow.move),
    "NonMaxSuppression": elements.arguments({2: ("count", 2, 5), 3: ("unit", None, None), 4: ("unit", None, None)}),
    "RoiAlign": elements.arguments({1: ("positive", None, None), 2: ("zero", 0, 0)}),
    "Bernoulli": elements.arguments({0: ("unit", None, None)}),
    "SequenceAt": elements.argument("zero", 1, 0, 0),
    "SequenceErase": elements.argument("zero", 1, 0, 0),
    "QuantizeLinear": elements.argument("positive", 1, then=follow.compute),
    "DequantizeLinear": elements.argument("positive", 1, then=follow.compute),
    "ai.onnx.ml::Scaler": axis.features("offset", "scale"),
    "ai.onnx.ml::FeatureVectorizer": follow.compute,
    "ai.onnx.ml::Normalizer": follow.compute,
    "ai.onnx.ml::LinearClassifier": axis.linear,
    "ai.onnx.ml::LinearRegressor": axis.linear,
    **dict.fromkeys(
        ("ai.onnx.ml::TreeEnsembleClassifier", "ai.onnx.ml::TreeEnsembleRegressor", "ai.onnx.ml::TreeEnsemble"),
        axis.trees,
    ),
    "ai.onnx.ml::LabelEncoder": elements.texts("keys_strings", "keys_int64s", "classes_strings"),
    "ai.onnx.ml::CategoryMapper": elements.texts("cats_strings", "cats_int64s"),
    "ai.onnx.ml::OneHotEncoder": elements.texts("cats_strings", "cats_int64s"),
    "ai.onnx.ml::DictVectorizer": elements.texts("string_vocabulary", "int64_vocabulary"),
    "TfIdfVectorizer": elements.texts("pool_strings", "pool_int64s"),
    "StringNormalizer": elements.texts("stopwords"),
}
