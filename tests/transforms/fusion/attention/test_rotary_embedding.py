"""Halves of heads that are turned become ONNX Runtime's RotaryEmbedding."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.transforms.decompose import DecomposeAttention
from graphopt.transforms.fusion.attention import FuseMicrosoftAttention
from tests.transforms.fusion.for_ort import ORT, near, untouched
from tests.transforms.harness import assert_close, feeds_for, model, run, transform

RULE = {"use-rotary-embedding": 1}
OP = "com.microsoft::RotaryEmbedding"
TABLES = "t = Concat<axis = -1>(f, f) c = Cos(t) s = Sin(t) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) "
PREPARED = ["Concat", "Cos", "Sin", "Unsqueeze", "Unsqueeze", "Slice", "Reshape", "Slice", "Reshape"]
TURNED = "a, b = Split<axis = -1>(x, two) n = Neg(b) h = Concat<axis = -1>(n, a) p = Mul(x, cos) q = Mul(h, sin) y = Add(p, q)"
X, F = "float[b,2,s,4] x", "float[1,s,2] f"
SIZES = {"b": 2, "s": 3}


def made(body=TABLES + TURNED, inputs=f"{X}, {F}", outputs="float[*] y", **constants):
    known = {"one": np.array([1]), "two": np.array([2, 2]), **constants}
    return model(
        body,
        inputs,
        outputs,
        opset=17,
        initializers={k: v for k, v in known.items() if f"{k})" in body or f"{k}," in body},
    )


def test_one_operator_and_half_of_the_tables():
    near(made(), FuseMicrosoftAttention(), [*PREPARED, OP], RULE, sizes=SIZES)


def test_heads_that_were_split_for_it_stay_together():
    body = TABLES + "r = Reshape(v, split) x = Transpose<perm = [0, 2, 1, 3]>(r) " + TURNED
    proto = made(body, f"float[b,s,8] v, {F}", split=np.array([0, 0, 2, 4]))
    outcome = near(proto, FuseMicrosoftAttention(), [*PREPARED, OP, "Reshape", "Transpose"], RULE, sizes=SIZES)
    (node,) = (node for node in outcome.ir.graph.nodes if node.op == OP)
    source = node.inputs[0]
    assert source is not None
    assert ("v", 2) == (source.name, node.int_attr("num_heads"))


def test_constant_tables():
    table = np.tile(np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 1, 3, 2), 2)
    proto = made(TURNED, "float[b,2,3,4] x", cos=np.cos(table), sin=np.sin(table))
    near(proto, FuseMicrosoftAttention(), [OP], RULE, sizes=SIZES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Concat<axis = -1>(f, f)", "Concat<axis = -1>(f, g)"),
        ("Concat<axis = -1>(n, a)", "Concat<axis = -1>(a, n)"),
        ("n = Neg(b)", "n = Neg(a)"),
        ("n = Neg(b)", "n = Abs(b)"),
        ("y = Add(p, q)", "y = Sub(p, q)"),
        ("p = Mul(x, cos)", "z = Neg(x) p = Mul(z, cos)"),
        ("y = Add(p, q)", "y = Add(p, q) z = Neg(h)"),
    ],
)
def test_other_sums_stay(old, new):
    body = (TABLES + TURNED).replace(old, new)
    outputs = "float[*] y, float[*] z" if "z = Neg(h)" in body else "float[*] y"
    inputs = f"{X}, {F}" + (", float[1,s,2] g" if "g)" in new else "")
    untouched(made(body, inputs, outputs), FuseMicrosoftAttention())


@pytest.mark.parametrize(
    "inputs", [f"{X}, float[b,s,2] f", f"{X}, float[1,1,2] f", "double[b,2,s,4] x, double[1,s,2] f"]
)
def test_other_tables_and_types_stay(inputs):
    outputs = "double[*] y" if "double" in inputs else "float[*] y"
    untouched(made(inputs=inputs, outputs=outputs), FuseMicrosoftAttention())


def test_there_and_back():
    proto = made()
    fused = transform(proto, FuseMicrosoftAttention(), target=ORT)
    apart = transform(fused.after, DecomposeAttention())
    assert {"spell-out-rotary-embedding": 1} == apart.applied
    feeds = {name: np.tanh(array) for name, array in feeds_for(proto, SIZES).items()}
    feeds = {name: np.nan_to_num(array) for name, array in feeds.items()}
    assert_close(run(proto, feeds), run(apart.after, feeds), 1e-5)
