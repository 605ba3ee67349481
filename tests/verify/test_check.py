"""The check at the end of an optimization: right models pass, wrong ones don't, and what can't be told is not called right."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.numerics import Exact, Lossy, Numerics, Reassociates
from graphopt.verify import CheckOptions, Verdict, check_equivalence, expect

HEAD = '<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1, "acme": 1]>'


def model(body: str) -> ModelProto:
    return parse_model(HEAD + body)


def check(original: str, optimized: str, numerics: Numerics | None = None, **rest: Any) -> Verdict:
    return check_equivalence(model(original), model(optimized), numerics=numerics or Reassociates(), **rest)


def convolution(*, folded: bool, epsilon: float = 1e-5, seed: int = 0) -> ModelProto:
    """Conv and BatchNormalization, apart or folded."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    scale, bias, mean = (rng.standard_normal(8).astype(np.float32) for _ in range(3))
    var = rng.uniform(0.1, 1, 8).astype(np.float32)
    info = [
        helper.make_tensor_value_info("x", 1, ["n", 3, "h", "w"]),
        helper.make_tensor_value_info("y", 1, ["n", 8, "oh", "ow"]),
    ]
    if folded:
        k = scale / np.sqrt(var + np.float32(epsilon))
        tensors = {"w": w * k[:, None, None, None], "b": bias - mean * k}
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"])]
    else:
        tensors = {"w": w, "scale": scale, "bias": bias, "mean": mean, "var": var}
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["t"]),
            helper.make_node("BatchNormalization", ["t", "scale", "bias", "mean", "var"], ["y"], epsilon=epsilon),
        ]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_same_model_has_the_same_bits(tmp_path):
    proto = convolution(folded=False)
    onnx.save(proto, tmp_path / "m.onnx")
    for original, optimized in ((proto, proto), (tmp_path / "m.onnx", proto.SerializeToString())):
        verdict = check_equivalence(original, optimized)
        assert ("ok", True, "ok: same bits on 4 sets of inputs") == (verdict.status, verdict.bit_exact, verdict.summary)


def test_folding_passes_where_re_association_is_declared():
    verdict = check_equivalence(convolution(folded=False), convolution(folded=True), numerics=Reassociates())
    assert verdict.ok
    assert not verdict.bit_exact
    assert "ok: same numbers on 4 sets of inputs, largest relative difference" in verdict.summary


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4])
def test_a_wrong_epsilon_is_found(epsilon):
    """1e-4 for 1e-5 changes numbers by less than a thousandth."""
    optimized = convolution(folded=True, epsilon=epsilon)
    verdict = check_equivalence(convolution(folded=False), optimized, numerics=Reassociates())
    assert "failed" == verdict.status
    assert verdict.failing_feeds is not None


@pytest.mark.parametrize(
    ("original", "optimized"),
    [
        ("{ y = Relu(x) }", "{ y = Identity(x) }"),
        ("{ y = Neg(x) }", "{ y = Abs(x) }"),
        ("{ y = LeakyRelu<alpha = 0.1>(x) }", "{ y = LeakyRelu<alpha = 0.101>(x) }"),
        ("{ t = Add(x, x) y = Sub(t, x) }", "{ y = Add(x, x) }"),
        ("{ y = Softmax<axis = 1>(x) }", "{ y = Softmax<axis = 0>(x) }"),
    ],
)
def test_wrong_rewrites_are_found(original, optimized):
    head = "g (float[n, m] x) => (float[n, m] y) "
    for numerics in (Exact(), Reassociates()):
        verdict = check(head + original, head + optimized, numerics)
        assert "failed" == verdict.status
        assert "output 'y' (float[" in verdict.reason


def test_a_sign_of_zero_counts_where_bits_do():
    head = "g (float[n] x) => (float[n] y) <float[1] z = {0.0}> "
    keeps, drops = head + "{ t = Neg(x) y = Add(t, z) }", head + "{ y = Neg(x) }"
    assert "failed" == check(keeps, drops, Exact()).status
    assert check(keeps, drops, Reassociates()).ok


def test_a_size_that_was_baked_in_is_found():
    original = """g (float[batch, 6] x) => (float[batch, 2, 3] y) <int64[3] s = {-1, 2, 3}> { y = Reshape(x, s) }"""
    optimized = original.replace("{-1, 2, 3}", "{1, 2, 3}")
    verdict = check(original, optimized)
    assert "failed" == verdict.status
    assert "batch=2" in verdict.reason


@pytest.mark.parametrize(
    ("optimized", "reason"),
    [
        ("g (float[n] z) => (float[n] y) { y = Neg(z) }", "inputs changed: lost 'x'; gained 'z'"),
        ("g (float[n] x) => (float[n] z) { z = Neg(x) }", "outputs changed: lost 'y'; gained 'z'"),
        (
            "g (float[3] x) => (float[3] y) { y = Neg(x) }",
            "input 'x' was float[n], is float[3]: axis 0 is dynamic no longer",
        ),
        ("g (double[n] x) => (float[n] y) { t = Cast<to = 1>(x) y = Neg(t) }", "another element type"),
        ("g (float[n, k] x) => (float[n, k] y) { y = Neg(x) }", "another rank"),
    ],
)
def test_callers_must_not_notice(optimized, reason):
    verdict = check("g (float[n] x) => (float[n] y) { y = Neg(x) }", optimized)
    assert "failed" == verdict.status
    assert reason in verdict.reason


def test_order_of_outputs_and_overridable_defaults():
    two = "g (float[n] x) => (float[n] {}, float[n] {}) {{ a = Neg(x) b = Abs(x) }}"
    assert "outputs changed: another order" == check(two.format("a", "b"), two.format("b", "a")).interface[0]
    original = "g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }"
    baked = "g (float[n] x) => (float[n] y) <float[1] w = {2.0}> { y = Mul(x, w) }"
    assert "input 'w' has a default that can no longer be overridden" in check(original, baked).reason
    taken = "g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Add(x, x) }"
    assert "on overrides inputs" in check(original, taken).reason


def test_what_is_left_open_about_outputs_may_become_known():
    original = "g (float[n, 4] x) => (float[] y) { y = Neg(x) }"
    assert check(original, "g (float[n, 4] x) => (float[n, 4] y) { y = Neg(x) }").ok


def test_a_model_that_does_not_load_or_run_is_wrong():
    original = "g (float[n] x) => (float[n] y) { y = Neg(x) }"
    verdict = check(original, "g (float[n] x) => (float[n] y) { y = NoSuchOp(x) }")
    assert ("failed", True) == (verdict.status, "does not load" in verdict.reason)
    broken = "g (float[n] x) => (float[n] y) <int64[1] s = {12345}> { t = Reshape(x, s) y = Neg(t) }"
    verdict = check(original, broken)
    assert ("failed", True) == (verdict.status, "failed to run" in verdict.reason)
    assert verdict.samples[0].failed


def test_random_outputs_are_compared_by_type_and_the_others_by_numbers():
    body = "g (float[n] x) => (float[n] y, float[n] r) {{ y = {}(x) r = RandomNormalLike(x) }}"
    verdict = check(body.format("Neg"), body.format("Neg"))
    assert "ok: same bits on 4 sets of inputs; random, so compared by type only: r" == verdict.summary
    assert "failed" == check(body.format("Neg"), body.format("Abs")).status
    other = "g (float[n] x) => (float[n] y, double[n] r) { y = Neg(x) t = RandomNormalLike(x) r = Cast<to = 11>(t) }"
    assert "failed" == check(body.format("Neg"), other).status


def test_nothing_but_nan_is_inconclusive():
    body = "g (float[n] x) => (float[n] y) { t = Abs(x) u = Neg(t) v = Sub(u, u) w = Div(v, v) y = Identity(w) }"
    verdict = check(body, body)
    assert ("inconclusive", False) == (verdict.status, verdict.ok)
    assert "is NaN or infinite on all inputs" in verdict.reason


def test_a_model_that_runs_on_nothing_is_inconclusive():
    body = "g (float[n, 3] x) => (float[a, b] y) <int64[2] s = {7, 1234567}> { y = Reshape(x, s) }"
    verdict = check(body, body)
    assert "inconclusive" == verdict.status
    assert "found no inputs on which the original runs" in verdict.reason
    body = "g (float[n] x) => (float[n] y) { y = acme.Unknown(x) }"
    assert "inconclusive" == check(body, body).status


def test_the_reference_evaluator_stands_in_and_knows_operators_of_plugins():
    original = "g (float[n] x) => (float[n] y) { y = acme.Twice(x) }"
    options = CheckOptions(kernels={"acme::Twice": lambda x: x + x})
    verdict = check(original, "g (float[n] x) => (float[n] y) { y = Add(x, x) }", options=options)
    assert ("ok", "the reference evaluator") == (verdict.status, verdict.runtime)
    assert "failed" == check(original, "g (float[n] x) => (float[n] y) { y = Neg(x) }", options=options).status
    fused = "g (float[n, 4] x) => (float[n, 4] y) { y = com.microsoft.Gelu(x) }"
    verdict = check(
        "g (float[n, 4] x) => (float[n, 4] y) { y = acme.Gelu(x) }",
        fused,
        options=CheckOptions(kernels={"acme::Gelu": _gelu}),
    )
    assert ("ok", "ONNX Runtime") == (verdict.status, verdict.runtime)


def _gelu(x: np.ndarray) -> Any:
    from math import erf, sqrt

    return (x * 0.5 * (1 + np.vectorize(erf)(x.astype(np.float64) / sqrt(2)))).astype(np.float32)


def test_a_child_process_gives_the_same_verdict():
    proto = convolution(folded=False)
    verdict = check_equivalence(
        proto, convolution(folded=True), numerics=Reassociates(), options=CheckOptions(isolate=True)
    )
    assert verdict.ok


def test_inputs_that_are_brought_are_used(tmp_path):
    original, optimized = (
        "g (float[n] x) => (float[n] y) { y = Relu(x) }",
        "g (float[n] x) => (float[n] y) { y = Identity(x) }",
    )
    np.savez(tmp_path / "good.npz", x=np.array([1, 2], np.float32))
    verdict = check(original, optimized, inputs=tmp_path / "good.npz")
    assert ("ok: same bits on 1 set of inputs", "user") == (verdict.summary, verdict.samples[0].kind)
    assert "failed" == check(original, optimized, inputs={"x": np.array([-1, 2], np.float32)}).status
    with pytest.raises(ExecutionError, match="input 'x' is missing"):
        check(original, optimized, inputs={})


def test_lossy_results_are_measured_and_not_judged():
    head = "g (float[n] x) => (float[n] y) "
    verdict = check(head + "{ y = Neg(x) }", head + "{ t = Cast<to = 10>(x) u = Cast<to = 1>(t) y = Neg(u) }", Lossy())
    assert verdict.ok
    assert verdict.worst[0].max_abs > 0
    assert "lossy (sqnr): measured only" == verdict.worst[0].note


def quantized(order: tuple[str, str, str]) -> ModelProto:
    """A sum in a certain order, rounded to coarse steps: the order moves some elements by a whole step."""
    a, b, c = order
    return model(f"""
        g (float[n, 4096] x) => (float[n, 4096] y) <float s = {{0.0005}}, float p = {{0.3}}, float q = {{1.7}}> {{
            px = Mul(x, p) qx = Mul(x, q) xx = Mul(x, x)
            t = Add({a}, {b}) u = Add(t, {c})
            v = Div(u, s) k = Round(v) y = Mul(k, s)
        }}
    """)


def test_steps_of_a_quantized_graph_pass_where_the_original_steps_too():
    original, other = quantized(("px", "qx", "xx")), quantized(("px", "xx", "qx"))
    verdict = check_equivalence(original, other, numerics=Reassociates(), inputs=_many())
    assert verdict.ok
    assert "what the original moves by itself" in verdict.summary
    assert "failed" == check_equivalence(original, other, numerics=Exact(), inputs=_many()).status


@pytest.mark.parametrize("scale", [0.000501, 0.00049975])
def test_a_wrong_scale_of_a_quantized_graph_is_found(scale):
    wrong = quantized(("px", "qx", "xx"))
    wrong.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(scale, np.float32), "s"))
    verdict = check_equivalence(quantized(("px", "qx", "xx")), wrong, numerics=Reassociates(), inputs=_many())
    assert "failed" == verdict.status


def _many() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(3).uniform(-0.5, 0.5, (256, 4096)).astype(np.float32)}


def test_one_expectation_serves_many_candidates_and_its_noise_is_measured_once():
    expectation = expect(convolution(folded=False), options=CheckOptions(samples=2))
    verdicts = [expectation.check(convolution(folded=True, epsilon=e), Reassociates()) for e in (1e-5, 1e-3, 1e-5)]
    assert ["ok", "failed", "ok"] == [verdict.status for verdict in verdicts]
    assert expectation.noise() is expectation.noise()
    assert all(0 < noise["y"].largest < 1e-4 for noise in expectation.noise())


def test_verdicts_are_plain_data():
    verdict = check("g (float[n] x) => (float[n] y) { y = Neg(x) }", "g (float[n] x) => (float[n] y) { y = Abs(x) }")
    found = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert ("failed", 4) == (found["status"], len(found["samples"]))
    assert "failed" in {output["status"] for sample in found["samples"] for output in sample["outputs"]}
    assert 1 == len(verdict.summary.splitlines())


def test_models_without_inputs_are_checked():
    body = "g () => (float[2] y) {{ y = Constant<value_floats = [1.0, {}]>() }}"
    assert check(body.format("2.0"), body.format("2.0"), Exact()).ok
    assert "failed" == check(body.format("2.0"), body.format("3.0"), Exact()).status


def test_outputs_that_are_one_number_throughout_are_noted():
    body = "g (float[n, 4] x) => (float[n, 4] y) { t = Sub(x, x) y = Softmax(t) }"
    verdict = check(body, body)
    assert verdict.ok
    assert ("output 'y' of the original is the same number throughout, which shows little",) == verdict.notes
    assert verdict.notes[0] in verdict.summary


def test_verdicts_travel_between_processes():
    verdict = check("g (float[n] x) => (float[n] y) { y = Neg(x) }", "g (float[n] x) => (float[n] y) { y = Abs(x) }")
    copy = pickle.loads(pickle.dumps(verdict))
    assert (verdict, verdict.summary) == (copy, copy.summary)
    assert ["x"] == list(copy.failing_feeds)


def test_several_sets_of_inputs_can_be_brought():
    feeds = [{"x": np.ones(size, np.float32)} for size in (1, 3)]
    expectation = expect(model("g (float[n] x) => (float[n] y) { y = Neg(x) }"), inputs=feeds)
    assert [[1], [3]] == [list(sample.outputs["y"].shape) for sample in expectation.samples]  # type: ignore[union-attr]
    assert {"user"} == {sample.kind for sample in expectation.samples}
    assert expect(model("g (float[n] x) => (float[n] y) { y = Neg(x) }"), inputs=[]).samples, "none brought: made up"
