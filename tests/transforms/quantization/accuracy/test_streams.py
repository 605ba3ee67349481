"""Which tensors may be scaled, and that scaling them changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model
from graphopt.ir.verifier import verify
from graphopt.serde import lift_model
from graphopt.transforms.quantization.accuracy.rescaling import rescale
from graphopt.transforms.quantization.accuracy.streams import Stream, find_streams
from tests.transforms.harness import PROPERTY, model
from tests.transforms.quantization.accuracy.calibrated import Floats, batches, distance

Numbers = dict[str, Any]


def random(*shape: int, seed: int = 1) -> Floats:
    """Weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def streams(proto: ModelProto) -> tuple[Model, list[Stream]]:
    """A model and what may be scaled in it."""
    lifted = lift_model(proto)
    OnnxTypes().infer_model(lifted)
    return lifted, find_streams(lifted.graph)


CONV: Numbers = {"w": random(4, 3, 3, 3), "b": random(4), "v": random(5, 4, 3, 3, seed=2)}
IMAGE = "float[2,3,7,7] x"
#: Body, input, constants, streams, all of which are scaled at once.
MODELS: dict[str, tuple[str, str, Numbers, int]] = {
    "relu": ("h = Conv(x, w, b)\nr = Relu(h)\ny = Conv(r, v)", IMAGE, CONV, 1),
    "depthwise": (
        "h = Conv(x, w, b)\nr = Relu(h)\nd = Conv<group=4>(r, u, b)\nl = LeakyRelu<alpha=0.1>(d)\ny = Conv(l, p)",
        IMAGE,
        {**CONV, "u": random(4, 1, 3, 3), "p": random(2, 4, 1, 1)},
        2,
    ),
    "groups": (
        "h = Conv(x, w)\ny = Conv<group=2>(h, u)",
        IMAGE,
        {"w": CONV["w"], "u": random(6, 2, 3, 3)},
        1,
    ),
    "pools and pads": (
        "h = Conv(x, w)\nm = MaxPool<kernel_shape=[2,2], pads=[0,0,1,1]>(h)\nk = Pad(m, pads)\np = PRelu(k, slope)\ny = Conv(p, v)",
        IMAGE,
        {**CONV, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "slope": random(4, 1, 1)},
        1,
    ),
    "residual": (
        "h = Conv(x, w, b)\nc = Conv<pads=[1,1,1,1]>(h, q)\nr = Relu(c)\nd = Conv(r, o)\ns = Add(h, d)\ny = Conv(s, v)",
        IMAGE,
        {**CONV, "q": random(4, 4, 3, 3), "o": random(4, 4, 1, 1)},
        2,
    ),
    "reads and writes itself": (
        "h = Conv(x, w)\nd = Conv(h, o)\ns = Add(h, d)\ny = Conv(s, v)",
        IMAGE,
        {**CONV, "o": random(4, 4, 1, 1)},
        1,
    ),
    "squeeze and excite": (
        "h = Conv(x, w)\nc = Relu(h)\ng = GlobalAveragePool(c)\ne = Conv(g, o)\nt = Sigmoid(e)\ns = Mul(c, t)\ny = Conv(s, v)",
        IMAGE,
        {**CONV, "o": random(4, 4, 1, 1)},
        1,
    ),
    "averages": (
        "h = Conv(x, w)\na = AveragePool<kernel_shape=[2,2], pads=[1,0,0,1]>(h)\ny = Conv(a, v)",
        IMAGE,
        CONV,
        1,
    ),
    "classifier": (
        "h = Conv(x, w, b)\nr = Relu(h)\ng = GlobalAveragePool(r)\nf = Flatten(g)\ny = Gemm<transB=1>(f, o)",
        IMAGE,
        {**CONV, "o": random(6, 4)},
        1,
    ),
    "gemm": (
        "h = Gemm<beta=0.5>(x, w, b)\nr = Relu(h)\ny = Gemm<transB=1>(r, v)",
        "float[3,5] x",
        {"w": random(5, 4), "b": random(1, 4), "v": random(6, 4)},
        1,
    ),
    "matmul": (
        "h = MatMul(x, w)\na = Add(b, h)\nr = Relu(a)\nk = Identity(r)\ny = MatMul(k, v)",
        "float[2,3,5] x",
        {"w": random(5, 4), "b": random(4), "v": random(4, 6)},
        1,
    ),
    "layer norm": (
        "n = LayerNormalization(x, g, b)\np = MatMul(n, w)\nq = MatMul(n, v)\ny = Sub(p, q)",
        "float[2,3,5] x",
        {"g": random(5), "b": random(5), "w": random(5, 4), "v": random(5, 4, seed=2)},
        1,
    ),
    "a norm spelled out": (
        "t = Tanh(x)\nm = Mul(t, g)\nn = Add(m, b)\ny = MatMul(n, w)",
        "float[2,3,5] x",
        {"g": random(5), "b": random(5), "w": random(5, 4)},
        1,
    ),
    "positions": (
        "h = MatMul(x, w)\ns = Add(h, p)\ny = MatMul(s, v)",
        "float[2,3,5] x",
        {"w": random(5, 4), "p": random(1, 3, 4), "v": random(4, 2)},
        1,
    ),
    "shared constants": (
        "h = Conv(x, w, b)\ny = Conv(h, v)\nz = Relu(b)",
        IMAGE,
        CONV,
        1,
    ),
}
REFUSED: dict[str, tuple[str, str, Numbers]] = {
    "an upper end": (
        "h = Conv(x, w)\nr = Clip(h, zero, six)\ny = Conv(r, v)",
        IMAGE,
        {**CONV, "zero": np.float32(0), "six": np.float32(6)},
    ),
    "sigmoid": ("h = Conv(x, w)\nr = Sigmoid(h)\ny = Conv(r, v)", IMAGE, CONV),
    "another user": ("h = Conv(x, w)\ny = Conv(h, v)\nz = Sin(h)", IMAGE, CONV),
    "a graph output": ("z = Conv(x, w)\ny = Conv(z, v)", IMAGE, CONV),
    "weights that are made": ("u = Sin(w)\nh = Conv(x, u)\ny = Conv(h, v)", IMAGE, CONV),
    "shared weights": ("h = Conv(x, w)\nk = Conv(x, w)\ns = Sin(k)\ny = Conv(h, v)\nz = Conv(s, v)", IMAGE, CONV),
    "a bias that is made": ("u = Sin(b)\nh = Conv(x, w, u)\ny = Conv(h, v)", IMAGE, CONV),
    "a pad with ones": (
        "h = Conv(x, w)\nk = Pad(h, pads, one)\ny = Conv(k, v)",
        IMAGE,
        {**CONV, "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": np.float32(1)},
    ),
    "a pad of channels": (
        "h = Conv(x, w)\nk = Pad(h, pads)\ny = Conv(k, v)",
        IMAGE,
        {"w": random(2, 3, 3, 3), "v": CONV["v"], "pads": np.array([0, 1, 0, 0, 0, 1, 0, 0])},
    ),
    "a scalar added": ("h = Conv(x, w)\na = Add(h, one)\ny = Conv(a, v)", IMAGE, {**CONV, "one": np.float32(1)}),
    "the input added": (
        "h = MatMul(x, w)\na = Add(h, x)\ny = MatMul(a, v)",
        "float[3,4] x",
        {"w": random(4, 4), "v": random(4, 2)},
    ),
    "broadcast channels": (
        "h = Conv(x, w)\nk = Conv(x, u)\na = Add(h, k)\ny = Conv(a, v)",
        IMAGE,
        {**CONV, "u": random(1, 3, 3, 3)},
    ),
    "two axes": ("h = Conv(x, w)\ny = MatMul(h, u)", IMAGE, {"w": CONV["w"], "u": random(5, 2)}),
    "a norm over two axes": (
        "n = LayerNormalization<axis=1>(x, g)\ny = MatMul(n, w)",
        "float[2,3,5] x",
        {"g": random(3, 5), "w": random(5, 4)},
    ),
    "transposed": ("h = Gemm(x, w)\ny = Gemm<transA=1>(h, v)", "float[4,5] x", {"w": random(5, 4), "v": random(4, 2)}),
}


def outputs_of(body: str) -> str:
    """Declarations of the outputs that a body gives: y, and z if it is there."""
    return ", ".join(f"float[*] {name}" for name in ("y", "z") if f"{name} = " in body)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_scaling_a_stream_changes_nothing(kind: str, seed: int) -> None:
    """All outputs stay, however much channels are scaled; tensors between are really scaled."""
    body, inputs, initializers, count = MODELS[kind]
    proto = model(body, inputs, outputs_of(body), initializers=initializers)
    lifted, found = streams(proto)
    assert len(found) == count
    rng = np.random.default_rng(seed)
    for stream in found:
        assert rescale(lifted.graph, stream, np.exp(rng.normal(0, 1.5, stream.channels)))
    verify(lifted)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    feeds = batches(*shape, count=2)
    assert distance(proto, lifted, feeds) < 1e-5
    numbers = {value.name: value.array() for value in lifted.graph.initializers()}
    assert any(not np.array_equal(array, numbers[name]) for name, array in initializers.items())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_ends_a_stream(kind: str) -> None:
    """Near misses: nothing may be scaled."""
    body, inputs, initializers = REFUSED[kind]
    proto = model(body, inputs, outputs_of(body), initializers=initializers)
    assert not streams(proto)[1]


def test_a_captured_tensor_ends_a_stream() -> None:
    """What a subgraph reads is not scaled."""
    branches = "then_branch = t () => (float[N] p) { p = Sin (h) }, else_branch = e () => (float[N] q) { q = Cos (h) }"
    proto = model(
        f"h = Conv(x, w)\ny = Conv(h, v)\nc = Cast<to=9>(one)\nz = If<{branches}>(c)",
        IMAGE,
        "float[*] y, float[*] z",
        initializers={**CONV, "one": np.float32(1)},
    )
    assert not streams(proto)[1]


def test_what_does_not_fit_is_not_done() -> None:
    """Nothing is edited when a weight would overflow."""
    proto = model("h = Conv(x, w)\ny = Conv(h, v)", IMAGE, initializers=CONV)
    lifted, [stream] = streams(proto)
    assert not rescale(lifted.graph, stream, np.full(4, 1e-39))
    assert distance(proto, lifted, batches(2, 3, 7, 7, count=1)) == 0


@PROPERTY
@given(st.integers(0, 10_000))
def test_chains_of_layers(seed: int) -> None:
    """Random chains of convolutions, plain and depthwise, with what passes streams on between."""
    rng = np.random.default_rng(seed)
    lines: list[str] = []
    initializers: Numbers = {}
    name, channels = "x", 3
    for at in range(int(rng.integers(2, 5))):
        depthwise = at > 0 and rng.random() < 0.4
        out = channels if depthwise else int(rng.integers(1, 5))
        weight = random(out, 1 if depthwise else channels, 1, 1, seed=seed + at)
        initializers[f"w{at}"] = weight
        lines.append(f"c{at} = Conv<group={channels if depthwise else 1}>({name}, w{at})")
        name, channels = f"c{at}", out
        between = rng.choice(["", "Relu", "LeakyRelu", "GlobalAveragePool", "Identity", "Tanh"])
        if between:
            lines.append(f"r{at} = {between}({name})")
            name = f"r{at}"
    lines.append(f"y = Identity({name})")
    proto = model("\n".join(lines), "float[1,3,4,4] x", initializers=initializers)
    lifted, found = streams(proto)
    for stream in found:
        rescale(lifted.graph, stream, np.exp(rng.normal(0, 1.5, stream.channels)))
    verify(lifted)
    assert distance(proto, lifted, batches(1, 3, 4, 4, count=1)) < 1e-5
