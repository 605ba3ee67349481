"""Networks in which indices of many axes belong together: what Hypothesis draws for channel pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model
from graphopt.serde import lift_model

__all__ = ["Network", "image_networks", "lifted", "token_networks"]


class Network:
    """Puts nodes together; weights are drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, np.ndarray] = {}

    def name(self, what: str = "t") -> str:
        return f"{what}{len(self.nodes)}_{len(self.constants)}"

    def const(self, array, what: str = "c") -> str:
        name = self.name(what)
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape: int) -> str:
        scale = 1.0 / np.sqrt(max(1, int(np.prod(shape[1:]))))
        return self.const((self.rng.normal(size=shape) * scale).astype(np.float32), "w")

    def ints(self, *numbers: int) -> str:
        return self.const(np.array(numbers, np.int64), "i")

    def input(self, name: str, dims, array) -> str:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        self.feeds[name] = array
        return name

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes) -> Any:
        names = [self.name(op_type.lower()) + f"_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=self.name("n"), **attributes))
        return names[0] if outputs == 1 else names

    def model(self, *outputs: str) -> onnx.ModelProto:
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", self.inputs, given, self.constants)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        proto = onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=9))
        del proto.graph.value_info[:]
        return proto

    # -- images [batch, channels, height, width] ------------------------------------------------------------------------------

    def conv(self, x: str, inputs: int, outputs: int, *, kernel: int = 1, group: int = 1, bias: bool = True) -> Any:
        weights = [self.weight(outputs, inputs // group, kernel, kernel)] + ([self.weight(outputs)] if bias else [])
        pad = kernel // 2
        return self.op("Conv", x, *weights, group=group, pads=[pad] * 4)

    def batch_norm(self, x: str, channels: int) -> Any:
        positive = self.const(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        return self.op(
            "BatchNormalization", x, self.weight(channels), self.weight(channels), self.weight(channels), positive
        )


def lifted(proto: onnx.ModelProto) -> Model:
    """The model in graphopt's form, with types."""
    model = lift_model(proto)
    OnnxTypes().infer_model(model)
    return model


def _plain(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.conv(x, c, n, kernel=3, bias=False)
    return net.op("Relu", net.batch_norm(y, n)), n


def _residual(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("Relu", net.conv(x, c, n))
    return net.op("Add", net.conv(y, n, c), x), c


def _depthwise(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    times = 2 if n > 8 else 1
    return net.op("Clip", net.conv(x, c, c * times, kernel=3, group=c)), c * times


def _grouped(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    return net.op("Relu", net.conv(x, c, n, group=2)), n


def _squeeze_excite(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    gate = net.op("Relu", net.conv(net.op("GlobalAveragePool", x), c, n))
    return net.op("Mul", x, net.op("Sigmoid", net.conv(gate, n, c))), c


def _dense(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    return net.op("Concat", x, net.op("Tanh", net.conv(x, c, n)), axis=1), c + n


def _split(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    first, second = net.op("Split", x, net.ints(c // 4, c - c // 4), outputs=2, axis=1)
    return net.op("Concat", net.conv(second, c - c // 4, n), first, axis=-3), n + c // 4


def _shuffle(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("Reshape", net.conv(x, c, n, group=2), net.ints(0, 2, n // 2, 6, 6))
    y = net.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    return net.conv(net.op("Reshape", y, net.ints(0, -1, 6, 6)), n, n, kernel=3, group=n), n


def _gated(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    halves = net.op("Split", net.conv(x, c, 2 * n), outputs=2, axis=1, num_outputs=2)
    return net.op("Mul", halves[0], net.op("Sigmoid", halves[1])), n


def _instance_norm(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    return net.op("InstanceNormalization", x, net.weight(c), net.weight(c)), c


def _group_norm(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    """As exporters of PyTorch spell it."""
    y = net.conv(x, c, n)
    flat = net.op("Reshape", y, net.ints(0, n // 2, -1))
    normal = net.op(
        "InstanceNormalization",
        flat,
        net.const(np.ones(n // 2, np.float32)),
        net.const(np.zeros(n // 2, np.float32)),
    )
    back = net.op("Reshape", normal, net.op("Shape", y))
    return net.op("Mul", back, net.weight(n, 1, 1)), n


def _transposed(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("ConvTranspose", x, net.weight(c, n // 2, 1, 1), net.weight(n), group=2)
    return net.op("LeakyRelu", y), n


def _space(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("SpaceToDepth", net.conv(x, c, n), blocksize=2)
    return net.op("DepthToSpace", net.conv(y, 4 * n, 4 * n), blocksize=2, mode="CRD" if n > 8 else "DCR"), n


def _halves(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    first = net.op("Slice", x, net.ints(0), net.ints(c // 2), net.ints(1))
    second = net.op("Slice", x, net.ints(-(c - c // 2)), net.ints(2**62), net.ints(1))
    return net.op("Add", net.conv(first, c // 2, n), net.conv(second, c - c // 2, n)), n


def _padded(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    return net.op("Pad", x, net.ints(0, 1, 0, 0, 0, 3, 0, 0)), c + 4


def _pooled(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    kind = "MaxPool" if n > 8 else "AveragePool"
    return net.op(kind, net.op("PRelu", x, net.weight(c, 1, 1)), kernel_shape=[3, 3], pads=[1] * 4), c


def _resized(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("Resize", x, "", "", net.ints(2, c, 12, 12), mode="nearest")
    return net.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), c


def _chosen(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    """Branches of an If that read a tensor from around."""
    branches = []
    for op in ("Relu", "Neg"):
        node = helper.make_node(op, [x], [net.name("inner")])
        given = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        branches.append(helper.make_graph([node], op, [], [given]))
        net.constants.append(numpy_helper.from_array(np.zeros(1, np.float32), net.name("unused")))
    return net.op("If", net.const(np.array(n > 8)), then_branch=branches[0], else_branch=branches[1]), c


def _excited_by_reshape(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    """A gate by matrix products, as PyTorch models have it."""
    flat = net.op("ReduceMean", x, net.ints(2, 3), keepdims=0)
    gate = net.op(
        "HardSigmoid", net.op("MatMul", net.op("Relu", net.op("MatMul", flat, net.weight(c, n))), net.weight(n, c))
    )
    return net.op("Mul", net.op("Reshape", gate, net.ints(-1, c, 1, 1)), x), c


def _channels_last(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    """A block of ConvNeXt: what it normalizes over stays."""
    y = net.op("Transpose", net.conv(x, c, c, kernel=3, group=c), perm=[0, 2, 3, 1])
    y = net.op("LayerNormalization", y, net.weight(c), net.weight(c))
    y = net.op(
        "Mul", net.op("MatMul", net.op("Relu", net.op("MatMul", y, net.weight(c, n))), net.weight(n, c)), net.weight(c)
    )
    return net.op("Add", net.op("Transpose", y, perm=[0, 3, 1, 2]), x), c


def _selected(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.conv(x, c, c)
    return net.op("Where", net.op("Greater", y, net.const(np.float32(0))), net.op("Max", x, y), net.weight(c, 1, 1)), c


def _repeated(net: Network, x: str, c: int, n: int) -> tuple[str, int]:
    y = net.op("Tile", net.conv(x, c, n), net.ints(1, 2, 1, 1))
    return net.op(
        "Add", y, net.op("Unsqueeze", net.op("Squeeze", net.weight(1, 2 * n, 1), net.ints(0)), net.ints(2))
    ), 2 * n


IMAGE_BLOCKS = (
    _plain, _residual, _depthwise, _grouped, _squeeze_excite, _dense, _split, _shuffle, _gated, _instance_norm, _group_norm, _transposed,
    _space, _halves, _padded, _pooled, _resized, _chosen, _excited_by_reshape, _channels_last, _selected, _repeated,
)  # fmt: skip


@st.composite
def image_networks(draw) -> Network:
    """A convolution, some blocks, and a classifier."""
    net = Network(draw(st.integers(0, 999)))
    x = net.input("x", [2, 3, 6, 6], net.rng.normal(size=(2, 3, 6, 6)).astype(np.float32))
    x, c = net.conv(x, 3, 8, kernel=3), 8
    for block in draw(st.lists(st.sampled_from(IMAGE_BLOCKS), min_size=1, max_size=5)):
        x, c = block(net, x, c, draw(st.sampled_from([4, 8, 12])))
        if c > 48 or c % 4:
            x, c = net.conv(x, c, 8), 8
    if draw(st.booleans()):
        x, c = net.op("GlobalAveragePool", x), c
        size = c
    else:
        size = c * 36
    x = net.op("Flatten", x) if draw(st.booleans()) else net.op("Reshape", x, net.ints(2, size))
    net.op("Gemm", x, net.weight(5, size), net.weight(5), transB=1)
    return net


# -- tokens [batch, length, width] ------------------------------------------------------------------------------------------


def _linear(net: Network, x: str, c: int, n: int) -> Any:
    return net.op("Add", net.op("MatMul", x, net.weight(c, n)), net.weight(n))


def _feed_forward(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    y = net.op("LayerNormalization", x, net.weight(c), net.weight(c))
    y = net.op("Erf", _linear(net, y, c, n))
    return net.op("Add", x, _linear(net, y, n, c)), c


def _glu(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    y = _linear(net, x, c, 2 * n)
    first = net.op("Slice", y, net.ints(0), net.ints(n), net.ints(-1))
    second = net.op("Slice", y, net.ints(n), net.ints(2 * n), net.ints(2))
    return _linear(net, net.op("Mul", first, net.op("Sigmoid", second)), n, c), c


def _heads(net: Network, x: str, heads: int, size: int, batch: str, *, key: bool = False) -> Any:
    """[batch, length, heads * size] to [batch, heads, length, size]; keys are turned."""
    target = net.op("Concat", batch, net.ints(-1), net.ints(heads), net.ints(size), axis=0)
    return net.op("Transpose", net.op("Reshape", x, target), perm=[0, 2, 3, 1] if key else [0, 2, 1, 3])


def _attend(net: Network, q: str, k: str, v: str, width: int, batch: str) -> Any:
    scores = net.op("Softmax", net.op("MatMul", q, k), axis=-1)
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    return net.op("Reshape", y, net.op("Concat", batch, net.ints(-1, width), axis=0))


def _attention(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    heads = n // 4
    q, k, v = (_heads(net, _linear(net, x, c, heads * 3), heads, 3, batch, key=key) for key in (False, True, False))
    return net.op("Add", x, _linear(net, _attend(net, q, k, v, heads * 3, batch), heads * 3, c)), c


def _packed_attention(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    heads = n // 4
    y = net.op("Reshape", _linear(net, x, c, 3 * heads * 4), net.ints(0, 5, 3, heads, 4))
    y = net.op("Transpose", y, perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Gather", y, net.const(np.array(index)), axis=0) for index in range(3))
    k = net.op("Transpose", k, perm=[0, 1, 3, 2])
    return _linear(net, _attend(net, q, k, v, heads * 4, batch), heads * 4, c), c


def _shared_heads(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """Each key and value serves two queries."""
    shared = n // 4
    q = _heads(net, _linear(net, x, c, 2 * shared * 3), 2 * shared, 3, batch)
    repeated = []
    for key in (True, False):
        y = _heads(net, _linear(net, x, c, shared * 3), shared, 3, batch, key=key)
        inner = (3, 5) if key else (5, 3)
        y = net.op(
            "Expand", net.op("Unsqueeze", y, net.ints(2)), net.op("Concat", batch, net.ints(shared, 2, *inner), axis=0)
        )
        repeated.append(net.op("Reshape", y, net.op("Concat", batch, net.ints(2 * shared, *inner), axis=0)))
    return _linear(net, _attend(net, q, repeated[0], repeated[1], 2 * shared * 3, batch), 2 * shared * 3, c), c


def _gathered_heads(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """Each key and value serves two queries, by a Gather."""
    shared = n // 4
    q = _heads(net, _linear(net, x, c, 2 * shared * 3), 2 * shared, 3, batch)
    twice = net.ints(*(index for index in range(shared) for _ in range(2)))
    k, v = (
        net.op("Gather", _heads(net, _linear(net, x, c, shared * 3), shared, 3, batch, key=key), twice, axis=1)
        for key in (True, False)
    )
    return _linear(net, _attend(net, q, k, v, 2 * shared * 3, batch), 2 * shared * 3, c), c


def _fused_attention(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    heads = n // 4
    q, k, v = (_linear(net, x, c, heads * 4) for _ in range(3))
    y = net.op("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=heads)
    return _linear(net, net.op("Reshape", y, net.ints(-1, 5, heads * 4)), heads * 4, c), c


def _projecting_attention(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """ONNX Runtime's Attention, which has the projections inside; values have another size than keys now and then."""
    heads = n // 4
    size = 2 if n > 8 else 4
    stated: dict[str, Any] = {"qkv_hidden_sizes": [heads * 4, heads * 4, heads * size]} if size == 2 else {}
    width = heads * (8 + size)
    weights = net.weight(c, width), net.weight(width)
    y = net.op("Attention", x, *weights, domain="com.microsoft", num_heads=heads, **stated)
    return _linear(net, net.op("Reshape", y, net.ints(-1, 5, heads * size)), heads * size, c), c


def _grouped_query(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """ONNX Runtime's attention whose heads share keys, with the three inputs apart or in one."""
    shared, size = max(n // 4, 2), 8
    heads = 2 * shared
    lengths = net.op("Expand", net.const(np.array([4], np.int32)), batch)
    if n > 8:
        parts = [_linear(net, x, c, heads * size), *(_linear(net, x, c, shared * size) for _ in range(2))]
    else:
        parts = [_linear(net, x, c, (heads + 2 * shared) * size), "", ""]
    more = ["", "", lengths, net.const(np.array(5, np.int32))]
    kind = {"domain": "com.microsoft", "num_heads": heads, "kv_num_heads": shared}
    y = net.op("GroupQueryAttention", *parts, *more, outputs=3, **kind)[0]
    return _linear(net, net.op("Reshape", y, net.ints(-1, 5, heads * size)), heads * size, c), c


def _recurrent(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    kind, gates = ("LSTM", 4) if n > 8 else ("GRU", 3)
    y = net.op("Transpose", x, perm=[1, 0, 2])
    weights = [net.weight(2, gates * n, c), net.weight(2, gates * n, n), net.weight(2, 2 * gates * n)]
    y = net.op(kind, y, *weights, hidden_size=n, direction="bidirectional")
    y = net.op("Reshape", net.op("Transpose", y, perm=[2, 0, 1, 3]), net.ints(0, 0, -1))
    return _linear(net, y, 2 * n, c), c


def _einsum(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    y = net.op("Relu", net.op("Einsum", x, net.weight(c, n, 3), equation="btc,cnd->btnd"))
    return net.op("Einsum", y, net.weight(3, c, n), equation="btnd,dcn->btc"), c


def _experts(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    y = net.op("Relu", net.op("MatMul", net.op("Unsqueeze", x, net.ints(1)), net.weight(2, c, n)))
    return net.op("ReduceSum", net.op("MatMul", y, net.weight(2, n, c)), net.ints(1), keepdims=0), c


def _scaled(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """The width goes into a number: nothing of it may be removed."""
    y = _linear(net, x, c, n)
    size = net.op("Cast", net.op("Gather", net.op("Shape", y), net.const(np.array(2))), to=TensorProto.FLOAT)
    return _linear(net, net.op("Div", y, net.op("Sqrt", size)), n, c), c


def _with_state(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """A network with an initial state of zeros, of which the last states go on."""
    state = net.op("ConstantOfShape", net.op("Concat", net.ints(1), batch, net.ints(n), axis=0))
    y = net.op("Transpose", x, perm=[1, 0, 2])
    if n > 8:
        weights = [
            net.weight(1, 4 * n, c),
            net.weight(1, 4 * n, n),
            net.weight(1, 8 * n),
            "",
            state,
            state,
            net.weight(1, 3 * n),
        ]
        _y, last, _c = net.op("LSTM", y, *weights, outputs=3, hidden_size=n)
    else:
        _y, last = net.op("RNN", y, net.weight(1, n, c), net.weight(1, n, n), "", "", state, outputs=2, hidden_size=n)
    last = net.op("Transpose", _linear(net, last, n, c), perm=[1, 0, 2])
    return net.op("Add", x, last), c


def _convolved(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """Convolutions along the tokens, gated in halves of channels."""
    y = net.op("Conv", net.op("Transpose", x, perm=[0, 2, 1]), net.weight(2 * n, c, 3), pads=[1, 1])
    first, second = net.op("Split", y, outputs=2, axis=-2, num_outputs=2)
    y = net.op("Mul", first, net.op("Sigmoid", second))
    y = net.op("Conv", y, net.weight(n, 1, 3), net.weight(n), pads=[1, 1], group=n)
    return _linear(net, net.op("Transpose", y, perm=[0, 2, 1]), n, c), c


def _rotated(net: Network, x: str, c: int, n: int, batch: str) -> tuple[str, int]:
    """Attention with rotary embeddings spelled out: what is turned in pairs goes in pairs, and is contracted without weights."""
    heads = n // 4
    turned = []
    for _ in range(2):
        y = _heads(net, _linear(net, x, c, heads * 4), heads, 4, batch)
        first = net.op("Slice", y, net.ints(0), net.ints(2), net.ints(3))
        second = net.op("Slice", y, net.ints(2), net.ints(2**62), net.ints(3))
        half = net.op("Concat", net.op("Neg", second), first, axis=-1)
        turned.append(net.op("Add", net.op("Mul", y, net.weight(5, 4)), net.op("Mul", half, net.weight(5, 4))))
    v = _heads(net, _linear(net, x, c, heads * 4), heads, 4, batch)
    k = net.op("Transpose", turned[1], perm=[0, 1, 3, 2])
    return _linear(net, _attend(net, turned[0], k, v, heads * 4, batch), heads * 4, c), c


TOKEN_BLOCKS = (
    _feed_forward, _glu, _attention, _packed_attention, _shared_heads, _fused_attention, _recurrent, _einsum, _experts, _scaled,
    _with_state, _gathered_heads, _convolved, _rotated, _projecting_attention, _grouped_query,
)  # fmt: skip


@st.composite
def token_networks(draw) -> Network:
    """An embedding, or a layer, some blocks, and a classifier of each token; the batch is dynamic."""
    net = Network(draw(st.integers(0, 999)))
    if draw(st.booleans()):
        x = net.input("x", ["batch", 5], net.rng.integers(0, 9, (3, 5)))
        x = net.op("Gather", net.weight(9, 8), x)
    else:
        x = net.input("x", ["batch", 5, 6], net.rng.normal(size=(3, 5, 6)).astype(np.float32))
        x = _linear(net, x, 6, 8)
    batch = net.op("Slice", net.op("Shape", x), net.ints(0), net.ints(1))
    for block in draw(st.lists(st.sampled_from(TOKEN_BLOCKS), min_size=1, max_size=4)):
        x, _c = block(net, x, 8, draw(st.sampled_from([4, 8, 12])), batch)
    net.op("Softmax", _linear(net, x, 8, 4))
    return net
