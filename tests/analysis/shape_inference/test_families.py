"""Each family of operators by example: what is known of sizes, and what is left unknown because it may be otherwise."""

from __future__ import annotations

import pytest

from graphopt.analysis.shape_inference import SHAPE_FUNCTIONS
from tests.analysis.shape_inference.inferred import types_in

X = "float[n,3,h,w] x"
SEQ = "float[b,s,64] x"


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ("y = Relu(x)", X, "float[n, 3, h, w]"),
        ("y = Add(x, c)", f"{X}, float[3,1,1] c", "float[n, 3, h, w]"),
        ("y = Add(x, c)", f"{X}, float[w] c", "float[n, 3, h, w]"),
        ("y = Add(x, c)", f"{X}, float[v] c", "float[n, 3, h, ?]"),
        ("y = Add(x, c)", f"{X}, float[7] c", "float[n, 3, h, 7]"),
        ("y = Less(x, c)", f"{X}, float c", "bool[n, 3, h, w]"),
        ("y = Where(k, x, c)", f"{X}, float c, bool[2,1,1,1] k", "float[2, 3, h, w]"),
        ("y = Cast<to=10>(x)", X, "float16[n, 3, h, w]"),
        ("y, z = Dropout(x)", X, "float[n, 3, h, w]; bool[n, 3, h, w]"),
        ("y = PRelu(x, c)", f"{X}, float[3,1,1] c", "float[n, 3, h, w]"),
        ("y = Max(x, c, c)", f"{X}, float[1,w] c", "float[n, 3, h, w]"),
        ("y = Foo.Bar(x)", X, "?"),
    ],
)
def test_elementwise(body, inputs, expected):
    assert expected == types_in(body, inputs)


@pytest.mark.parametrize(
    ("body", "inputs", "initializers", "expected"),
    [
        ("y = Reshape(x, t)", SEQ, "int64[4] t = {0, 0, 4, 16}", "float[b, s, 4, 16]"),
        ("y = Reshape(x, t)", SEQ, "int64[2] t = {-1, 64}", "float[b*s, 64]"),
        ("y = Reshape(x, t)", "float[b,6] x", "int64[2] t = {-1, 4}", "float[(b*3)//2, 4]"),
        ("y = Flatten<axis=2>(x)", SEQ, "", "float[b*s, 64]"),
        ("y = Transpose(x)", SEQ, "", "float[64, s, b]"),
        ("y = Unsqueeze(x, a)", SEQ, "int64[2] a = {-1, 0}", "float[1, b, s, 64, 1]"),
        ("y = Squeeze(x, a)", "float[b,1,s,1] x", "int64[2] a = {1, -1}", "float[b, s]"),
        ("y = Squeeze(x)", "float[b,1,4] x", "", "float[*]"),
        ("y = Squeeze(x)", "float[2,1,4] x", "", "float[2, 4]"),
        ("y = Squeeze(x, a)", "float[2,1,4] x", "int64[0] a = {}", "float[*]"),
        ("y = Expand(x, t)", "float[b,1] x", "int64[3] t = {2, 1, 5}", "float[2, b, 5]"),
        ("y = Tile(x, t)", SEQ, "int64[3] t = {1, 2, 3}", "float[b, s*2, 192]"),
        ("y = DepthToSpace<blocksize=2>(x)", "float[n,8,h,w] x", "", "float[n, 2, h*2, w*2]"),
        ("y = SpaceToDepth<blocksize=2>(x)", "float[n,8,h,6] x", "", "float[n, 32, (h)//2, 3]"),
    ],
)
def test_reshaping(body, inputs, initializers, expected):
    assert expected == types_in(body, inputs, initializers=initializers)


def test_a_computed_size_that_may_be_zero_is_the_size_only_where_nothing_else_can_be():
    """0 copies: of [3, s] and the target [s, -1] with no s, ONNX Runtime makes [3, 0]."""
    size = "s = Shape<start=1, end=2>(x) "
    assert types_in(
        size + "t = Concat<axis=0>(s, m) y = Reshape(x, t)", "float[3,n] x", initializers="int64[1] m = {-1}"
    ) == ("float[?, ?]")
    assert types_in(
        size + "t = Concat<axis=0>(s, m) y = Reshape(x, t)", "float[3,n] x", initializers="int64[1] m = {3}"
    ) == ("float[n, 3]")
    even = "t = Div(s, two) u = Mul(t, two) v = Concat<axis=0>(m, u) y = Reshape(x, v)"
    constants = "int64[1] m = {3}, int64[1] two = {2}"
    assert types_in(size + even, "float[3,n] x", initializers=constants) == "float[3, n]", "0 copies n, which may be 1"
    shape = "s = Shape<start=0, end=2>(x) t = Concat<axis=0>(s, m) y = Reshape(x, t)"
    assert types_in(shape, SEQ, initializers="int64[1] m = {-1}") == "float[b, s, 64]"


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0, 9223372036854775807, 1, "s"),
        (0, 5, 1, "min(5, s)"),
        (1, 9223372036854775807, 1, "max(0, s-1)"),
        (-2, 9223372036854775807, 1, "min(2, s)"),
        (0, -1, 1, "max(0, s-1)"),
        (0, 9223372036854775807, 2, "(s+1)//2"),
        (2, 4, 1, "max(0, min(4, s)-2)"),
        (-1, -9223372036854775807, -1, "?"),
    ],
)
def test_slices_of_a_dynamic_axis(start, end, step, expected):
    initializers = f"int64[1] a = {{{start}}}, int64[1] e = {{{end}}}, int64[1] i = {{0}}, int64[1] k = {{{step}}}"
    assert types_in("y = Slice(x, a, e, i, k)", "float[s] x", initializers=initializers) == f"float[{expected}]"


@pytest.mark.parametrize(
    ("body", "inputs", "initializers", "expected"),
    [
        ("y, z = Split<num_outputs=2, axis=1>(x)", "float[b,7] x", "", "float[b, 4]; float[b, 3]"),
        ("y, z = Split<num_outputs=2, axis=0>(x)", "float[b,7] x", "", "float[?, 7]; float[?, 7]"),
        ("y, z = Split<axis=1>(x, p)", "float[b,7] x", "int64[2] p = {2, 5}", "float[b, 2]; float[b, 5]"),
        ("y = Pad(x, p)", "float[b,7] x", "int64[4] p = {0, 1, 2, 3}", "float[b+2, 11]"),
        ("y = Gather<axis=1>(x, i)", SEQ, "int64[2,2] i = {0, 1, 0, 1}", "float[b, 2, 2, 64]"),
        ("y = GatherND<batch_dims=1>(x, i)", f"{SEQ}, int64[b,k,1] i", "", "float[b, k, 64]"),
        ("y = Concat<axis=1>(x, x, c)", f"{SEQ}, float[b,1,64] c", "", "float[b, s*2+1, 64]"),
        ("y = Concat<axis=1>(x, c)", f"{SEQ}, float[d,1,64] c", "", "float[?, s+1, 64]"),
        ("y = OneHot(i, d, v)", "int64[n] i", "int64 d = {5}, float[2] v = {0, 1}", "float[n, 5]"),
        ("y, z = TopK(x, k)", SEQ, "int64[1] k = {3}", "float[b, s, 3]; int64[b, s, 3]"),
        ("y = NonZero(x)", SEQ, "", "int64[3, ?]"),
        ("y = Compress<axis=1>(x, c)", f"{SEQ}, bool[s] c", "", "float[b, ?, 64]"),
        ("y = Range(a, e, k)", "int64 e", "int64 a = {0}, int64 k = {1}", "int64[?]"),
        (
            "i = Shape<start=1, end=2>(x) e = Squeeze(i) y = Range(a, e, k)",
            SEQ,
            "int64 a = {0}, int64 k = {2}",
            "int64[(s+1)//2]",
        ),
        ("i = Shape<start=1>(x) y = ConstantOfShape(i)", SEQ, "", "float[s, 64]"),
        ("y = EyeLike<dtype=7>(x)", "float[n,n] x", "", "int64[n, n]"),
        ("y = NonMaxSuppression(x, c)", "float[1,n,4] x, float[1,2,n] c", "", "int64[?, 3]"),
    ],
)
def test_parts_and_joints(body, inputs, initializers, expected):
    assert expected == types_in(body, inputs, initializers=initializers)


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ("y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, k)", f"{X}, float[8,3,3,3] k", "float[n, 8, (h+1)//2, (w+1)//2]"),
        (
            'y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, k)',
            f"{X}, float[8,3,5,5] k",
            "float[n, 8, (h+1)//2, (w+1)//2]",
        ),
        ("y = ConvTranspose<strides=[2,2]>(x, k)", f"{X}, float[3,4,2,2] k", "float[n, 4, h*2, w*2]"),
        ("y = ConvTranspose<group=3>(x, k)", f"{X}, float[3,2,1,1] k", "float[n, 6, h, w]"),
        ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", X, "float[n, 3, (h+1)//2, (w+1)//2]"),
        ("y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)", X, "float[n, 3, max(1, (h)//2), max(1, (w)//2)]"),
        ("y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(x)", X, "float[n, 3, ?, ?]"),
        ("y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(x)", "float[n,3,5,h] x", "float[n, 3, 3, ?]"),
        ("y = MaxPool<kernel_shape=[2], strides=[3], ceil_mode=1>(x)", "float[n,3,6] x", "float[n, 3, ?]"),
        ("y = GlobalAveragePool(x)", X, "float[n, 3, 1, 1]"),
    ],
)
def test_windows(body, inputs, expected):
    assert expected == types_in(body, inputs)


@pytest.mark.parametrize(
    ("body", "inputs", "expected"),
    [
        ("y = MatMul(x, c)", f"{SEQ}, float[64,32] c", "float[b, s, 32]"),
        ("y = MatMul(x, c)", f"{SEQ}, float[64] c", "float[b, s]"),
        ("y = MatMul(x, c)", f"{SEQ}, float[h,1,64,s] c", "float[h, b, s, s]"),
        ("y = Gemm<transB=1>(x, c)", "float[n,4] x, float[8,4] c", "float[n, 8]"),
        ('y = Einsum<equation="bij,bjk->bik">(x, c)', "float[b,i,4] x, float[b,4,k] c", "float[b, i, k]"),
        ('y = Einsum<equation="...i,i">(x, c)', "float[b,s,4] x, float[4] c", "float[b, s]"),
        ("y = ReduceMean<axes=[-1]>(x)", SEQ, "float[b, s, 1]"),
        ("y = ReduceMean<axes=[1], keepdims=0>(x)", SEQ, "float[b, 64]"),
        ("y = ReduceSum(x)", SEQ, "float[1, 1, 1]"),
        ("y = ArgMax<axis=1, keepdims=0>(x)", SEQ, "int64[b, 64]"),
        ("y, z = LayerNormalization(x, c)", f"{SEQ}, float[64] c", "float[b, s, 64]; float[b, s, 1]"),
        (
            "y, z = LSTM<hidden_size=5>(x, k, r)",
            "float[s,b,4] x, float[1,20,4] k, float[1,20,5] r",
            "float[s, 1, b, 5]; float[1, b, 5]",
        ),
        ("y = QuantizeLinear(x, c)", f"{X}, float c", "uint8[n, 3, h, w]"),
        ("y, z, p = DynamicQuantizeLinear(x)", X, "uint8[n, 3, h, w]; float[]"),
        ("y = MatMulInteger(x, c)", "uint8[n,4] x, uint8[4,6] c", "int32[n, 6]"),
        ("y = com.microsoft.FusedMatMul<transB=1>(x, c)", f"{SEQ}, float[b,t,64] c", "float[b, s, t]"),
        (
            "y = com.microsoft.MultiHeadAttention<num_heads=4>(x, k, v)",
            f"{SEQ}, float[b,t,64] k, float[b,t,32] v",
            "float[b, s, 32]",
        ),
        (
            'y, z, p = com.microsoft.MultiHeadAttention<num_heads=4>(x, k, v, "", "", "", c, d)',
            f"{SEQ}, float[b,t,64] k, float[b,t,64] v, float[b,4,p,16] c, float[b,4,p,16] d",
            "float[b, s, 64]; float[b, 4, p+t, 16]",
        ),
        (
            "y, z = com.microsoft.MultiHeadAttention<num_heads=4>(x, k, v)",
            f"{SEQ}, float[b,t,64] k, float[b,t,64] v",
            "float[b, s, 64]; float[b, 4, t, 16]",
        ),
        (
            "y = com.microsoft.MatMulNBits<K=64, N=10, bits=4, block_size=32>(x, c, k)",
            f"{SEQ}, uint8[10,2,16] c, float[20] k",
            "float[b, s, 10]",
        ),
        ("y = ai.onnx.ml.TreeEnsembleRegressor<n_targets=2>(x)", "float[n,4] x", "float[n, 2]"),
    ],
)
def test_products_reductions_and_fused_operators(body, inputs, expected):
    assert expected == types_in(body, inputs, opset=17)


@pytest.mark.parametrize(
    ("body", "initializers", "expected"),
    [
        ('y = Resize(x, "", s)', "float[4] s = {1, 1, 2, 2}", "float[n, 3, h*2, w*2]"),
        ('y = Resize(x, "", s)', "float[4] s = {1, 1, 0.5, 0.3}", "float[n, 3, (h)//2, ?]"),
        ('y = Resize(x, "", "", t)', "int64[4] t = {1, 3, 7, 9}", "float[1, 3, 7, 9]"),
        (
            'y = Resize<keep_aspect_ratio_policy="not_larger">(x, "", "", t)',
            "int64[4] t = {1, 3, 7, 9}",
            "float[?, ?, ?, ?]",
        ),
        ('y = Resize<axes=[2, 3]>(x, "", "", t)', "int64[2] t = {7, 9}", "float[n, 3, 7, 9]"),
    ],
)
def test_resizing(body, initializers, expected):
    assert expected == types_in(body, initializers=initializers)


def test_there_are_functions_for_150_operators():
    assert 200 < len(SHAPE_FUNCTIONS)
