"""Floating-point operations of one node, from the shapes of what it reads and gives.

A multiply-accumulate counts as two. An elementwise operator counts one an element however its function is computed, a reduction one for
each element it reads, pooling one for each element under its window, softmax five an element (maximum, subtract, exponential, sum,
divide), normalization over the data itself seven. Moving, selecting and converting data counts nothing. The gates of recurrent networks
count by their matrix products and biases.
"""

from __future__ import annotations

from collections.abc import Callable

from graphopt.ir import Dim, Node, Shape, SymbolicDim, Value, dim_product

__all__ = ["FREE", "ShapeOf", "flops_of"]

#: The shape of a value, ``None`` when its rank is unknown.
ShapeOf = Callable[[Value | None], Shape | None]
Formula = Callable[[Node, ShapeOf], Dim]

_MICROSOFT = "com.microsoft::"
#: Where ONNX Runtime has convolutions in a blocked layout.
_NCHWC = "com.microsoft.nchwc::"


def _times(*factors: Dim) -> Dim:
    return dim_product(factors)


def _plus(a: Dim, b: Dim) -> Dim:
    return None if a is None or b is None else a + b


def _size(shape: Shape | None) -> Dim:
    return None if shape is None else dim_product(shape)


def _input(node: Node, index: int, shape_of: ShapeOf) -> Shape | None:
    return shape_of(node.input_at(index))


def _output(node: Node, shape_of: ShapeOf) -> Dim:
    return _size(shape_of(node.outputs[0])) if node.outputs else None


def _per_output(weight: int) -> Formula:
    return lambda node, shape_of: _times(weight, _output(node, shape_of))


def _per_input(weight: int) -> Formula:
    return lambda node, shape_of: _times(weight, _size(_input(node, 0, shape_of)))


def _convolution(weight: int, bias: int | None) -> Formula:
    """``weight`` is [M, C/group, k...]: each output element takes ``C/group * k`` multiply-accumulates."""

    def formula(node: Node, shape_of: ShapeOf) -> Dim:
        kernel = _input(node, weight, shape_of)
        if kernel is None:
            return None
        out = _output(node, shape_of)
        products = _times(2, out, *kernel[1:])
        return products if bias is None or node.input_at(bias) is None else _plus(products, out)

    return formula


def _fused_convolution(node: Node, shape_of: ShapeOf) -> Dim:
    """Convolution, then an activation."""
    return _plus(_convolution(1, 2)(node, shape_of), _output(node, shape_of))


def _transposed_convolution(node: Node, shape_of: ShapeOf) -> Dim:
    """The weight is [C, M/group, k...]: each input element is spread over ``M/group * k`` outputs."""
    kernel = _input(node, 1, shape_of)
    if kernel is None:
        return None
    products = _times(2, _size(_input(node, 0, shape_of)), *kernel[1:])
    return products if node.input_at(2) is None else _plus(products, _output(node, shape_of))


def _gemm(node: Node, shape_of: ShapeOf) -> Dim:
    a = _input(node, 0, shape_of)
    out = _output(node, shape_of)
    if a is None or len(a) != 2:
        return None
    products = _times(2, out, a[0] if node.int_attr("transA", 0) else a[1])
    return products if node.input_at(2) is None else _plus(products, out)


def _matrix_product(right: int = 1) -> Formula:
    def formula(node: Node, shape_of: ShapeOf) -> Dim:
        a, b = _input(node, 0, shape_of), _input(node, right, shape_of)
        inner = (a[-1] if a else None, b[-2 if len(b) > 1 else 0] if b else None)
        return _times(2, _output(node, shape_of), _known_best(*inner))

    return formula


def _known_best(a: Dim, b: Dim) -> Dim:
    """Of two sizes that must be equal, a number if one is, else an expression if one is."""
    return a if isinstance(a, int) or b is None else b


def _packed_matrix_product(node: Node, shape_of: ShapeOf) -> Dim:
    """``com.microsoft::MatMulNBits``: K is an attribute, the weight is packed."""
    return _times(2, _output(node, shape_of), node.int_attr("K"))


def _einsum(node: Node, shape_of: ShapeOf) -> Dim:
    """One multiplication for each operand after the first, one addition if a label is summed, over all labels."""
    left, arrow, right = node.str_attr("equation").replace(" ", "").partition("->")
    if not arrow or "." in left:
        return None
    sizes: dict[str, Dim] = {}
    for index, labels in enumerate(left.split(",")):
        shape = _input(node, index, shape_of)
        if shape is None or len(shape) != len(labels):
            return None
        for label, dim in zip(labels, shape, strict=True):
            if sizes.get(label) in (None, 1):
                sizes[label] = dim
    summed = bool(set(sizes) - set(right))
    return _times(left.count(",") + summed, *sizes.values())


def _recurrent(node: Node, shape_of: ShapeOf) -> Dim:
    """X is [steps, batch, in]; W [directions, gates * hidden, in], R [directions, gates * hidden, hidden]: all of both, each step."""
    x = _input(node, 0, shape_of)
    if x is None or len(x) != 3:
        return None
    weights = _plus(_size(_input(node, 1, shape_of)), _size(_input(node, 2, shape_of)))
    work = _times(2, weights)
    if node.input_at(3) is not None:
        work = _plus(work, _size(_input(node, 3, shape_of)))
    return _times(x[0], x[1], work)


def _attention(node: Node, shape_of: ShapeOf) -> Dim:
    """Q K', softmax, times V; inputs are [batch, heads, length, head] or [batch, length, heads * head]."""
    q, k, v = (_input(node, index, shape_of) for index in range(3))
    if q is None or k is None or v is None:
        return None
    past = _input(node, 4, shape_of)
    if len(q) == 4 and len(k) == 4 and len(v) == 4:
        length = k[2] if past is None else _plus(k[2], past[2])
        scores = _times(q[0], q[1], q[2], length)
        return _plus(_plus(_times(2, scores, q[3]), _times(2, scores, v[3])), _times(5, scores))
    heads, kv_heads = node.int_attr("q_num_heads", 0), node.int_attr("kv_num_heads", 0)
    if len(q) != 3 or len(k) != 3 or len(v) != 3 or not heads or not kv_heads or v[2] is None:
        return None
    length = k[1] if past is None else _plus(k[1], past[2])
    scores = _times(q[0], q[1], length)
    products = _plus(_times(2, scores, q[2]), _times(2, scores, heads, v[2] // kv_heads))
    return _plus(products, _times(5, scores, heads))


def _multi_head_attention(node: Node, shape_of: ShapeOf) -> Dim:
    """``com.microsoft::MultiHeadAttention`` with separate query, key and value [batch, length, hidden]."""
    q, k, v = (_input(node, index, shape_of) for index in range(3))
    if q is None or k is None or v is None or not len(q) == len(k) == len(v) == 3:
        return None
    scores = _times(q[0], q[1], k[1])
    return _plus(_times(2, scores, _plus(q[2], v[2])), _times(5, scores, node.int_attr("num_heads")))


def _fused_matrix_product(node: Node, shape_of: ShapeOf) -> Dim:
    """``com.microsoft::FusedMatMul``, whose left factor may be transposed."""
    left = _input(node, 0, shape_of)
    if left is None or len(left) < 2:
        return _matrix_product()(node, shape_of)
    return _times(2, _output(node, shape_of), left[-2 if node.int_attr("transA", 0) else -1])


def _pool(node: Node, shape_of: ShapeOf) -> Dim:
    return _times(_output(node, shape_of), *(node.ints_attr("kernel_shape") or (None,)))


def _variadic(node: Node, shape_of: ShapeOf) -> Dim:
    """One operation between neighbours; a mean also divides."""
    return _times(len(node.inputs) - (node.op_type != "Mean"), _output(node, shape_of))


def _resize(node: Node, shape_of: ShapeOf) -> Dim:
    """A multiply-accumulate for each neighbour that an element is interpolated from."""
    mode = node.str_attr("mode", "nearest")
    if mode == "nearest":
        return 0
    before, after = _input(node, 0, shape_of), shape_of(node.outputs[0])
    if before is None or after is None:
        return None
    axes = sum(a != b for a, b in zip(before, after, strict=False))
    return _times(2 * (4 if mode == "cubic" else 2) ** axes, dim_product(after))


def _local_response(node: Node, shape_of: ShapeOf) -> Dim:
    return _times(2 * node.int_attr("size") + 3, _output(node, shape_of))


def _nothing(node: Node, shape_of: ShapeOf) -> Dim:
    return 0


def _names(text: str) -> list[str]:
    return text.split()


def _table(formula: Formula, names: str) -> dict[str, Formula]:
    return dict.fromkeys(_names(names), formula)


_ELEMENTWISE = (
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh Div "
    "Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Mish Mod "
    "Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Swish Tan Tanh "
    "ThresholdedRelu Xor"
)
_REDUCTIONS = (
    "ArgMax ArgMin CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK"
)

_MOVEMENT = (
    "Cast CastLike Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Dropout Expand EyeLike Flatten Gather "
    "GatherElements GatherND Identity NonZero OneHot Optional OptionalGetElement OptionalHasElement Pad Range Reshape "
    "ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert "
    "SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze TensorScatter Tile Transpose Trilu Unique "
    "Unsqueeze Upsample Where"
)

#: Operators that only move, select, convert or make data.
FREE = frozenset(_names(_MOVEMENT))

_FORMULAS: dict[str, Formula] = {
    **_table(_per_output(1), _ELEMENTWISE),
    **_table(_per_input(1), _REDUCTIONS),
    **_table(_variadic, "Max Mean Min Sum"),
    **_table(_per_output(2), "BatchNormalization DequantizeLinear QuantizeLinear"),
    **_table(_per_output(5), "Hardmax LogSoftmax RMSNormalization Softmax LpNormalization"),
    **_table(_per_output(7), "GroupNormalization InstanceNormalization LayerNormalization MeanVarianceNormalization"),
    **_table(_per_output(8), f"{_MICROSOFT}SkipLayerNormalization"),
    **_table(_per_output(1), f"{_MICROSOFT}Gelu {_MICROSOFT}FastGelu {_MICROSOFT}QuickGelu"),
    **_table(_per_output(2), f"{_MICROSOFT}BiasGelu"),
    **_table(_recurrent, "GRU LSTM RNN"),
    **_table(_pool, "AveragePool LpPool MaxPool"),
    "Attention": _attention,
    "Conv": _convolution(1, 2),
    "ConvInteger": _convolution(1, None),
    "ConvTranspose": _transposed_convolution,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "LRN": _local_response,
    "MatMul": _matrix_product(),
    "MatMulInteger": _matrix_product(),
    "QLinearConv": _convolution(3, 8),
    "QLinearMatMul": _matrix_product(3),
    "Resize": _resize,
    f"{_MICROSOFT}FusedConv": _fused_convolution,
    f"{_MICROSOFT}FusedMatMul": _fused_matrix_product,
    f"{_MICROSOFT}MatMulNBits": _packed_matrix_product,
    f"{_MICROSOFT}MultiHeadAttention": _multi_head_attention,
    "graphopt::ConvActivation": _fused_convolution,
    **_table(_matrix_product(), f"{_MICROSOFT}DynamicQuantizeMatMul {_MICROSOFT}MatMulIntegerToFloat"),
    **_table(_per_output(5), f"{_MICROSOFT}SimplifiedLayerNormalization SimplifiedLayerNormalization"),
    **_table(_per_output(6), f"{_MICROSOFT}SkipSimplifiedLayerNormalization"),
    **_table(
        _per_output(2),
        f"{_MICROSOFT}QLinearAdd {_MICROSOFT}QLinearMul {_MICROSOFT}QLinearSigmoid DynamicQuantizeLinear",
    ),
    **_table(_pool, f"{_NCHWC}AveragePool {_NCHWC}MaxPool"),
    **_table(_per_input(1), f"{_NCHWC}GlobalAveragePool {_NCHWC}GlobalMaxPool"),
    **_table(_nothing, f"{_NCHWC}ReorderInput {_NCHWC}ReorderOutput {_NCHWC}Upsample {_MICROSOFT}QLinearConcat"),
    f"{_MICROSOFT}QGemm": _matrix_product(3),
    f"{_NCHWC}Conv": _fused_convolution,
}


def flops_of(node: Node, shape_of: ShapeOf) -> Dim:
    """Floating-point operations of a node without subgraphs.

    Args:
        node: any node.
        shape_of: gives shapes of values, with sizes bound as the caller likes.

    Returns:
        A number, an expression over symbolic sizes, or ``None`` when the operator or a shape is not known.
    """
    if node.op in FREE:
        return 0
    formula = _FORMULAS.get(node.op)
    return None if formula is None else formula(node, shape_of)


def bound_shape(shape: Shape, sizes: dict[str, int]) -> Shape:
    """A shape with every dimension evaluated whose symbols all have a size."""
    return tuple(
        dim.evaluate(sizes) if isinstance(dim, SymbolicDim) and dim.symbols() <= sizes.keys() else dim for dim in shape
    )
