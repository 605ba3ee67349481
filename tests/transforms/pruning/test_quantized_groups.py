"""Integers with scales: channels go with their scales and zero points, and what is left gives the same."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.analysis.dim_groups import find_dim_groups
from graphopt.ir import Value
from graphopt.ir.constant import Constant
from graphopt.passes import PassContext
from graphopt.transforms.pruning import PruneChannels
from graphopt.transforms.pruning.weight_values import weight_values
from tests.transforms.pruning import networks
from tests.transforms.pruning.networks import Network, lifted
from tests.transforms.pruning.zeroing import assert_removable, run_model

DOMAIN = {"domain": "com.microsoft"}


def images(seed=0):
    net = Network(seed)
    return net, net.input("x", [2, 4, 6, 6], net.rng.normal(size=(2, 4, 6, 6)).astype(np.float32))


def scale(net, size=None):
    return net.const(np.asarray(net.rng.uniform(0.01, 0.03, size), np.float32))


def integers(net, *shape, dtype=np.int8):
    low, high = (-50, 50) if dtype is np.int8 else (0, 100)
    return net.const(net.rng.integers(low, high, shape).astype(dtype))


def zero(net, dtype=np.uint8, number=128, size=None):
    return net.const(np.full(() if size is None else size, number, dtype))


def qconv(net, x, scales, inputs, outputs, *, group=1):
    """X is uint8 with ``scales``; so is what it gives."""
    per_channel = [integers(net, outputs, inputs // group, 3, 3), scale(net, outputs), zero(net, np.int8, 0, outputs)]
    bias = net.const(net.rng.integers(-99, 99, outputs).astype(np.int32))
    return net.op("QLinearConv", x, *scales, *per_channel, *scales, bias, group=group, pads=[1, 1, 1, 1])


def quantized_convolutions():
    """A residual sum, a depthwise convolution and a pooling on integers."""
    net, x = images()
    scales = [scale(net), zero(net)]
    x = net.op("QuantizeLinear", x, *scales)
    x = qconv(net, x, scales, 4, 8)
    y = qconv(net, qconv(net, x, scales, 8, 12), scales, 12, 12, group=12)
    y = net.op("QLinearLeakyRelu", y, *scales, *scales, **DOMAIN)
    x = net.op("QLinearAdd", x, *scales, qconv(net, y, scales, 12, 8), *scales, *scales, **DOMAIN)
    parts = [item for part in (x, qconv(net, x, scales, 8, 8)) for item in (part, *scales)]
    x = net.op("QLinearConcat", *scales, *parts, axis=1, **DOMAIN)
    x = qconv(net, x, scales, 16, 8)
    x = net.op("QLinearGlobalAveragePool", x, *scales, *scales, **DOMAIN)
    x = net.op("Reshape", net.op("DequantizeLinear", x, *scales), net.ints(0, 8))
    return net, net.model(net.op("Gemm", x, net.weight(5, 8), transB=1))


def test_channels_of_integer_convolutions():
    net, proto = quantized_convolutions()
    owner = lifted(proto)
    free = sorted(group.size for group in find_dim_groups(owner.graph).groups if not group.is_frozen)
    assert [8, 8, 8, 12] == free
    assert_removable(owner, net.feeds, np.random.default_rng(0))


def tokens():
    net = Network(1)
    x = net.input("x", ["batch", 5, 6], net.rng.normal(size=(2, 5, 6)).astype(np.float32))
    return net, networks._linear(net, x, 6, 8)


def by_integers(net, x, c, n, *, per_column):
    """What dynamic quantization makes of a product."""
    y, a, z = net.op("DynamicQuantizeLinear", x, outputs=3)
    zeros = zero(net, np.int8, 0, n if per_column else None)
    y = net.op("Cast", net.op("MatMulInteger", y, integers(net, c, n), z, zeros), to=1)
    return net.op("Mul", y, net.op("Mul", a, scale(net, n if per_column else None)))


def to_float(net, x, c, n):
    y, a, z = net.op("DynamicQuantizeLinear", x, outputs=3)
    factors = [integers(net, c, n), a, scale(net, n), z, zero(net, np.int8, 0, n), net.weight(n)]
    return net.op("MatMulIntegerToFloat", y, *factors, **DOMAIN)


def at_once(net, x, c, n):
    factors = [integers(net, c, n), scale(net, n), zero(net, np.int8, 0, n), net.weight(n)]
    return net.op("DynamicQuantizeMatMul", x, *factors, **DOMAIN)


def recurrent(net, x, c, n):
    per_gate = [scale(net, (2, 4 * n)), zero(net, np.int8, 0, (2, 4 * n)), scale(net, 2), zero(net, np.int8, 0, 2)]
    y = net.op("Transpose", x, perm=[1, 0, 2])
    weights = [integers(net, 2, c, 4 * n), integers(net, 2, n, 4 * n), net.weight(2, 8 * n), "", "", "", ""]
    y = net.op("DynamicQuantizeLSTM", y, *weights, *per_gate, hidden_size=n, direction="bidirectional", **DOMAIN)
    y = net.op("Reshape", net.op("Transpose", y, perm=[2, 0, 1, 3]), net.ints(-1, 5, 2 * n))
    return networks._linear(net, y, 2 * n, n)


@pytest.mark.parametrize(
    "layer",
    [
        lambda net, x, c, n: by_integers(net, x, c, n, per_column=True),
        lambda net, x, c, n: by_integers(net, x, c, n, per_column=False),
        to_float,
        at_once,
        recurrent,
    ],
    ids=["integers", "one scale", "to float", "at once", "recurrent"],
)
def test_dynamically_quantized_layers(layer):
    """Scales are those of whole tensors, so what is left differs by what rounding to 8 bits makes of that."""
    net, x = tokens()
    x = net.op("Reshape", layer(net, net.op("Relu", layer(net, x, 8, 12)), 12, 8), net.ints(-1, 5, 8))
    proto = net.model(networks._linear(net, x, 8, 4))
    owner = lifted(proto)
    free = [group.size for group in find_dim_groups(owner.graph).groups if not group.is_frozen]
    assert 12 in free
    assert_removable(owner, net.feeds, np.random.default_rng(0), tolerance=0.05)


def test_scales_that_are_read_elsewhere_freeze():
    """What reads the integers must know their scale."""
    net, x = tokens()
    y, _a, _z = net.op("DynamicQuantizeLinear", networks._linear(net, x, 8, 12), outputs=3)
    owner = lifted(net.model(networks._linear(net, net.op("Cast", y, to=1), 12, 4)))
    reasons = {why for group in find_dim_groups(owner.graph).groups if group.size == 12 for why in group.reasons}
    assert "DynamicQuantizeLinear is not followed" in reasons


def test_scales_of_several_axes_freeze():
    net, x = tokens()
    q = [scale(net), zero(net)]
    more = [integers(net, 12, 8), scale(net, (1, 8)), zero(net, np.int8, 0, (1, 8)), *q]
    y = net.op("QLinearMatMul", net.op("QuantizeLinear", networks._linear(net, x, 8, 12), *q), *q, *more)
    owner = lifted(net.model(networks._linear(net, net.op("DequantizeLinear", y, *q), 8, 4)))
    assert [8, 12] == [group.size for group in find_dim_groups(owner.graph).groups if not group.is_frozen]


def test_integers_matter_by_what_they_stand_for():
    """Of 4 channels those with the smallest scale go, though all integers are equal."""
    net, x = images()
    w = net.const(np.full((4, 4, 1, 1), 7, np.int8))
    scales = net.const(np.array([4, 1, 3, 2], np.float32))
    y = net.op("Conv", x, net.op("DequantizeLinear", w, scales, zero(net, np.int8, 0, 4), axis=0))
    owner = lifted(net.model(net.conv(y, 4, 3)))
    PruneChannels(ratio=0.5, round_to=1).run(owner.graph, PassContext())
    left = next(value for value in owner.graph.initializers() if value.name == scales).array()
    assert [4, 3] == np.asarray(left).tolist()
    assert (2, 3, 6, 6) == next(iter(run_model(owner, net.feeds).values())).shape


def test_integers_that_nobody_scales_are_no_weights():
    assert weight_values(Value("w", None, Constant(np.array([1, 2])))) is None
    assert weight_values(Value("x", None)) is None
