"""BiasGelu, FusedMatMul, SkipLayerNormalization, and residual sums that ONNX Runtime leaves alone."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from graphopt.ir import Array
from graphopt.target import Target
from graphopt.transforms.fusion.transformer import FuseSkipNorms, FuseTransformerOps, KeepLayerNorm
from tests.transforms.fusion.for_ort import ORT, near, untouched
from tests.transforms.harness import assert_same_bits, feeds_for, model, run, transform

ROW = {"g": np.linspace(0.5, 1.5, 4, dtype=np.float32), "e": np.linspace(-1, 1, 4, dtype=np.float32)}
BIAS = {"h": np.linspace(2, 3, 4, dtype=np.float32)}
TWO = "float[b,s,4] x, float[b,s,4] u"
SKIP = "com.microsoft::SkipLayerNormalization"
FUSED = "com.microsoft::FusedMatMul"
C: dict[str, Array | np.generic] = {"c": np.float32(0.5)}


@pytest.mark.parametrize("body", ["a = Add(x, e) y = Gelu(a)", "a = Add(e, x) y = Gelu(a)"])
def test_gelu_takes_its_bias(body):
    proto = model(body, "float[b,s,4] x", opset=20, initializers={"e": ROW["e"]})
    near(proto, FuseTransformerOps(), ["com.microsoft::BiasGelu"], {"fuse-bias-gelu": 1})


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ('a = Add(x, e) y = Gelu<approximate = "tanh">(a)', "float[b,4] x"),
        ("a = Add(x, e) z = Gelu(a) y = Add(z, a)", "float[b,4] x"),
        ("a = Add(x, v) y = Gelu(a)", "float[b,4] x, float[4] v"),
        ("a = Add(x, e) y = Gelu(a)", "float[b,1] x"),
        ("a = Add(x, e) y = Gelu(a)", "double[b,4] x"),
    ],
)
def test_gelu_of_other_sums_stays(body, inputs):
    kind = "double" if "double" in inputs else "float"
    row = ROW["e"].astype(np.float64 if kind == "double" else np.float32)
    untouched(model(body, inputs, f"{kind}[*] y", opset=20, initializers={"e": row}), FuseTransformerOps())


@pytest.mark.parametrize(
    ("body", "rules", "attributes"),
    [
        ("t = Transpose<perm = [0, 2, 1]>(a) y = MatMul(t, b)", {"fuse-operands-of-product": 1}, (1, 0, 1.0)),
        (
            "s = Mul(a, c) t = Transpose<perm = [0, 2, 1]>(b) y = MatMul(s, t)",
            {"fuse-operands-of-product": 1},
            (0, 1, 0.5),
        ),
        ("z = MatMul(a, b) y = Div(z, c)", {"fold-scale-of-product": 1}, (0, 0, 2.0)),
        (
            "t = Transpose<perm = [0, 2, 1]>(b) z = MatMul(a, t) y = Mul(c, z)",
            {"fuse-operands-of-product": 1, "fold-scale-of-product": 1},
            (0, 1, 0.5),
        ),
    ],
)
def test_transpositions_and_numbers_enter_products(body, rules, attributes):
    proto = model(body, "float[b,3,3] a, float[b,3,3] b", initializers=C if "c)" in body or "(c" in body else {})
    (node,) = near(proto, FuseTransformerOps(), [FUSED], rules).ir.graph.nodes
    found = (node.int_attr("transA", 0), node.int_attr("transB", 0), node.float_attr("alpha", 1.0))
    assert pytest.approx(attributes) == found


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("t = Transpose<perm = [1, 0, 2]>(a) y = MatMul(t, b)", "float[2,2,2] a, float[2,2,2] b"),
        ("t = Transpose<perm = [0, 2, 1]>(a) z = MatMul(t, b) y = Add(z, t)", "float[2,2,2] a, float[2,2,2] b"),
        ("s = Mul(a, c) y = MatMul(s, w)", "float[2,2,2] a"),
        ("z = MatMul(a, w) y = Mul(z, c)", "float[2,2,2] a"),
    ],
)
def test_other_products_stay(body, inputs):
    constants: dict[str, Array | np.generic] = {
        **(C if "c)" in body else {}),
        **({"w": np.eye(2, dtype=np.float32)} if "w)" in body else {}),
    }
    untouched(model(body, inputs, initializers=constants), FuseTransformerOps())


def test_a_factor_that_float32_does_not_hold_stays_in_float64():
    proto = model(
        "z = MatMul(a, b) y = Mul(z, c)",
        "double[2,2] a, double[2,2] b",
        "double[*] y",
        initializers={"c": np.float64(0.1)},
    )
    untouched(proto, FuseTransformerOps())


@pytest.mark.parametrize(
    ("body", "outputs", "inputs"),
    [
        ("t = Add(x, u) y = LayerNormalization(t, g, e)", 1, 4),
        ("a = Add(x, h) t = Add(a, u) y = LayerNormalization(t, g, e)", 1, 5),
        ("a = Add(x, u) t = Add(h, a) y = LayerNormalization(t, g, e)", 1, 5),
        ("t = Add(x, u) n = LayerNormalization(t, g, e) y = Sub(n, t)", 4, 4),
    ],
)
def test_normalized_sums_become_one_operator(body, outputs, inputs):
    constants = {**ROW, **(BIAS if "h" in body else {})}
    proto = model(body, TWO, opset=17, initializers=constants)
    more = ["Sub"] if "Sub" in body else []
    outcome = near(proto, FuseSkipNorms(), [SKIP, *more], {"fuse-skip-layer-norm": 1})
    node = next(iter(outcome.ir.graph.nodes))
    assert (outputs, inputs) == (len(node.outputs), len(node.inputs))


def test_a_sum_that_is_read_before_the_normalization_stands_before_both():
    proto = model(
        "t = Add(x, u) r = Relu(t) n = LayerNormalization(t, g, e) y = Add(n, r)", TWO, opset=17, initializers=ROW
    )
    near(proto, FuseSkipNorms(), [SKIP, "Relu", "Add"], {"fuse-skip-layer-norm": 1})


def test_root_mean_squares_too():
    proto = model("t = Add(x, u) y = RMSNormalization(t, g)", TWO, opset=23, initializers={"g": ROW["g"]})
    ops = ["com.microsoft::SkipSimplifiedLayerNormalization"]
    near(proto, FuseSkipNorms(), ops, {"fuse-skip-rms-norm": 1})


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("t = Add(x, u) y = LayerNormalization<axis = 1>(t, g, e)", TWO.replace("s,4", "4,4").replace("b", "1")),
        ("t = Add(x, u) y = LayerNormalization(t, g, e)", "float[b,s,4] x, float[b,1,4] u"),
        ("t = Add(x, u) y = LayerNormalization(t, g, e)", "float[a,b,s,4] x, float[a,b,s,4] u"),
        ("t = Add(x, u) y = LayerNormalization(t, v, e)", f"{TWO}, float[4] v"),
    ],
)
def test_other_normalizations_stay(body, inputs):
    used = {name: row for name, row in ROW.items() if f"{name}," in body or f"{name})" in body}
    if "axis" in body:
        used = {name: np.tile(row, (4, 1)) for name, row in used.items()}
    untouched(model(body, inputs, opset=17, initializers=used), FuseSkipNorms())


@pytest.mark.parametrize("step", [FuseTransformerOps(), FuseSkipNorms(), KeepLayerNorm()])
def test_other_targets_get_nothing(step):
    body = "t = Add(x, u) n = LayerNormalization(t, g, e) a = Add(n, h) y = Gelu(a)"
    proto = model(body, TWO, opset=20, initializers={**ROW, **BIAS})
    assert {} == transform(proto, step, target=Target("onnx")).applied


NORM = "t = Add(x, u) y = LayerNormalization(t, g, e)"
SPELT = (
    "t = Add(x, u) m = ReduceMean<axes = [-1]>(t) d = Sub(t, m) q = Pow(d, two) v = ReduceMean<axes = [-1]>(q) w = Add(v, i) r = Sqrt(w) "
    "n = Div(d, r) k = Mul(n, g) y = Add(k, e)"
)


def kernels(proto, tmp_path):
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "made.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


@pytest.mark.parametrize(("body", "opset"), [(NORM, 17), (SPELT, 14)])
def test_residual_sums_keep_the_fast_normalization(body, opset, tmp_path):
    constants: dict[str, Array | np.generic] = {
        **ROW,
        **({"i": np.float32(1e-5), "two": np.float32(2)} if "two" in body else {}),
    }
    proto = model(body, TWO.replace("b,s", "2,3"), opset=opset, initializers=constants)
    outcome = transform(proto, KeepLayerNorm(), target=ORT)
    assert {"keep-residual-sum": 1} == outcome.applied
    assert "Sum" == outcome.ops[0]
    feeds = feeds_for(proto)
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    assert ["SkipLayerNormalization"] == kernels(proto, tmp_path), (
        "when this fails, ONNX Runtime has changed: is the pass needed?"
    )
    assert ["Sum", "LayerNormalization"] == kernels(outcome.after, tmp_path)


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("t = Add(x, u) n = LayerNormalization(t, g, e) y = Add(n, t)", TWO),
        ("t = Add(x, h) y = LayerNormalization(t, g, e)", "float[b,s,4] x"),
        (NORM, "float[b,s,4] x, float[1,4] u"),
        (NORM, "float[a,b,s,4] x, float[a,b,s,4] u"),
        ("y = Add(x, u)", TWO),
    ],
)
def test_sums_that_are_not_joined_stay(body, inputs):
    used = {name: row for name, row in {**ROW, **BIAS}.items() if f"{name}," in body or f"{name})" in body}
    untouched(model(body, inputs, opset=17, initializers=used), KeepLayerNorm())
