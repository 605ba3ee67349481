"""LayerNormalization and RMSNormalization are found in every spelling that exporters use, with numbers that stay."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.ir import Array
from graphopt.transforms.fusion.normalization import FuseNormalization
from tests.transforms.harness import Outcome, assert_close, assert_untouched, run, transform
from tests.transforms.spelled import spelled

STEP = FuseNormalization()
SHAPE = "2,3,4"
W = {"w": np.array([1.5, -0.5, 2, 0.25], np.float32), "b": np.array([0.5, 1, -1, 0], np.float32)}
AXES = np.array([-1], np.int64)
MEAN = "m = ReduceMean <keepdims: int = 1> (x, axes) d = Sub(x, m)"
VARIANCE = "q = Mul(d, d) v = ReduceMean <keepdims: int = 1> (q, axes) e = Add(v, #0.001)"
POWER = "q = Pow(x, #2) v = ReduceMean <keepdims: int = 1> (q, axes) e = Add(v, #0.001)"

CENTRED = [
    f"{MEAN} q = Pow(d, #2) v = ReduceMean <keepdims: int = 1> (q, axes) e = Add(v, #0.001) s = Sqrt(e) n = Div(d, s)",
    f"{MEAN} {VARIANCE} s = Sqrt(e) n = Div(d, s)",
    f"{MEAN} {VARIANCE} s = Sqrt(e) r = Reciprocal(s) n = Mul(d, r)",
    f"{MEAN} {VARIANCE} s = Sqrt(e) r = Div(#1, s) n = Mul(r, d)",
    f"{MEAN} {VARIANCE} r = Reciprocal(e) s = Sqrt(r) n = Mul(d, s)",
    f"{MEAN} {VARIANCE} r = Pow(e, #-0.5) n = Mul(d, r)",
    f"{MEAN} {VARIANCE} s = Pow(e, #0.5) n = Div(d, s)",
    f"{MEAN} {VARIANCE} s = Sqrt(e) c = Sub(x, m) n = Div(c, s)",  # the difference twice
    f"{MEAN} {VARIANCE} s = Sqrt(e) k = ReduceMean <keepdims: int = 1> (x, axes) c = Sub(x, k) n = Div(c, s)",
]
PLAIN = [
    f"{POWER} s = Sqrt(e) n = Div(x, s)",
    f"{POWER} s = Sqrt(e) r = Reciprocal(s) n = Mul(x, r)",
    f"{POWER} s = Sqrt(e) r = Div(#1, s) n = Mul(r, x)",
    f"{POWER} r = Pow(e, #-0.5) n = Mul(x, r)",
]


def norm(
    body: str,
    end: str = "y = Identity(n)",
    *,
    shape: str = SHAPE,
    opset: int = 23,
    axes: tuple[int, ...] = (-1,),
    inputs: str = "",
    outputs: str = "",
) -> ModelProto:
    """A model of a normalization, with the axes as the opset spells them."""
    known = {name: array for name, array in W.items() if re.search(rf"\b{name}\b", f"{body} {end}")}
    if opset < 18:
        body = re.sub(
            r"<keepdims: int = 1> \((\w+), axes\)", rf"<axes: ints = {list(axes)}, keepdims: int = 1> (\1)", body
        )
    else:
        known["axes"] = np.array(axes, np.int64)
    return spelled(f"{body} {end}", shape, opset=opset, initializers=known, inputs=inputs, outputs=outputs)


def near(proto: ModelProto, ops: list[str], shape: tuple[int, ...] = (2, 3, 4), rtol: float = 1e-5) -> Outcome:
    """The operators that are left, with numbers that agree."""
    outcome = transform(proto, STEP)
    assert ops == outcome.ops
    dtype = np.float16 if proto.graph.input[0].type.tensor_type.elem_type == 10 else np.float32
    feeds = {"x": (np.random.default_rng(0).normal(size=shape) * 2 + 1).astype(dtype)}
    assert_close(run(proto, feeds), run(outcome.after, feeds), rtol)
    return outcome


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("body", CENTRED)
def test_layer_normalization(body, opset):
    outcome = near(norm(body, opset=opset), ["LayerNormalization", "Identity"])
    assert {"fuse-layer-norm": 1} == outcome.applied
    attributes = {a.name: a.f or a.i for a in outcome.after.graph.node[0].attribute}
    assert {"axis": -1, "epsilon": pytest.approx(0.001)} == attributes


@pytest.mark.parametrize("body", PLAIN)
def test_rms_normalization(body):
    assert {"fuse-rms-norm": 1} == near(norm(body), ["RMSNormalization", "Identity"]).applied


@pytest.mark.parametrize(("body", "opset"), [(CENTRED[0], 16), (PLAIN[0], 22)])
def test_older_opsets_have_no_operator(body, opset):
    assert {} == transform(norm(body, opset=opset), STEP).applied


@pytest.mark.parametrize(
    "end",
    [
        "t = Mul(n, w) y = Add(t, b)",
        "t = Mul(w, n) y = Add(b, t)",
        "t = Mul(n, w) y = Identity(t)",
        "t = Add(n, b) y = Identity(t)",
        "t = Mul(n, #2) y = Add(t, #1)",
    ],
)
def test_scale_and_bias_go_in(end):
    left = ["LayerNormalization"] + (["Identity"] if "Identity" in end else [])
    near(norm(CENTRED[1], end), left)


def test_a_second_scale_and_bias_are_folded():
    proto = norm(CENTRED[1], "t = Mul(n, w) u = Add(t, b) v2 = Mul(u, w) y = Add(v2, b)")
    near(proto, ["LayerNormalization"])


def test_scale_of_rms_normalization():
    near(norm(PLAIN[1], "t = Mul(w, n) y = Identity(t)"), ["RMSNormalization", "Identity"])
    near(norm(PLAIN[1], "t = Mul(w, n) y = Add(t, b)"), ["RMSNormalization", "Add"])


def test_a_scale_that_is_computed_goes_in():
    proto = norm(CENTRED[1], "y = Mul(n, z)", inputs="float[4] z")
    assert ["LayerNormalization"] == transform(proto, STEP).ops
    proto = norm(CENTRED[1], "y = Mul(n, z)", inputs="float[3,1] z")
    assert ["LayerNormalization", "Mul"] == transform(proto, STEP).ops


@pytest.mark.parametrize("axes", [(-2, -1), (1, 2), (2, 1)])
def test_several_last_axes(axes):
    proto = norm(CENTRED[1], axes=axes)
    near(proto, ["LayerNormalization", "Identity"])


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2)])
def test_axes_that_are_not_the_last_stay(axes):
    assert_untouched(norm(CENTRED[1], axes=axes), STEP)


def test_dynamic_shapes():
    assert {"fuse-layer-norm": 1} == transform(norm(CENTRED[1], shape="N,S,4"), STEP).applied


@pytest.mark.parametrize("shape", ["2,3,C", "*"])
def test_an_unknown_size_stays(shape):
    assert_untouched(norm(CENTRED[1], shape=shape), STEP)


@pytest.mark.parametrize("more", ["d", "q", "v", "e", "s"])
def test_a_part_that_is_given_out_keeps_the_others(more):
    size = "4" if more in ("d", "q") else "1"
    proto = norm(CENTRED[1], outputs=f"float[{SHAPE}] y, float[2,3,{size}] {more}")
    kept = {"fuse-rms-norm": 1} if more == "d" else {}
    assert kept == transform(proto, STEP).applied, "the difference may be what is normalized"


@pytest.mark.parametrize(
    "body",
    [
        CENTRED[1].replace("Sub(x, m)", "Sub(m, x)"),
        CENTRED[1].replace("n = Div(d, s)", "n = Div(x, s)"),
        CENTRED[1].replace("q = Mul(d, d)", "q = Mul(d, x)"),
        CENTRED[1].replace("#0.001", "#-0.001"),
        CENTRED[0].replace("#2", "#3"),
        CENTRED[1].replace("v = ReduceMean", "v = ReduceSum"),
    ],
)
def test_nearly_a_normalization_stays(body):
    assert {} == transform(norm(body, opset=21), STEP).applied


def test_epsilon_of_every_element_stays():
    body = CENTRED[1].replace("Add(v, #0.001)", "Add(v, b)")
    assert {} == transform(norm(body), STEP).applied


def test_without_epsilon():
    body = f"{MEAN} q = Mul(d, d) v = ReduceMean <keepdims: int = 1> (q, axes) s = Sqrt(v) n = Div(d, s)"
    near(norm(body), ["LayerNormalization", "Identity"])


def test_tensorflow_has_the_scale_inside():
    body = f"{MEAN} {VARIANCE} s = Sqrt(e) r = Reciprocal(s) k = Mul(r, w) xk = Mul(x, k) mk = Mul(m, k) c = Sub(b, mk) y = Add(xk, c)"
    proto = spelled(body, SHAPE, initializers={**W, "axes": AXES})
    assert {"fuse-scaled-layer-norm": 1} == near(proto, ["LayerNormalization"]).applied
    assert (
        {}
        == transform(
            spelled(body.replace("Mul(m, k)", "Mul(m, r)"), SHAPE, initializers={**W, "axes": AXES}), STEP
        ).applied
    )


HALF = {name: array.astype(np.float16) for name, array in W.items()}


WIDE = {"one": np.float32(1), "two": np.float32(2), "eps": np.float32(0.001)}


@pytest.mark.parametrize(("core", "op"), [(CENTRED[3], "LayerNormalization"), (PLAIN[2], "RMSNormalization")])
def test_float16_that_is_computed_in_float32(core, op):
    """As transformers write RMSNorm: cast, normalize, cast back, scale."""
    core = re.sub(r"\bx\b", "wide", core).replace("n =", "o =")
    core = core.replace("#0.001", "eps").replace("#1", "one").replace("#2", "two")
    body = f"wide = Cast <to: int = 1> (x) {core} n = Cast <to: int = 10> (o) y = Mul(n, w)"
    known: dict[str, Array | np.generic] = {**WIDE, "axes": AXES, "w": HALF["w"]}
    known = {name: array for name, array in known.items() if re.search(rf"\b{name}\b", body)}
    outcome = near(spelled(body, SHAPE, dtype="float16", opset=23, initializers=known), [op], rtol=2e-3)
    assert 1 == outcome.applied["drop-casts-around-normalization"]


def test_float16_whose_difference_is_cast():
    """As torch.onnx.export writes layer_norm of float16 before opset 17."""
    body = (
        "m = ReduceMean <keepdims: int = 1> (x, axes) d = Sub(x, m) f = Cast <to: int = 1> (d) q = Pow(f, two) "
        "v = ReduceMean <keepdims: int = 1> (q, axes) e = Add(v, eps) s = Sqrt(e) o = Div(f, s) n = Cast <to: int = 10> (o) "
        "t = Mul(n, w) y = Add(t, b)"
    )
    known: dict[str, Array | np.generic] = {"axes": AXES, "two": np.float32(2), "eps": np.float32(0.001), **HALF}
    near(spelled(body, SHAPE, dtype="float16", initializers=known), ["LayerNormalization"], rtol=4e-3)
