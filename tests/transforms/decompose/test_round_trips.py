"""What a decomposition spells out means the same, and a fusion finds it again: property tests both ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.numerics import Reassociates
from graphopt.target import KernelTable, Target
from graphopt.transforms.decompose import DecomposeActivations, DecomposeNormalization
from graphopt.transforms.fusion.activations import FuseActivations, FuseMicrosoftActivations
from graphopt.transforms.fusion.normalization import FuseNormalization
from graphopt.verify import compare
from tests.transforms.harness import PROPERTY, assert_close, run, transform
from tests.transforms.spelled import spelled

SLOPE = {"s": np.array([0.1, -0.2, 0.3], np.float32)}
#: Operators with the opset from which they exist (Swish: at which ONNX Runtime runs it), and their attributes.
ACTIVATIONS = {
    "Gelu": (20, ""),
    "Gelu tanh": (20, '<approximate: string = "tanh">'),
    "HardSwish": (14, ""),
    "HardSigmoid": (9, "<alpha: float = {a}, beta: float = {b}>"),
    "Swish": (24, "<alpha: float = {a}>"),
    "Sigmoid": (9, ""),
    "Mish": (18, ""),
    "Softplus": (9, ""),
    "Softsign": (9, ""),
    "LeakyRelu": (9, "<alpha: float = {a}>"),
    "PRelu": (9, ""),
    "Elu": (9, "<alpha: float = {a}>"),
    "Celu": (12, "<alpha: float = {a}>"),
    "Selu": (9, ""),
    "ThresholdedRelu": (10, "<alpha: float = {b}>"),
}
NORMS = {
    "LayerNormalization": (17, "y = LayerNormalization <axis: int = {axis}, epsilon: float = {e}> (x, w, b)"),
    "RMSNormalization": (23, "y = RMSNormalization <axis: int = {axis}, epsilon: float = {e}> (x, w)"),
    "InstanceNormalization": (9, "y = InstanceNormalization <epsilon: float = {e}> (x, c, d)"),
    "GroupNormalization": (21, "y = GroupNormalization <num_groups: int = 2, epsilon: float = {e}> (x, c, d)"),
}
opsets = st.sampled_from([9, 11, 13, 14, 17, 18, 20, 21, 22, 23, 24])
slopes = st.sampled_from([0.25, 0.1, 1.5, 1 / 6])
images = st.sampled_from([(2, 4, 3, 5), (1, 2, 2, 2), (3, 6, 1, 4)])


def activation(name: str, opset: int, a: float, b: float, dtype: str = "float"):
    op = name.split()[0]
    text = ACTIVATIONS[name][1].format(a=a, b=b)
    given_slope = op == "PRelu"
    slope = {"s": SLOPE["s"].astype(np.float16)} if dtype == "float16" else SLOPE
    body = f"y = {op} {text} (x{', s' if given_slope else ''})"
    return op, spelled(body, opset=opset, dtype=dtype, initializers=slope if given_slope else {})


def agree(before, after, feeds, rtol=1e-4) -> None:
    for number, (a, b) in enumerate(zip(run(before, feeds), run(after, feeds), strict=True)):
        assert all(found.status == "ok" for found in compare(f"y{number}", a, b, Reassociates(rtol)))


@PROPERTY
@given(st.sampled_from(sorted(ACTIVATIONS)), opsets, slopes, st.sampled_from([0.5, 0.25]), st.integers(0, 5))
def test_activations(name, opset, a, b, seed):
    """Spelled out they are gone and give the same numbers; the fusion finds the operator with its attributes."""
    oldest = ACTIVATIONS[name][0]
    opset = 24 if name == "Swish" else min(max(opset, oldest), 23)
    op, proto = activation(name, opset, a, b)
    apart = transform(proto, DecomposeActivations())
    assert op not in apart.ops
    feeds = {"x": np.random.default_rng(seed).normal(0, 3, (2, 3)).astype(np.float32)}
    agree(proto, apart.after, feeds)
    again = transform(apart.after, FuseActivations())
    assert [op] == again.ops
    agree(proto, again.after, feeds)
    before, after = proto.graph.node[0], again.after.graph.node[0]
    for attribute in before.attribute:
        found = {item.name: item for item in after.attribute}
        if attribute.name in found:
            assert (attribute.s, pytest.approx(attribute.f, rel=1e-6)) == (
                found[attribute.name].s,
                found[attribute.name].f,
            )


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"Celu", "Swish"}))
def test_activations_of_float16(name):
    op, proto = activation(name, 22, 0.25, 0.5, "float16")
    apart = transform(proto, DecomposeActivations())
    assert op not in apart.ops
    feeds = {"x": np.linspace(-4, 4, 6, dtype=np.float16).reshape(2, 3)}
    assert_close(run(proto, feeds), run(apart.after, feeds), 5e-3)


@PROPERTY
@given(
    st.sampled_from(sorted(NORMS)), opsets, images, st.sampled_from([1e-5, 1e-3]), st.integers(1, 3), st.integers(0, 5)
)
def test_normalizations(name, opset, shape, epsilon, count, seed):
    oldest, text = NORMS[name]
    opset = min(max(opset, oldest), 23)
    rng = np.random.default_rng(seed)
    axes = shape[-count:]
    by_axes = {"w": rng.normal(size=axes).astype(np.float32), "b": rng.normal(size=axes).astype(np.float32)}
    by_channel = {"c": rng.normal(size=shape[1]).astype(np.float32), "d": rng.normal(size=shape[1]).astype(np.float32)}
    body = text.format(axis=-count, e=epsilon)
    known = {key: array for key, array in {**by_axes, **by_channel}.items() if f", {key}" in body}
    proto = spelled(body, ",".join(map(str, shape)), opset=opset, initializers=known)
    apart = transform(proto, DecomposeNormalization(ops=(name,)))
    assert name not in apart.ops
    feeds = {"x": rng.normal(1, 2, shape).astype(np.float32)}
    agree(proto, apart.after, feeds)
    again = transform(apart.after, FuseNormalization())
    agree(proto, again.after, feeds)
    assert [name] == again.ops


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization"])
def test_float16_is_computed_in_float32(name):
    known = {"w": np.array([1, 2, 0.5], np.float16), "b": np.array([0, 1, -1], np.float16)}
    if name[0] == "R":
        known.pop("b")
    body = NORMS[name][1].format(axis=-1, e=1e-5)
    proto = spelled(body, dtype="float16", opset=23, initializers=known)
    apart = transform(proto, DecomposeNormalization())
    assert "Cast" in apart.ops
    feeds = {"x": (np.random.default_rng(0).normal(size=(2, 3)) * 300).astype(np.float16)}
    assert_close(run(proto, feeds), run(apart.after, feeds), 2e-3)
    assert [name] == transform(apart.after, FuseNormalization()).ops


def test_operators_of_onnx_runtime():
    runtime = Target("onnxruntime", domains=frozenset({"com.microsoft"}))
    for op in ("Gelu", "FastGelu", "QuickGelu"):
        proto = spelled(f"y = com.microsoft.{op}(x)", opset=13, imports=', "com.microsoft" : 1')
        proto.graph.output[0].type.CopyFrom(proto.graph.input[0].type)
        apart = transform(proto, DecomposeActivations(ops=(f"com.microsoft::{op}",)))
        assert not any("::" in item for item in apart.ops)
        feeds = {"x": np.linspace(-4, 4, 6, dtype=np.float32).reshape(2, 3)}
        agree(proto, apart.after, feeds)
        assert [f"com.microsoft::{op}"] == transform(apart.after, FuseMicrosoftActivations(), target=runtime).ops


def test_a_bias_is_left_to_others():
    proto = spelled(
        "y = com.microsoft.FastGelu(x, c)",
        opset=13,
        imports=', "com.microsoft" : 1',
        initializers={"c": np.ones(3, np.float32)},
    )
    assert {} == transform(proto, DecomposeActivations()).applied


def test_only_what_is_asked_for():
    proto = spelled("a = Elu(x) y = Softplus(a)")
    assert {"spell-out-softplus": 1} == transform(proto, DecomposeActivations(ops=("Softplus",))).applied


def test_only_what_the_target_lacks():
    body = "n = GroupNormalization <num_groups: int = 2> (x, c, d) y = InstanceNormalization(n, c, d)"
    proto = spelled(body, "2,4,3,5", initializers={"c": np.ones(4, np.float32), "d": np.zeros(4, np.float32)})
    step = DecomposeNormalization(lacking=True)
    assert {} == transform(proto, step).applied, "nobody knows what any runtime has"
    lacks = Target("onnxruntime", unsupported=frozenset({"GroupNormalization"}))
    assert {"spell-out-group-norm": 1} == transform(proto, step, target=lacks).applied
    assert {"spell-out-group-norm": 1, "spell-out-instance-norm": 2} == transform(
        proto, step, target=Target("onnxruntime", kernels=KernelTable({}))
    ).applied


def test_outputs_that_are_used_too_stay():
    proto = spelled(
        "y, m = LayerNormalization(x, w)",
        initializers={"w": np.ones(3, np.float32)},
        outputs="float[2,3] y, float[2,1] m",
    )
    assert {} == transform(proto, DecomposeNormalization()).applied
