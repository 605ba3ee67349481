"""Inputs are found by asking the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.ir import DType, SymbolicDim, TensorType
from graphopt.runtime import OrtRunner, ReferenceRunner
from graphopt.serde import lift_model
from graphopt.verify import InputHint, Sample, Search, find_samples, model_hints
from graphopt.verify.draw import MODES, draw
from graphopt.verify.feeds import is_informative
from graphopt.verify.sizes import find_symbols
from tests.onnx_suite import load_cases, ort_correct_names

HEAD = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>'


def model(body: str) -> ModelProto:
    return parse_model(HEAD + body)


def search(proto: ModelProto, **rest: Any) -> Search:
    with OrtRunner(proto) as runner:
        return find_samples(runner, model_hints(lift_model(proto)), **rest)


def shapes(samples: Sequence[Sample], name: str) -> list[tuple[int, ...]]:
    return [np.shape(np.asarray(sample.feeds[name])) for sample in samples]


def test_kinds_sizes_and_outputs():
    found = search(model("g (float[batch, 3, h, w] x) => (float[batch, 3, h, w] y) { y = Neg(x) }"))
    assert ["normal", "uniform", "zeros", "large"] == [sample.kind for sample in found.samples]
    assert [(1, 3, 64, 64), (2, 3, 96, 96), (1, 3, 64, 64), (1, 3, 64, 96)] == shapes(found.samples, "x")
    for sample in found.samples:
        assert np.array_equal(-np.asarray(sample.feeds["x"]), np.asarray(sample.outputs["y"]))
    zeros, large = np.asarray(found.samples[2].feeds["x"]), np.asarray(found.samples[3].feeds["x"])
    assert (0.0, True) == (float(np.abs(zeros).max()), float(np.abs(large).max()) > 100)


def test_same_seed_same_inputs():
    proto = model("g (float[n] x) => (float[n] y) { y = Neg(x) }")
    one, same, other = (np.asarray(search(proto, seed=seed).samples[0].feeds["x"]) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_axes_of_one_name_have_one_size_and_expressions_follow():
    proto = model("g (float[b, p] x, float[b, q] z) => (float[b, t] y) { y = Concat<axis=1>(x, z) }")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "past"
    proto.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "past + 2"
    found = search(proto)
    for x, z in zip(shapes(found.samples, "x"), shapes(found.samples, "z"), strict=True):
        assert (x[0], x[1] + 2) == z
    assert len(set(shapes(found.samples, "x"))) > 1


def test_indices_are_valid_and_reach_both_ends():
    proto = model("""
        g (int64[n] ids) => (float[n, 1] y) <float[7, 1] table = {0, 1, 2, 3, 4, 5, 6}> { y = Gather(table, ids) }
    """)
    found = search(proto)
    assert 4 == len(found.samples)
    ids = np.concatenate([np.asarray(sample.feeds["ids"]) for sample in found.samples])
    assert (0, 6) == (ids.min(), ids.max())


def test_sizes_that_only_running_reveals():
    proto = model("""
        g (float[n, k] x) => (float[n, 24] y) <int64[2] shape = {-1, 576}> { t = Reshape(x, shape) y = Slice(t, a, b, c) }
    """)
    for name, value in (("a", 0), ("b", 24), ("c", 1)):
        tensor = proto.graph.initializer.add(name=name, data_type=TensorProto.INT64, dims=[1])
        tensor.int64_data.append(value)
    found = search(proto)
    assert all((rows * columns) % 576 == 0 for rows, columns in shapes(found.samples, "x"))
    assert len(found.refusals) > 0


def test_conditions_go_both_ways():
    proto = model("""
        g (bool c, float[n] x) => (float[n] y) {
            y = If (c) <then_branch = t () => (float[n] p) { p = Neg(x) }, else_branch = e () => (float[n] q) { q = Abs(x) }>
        }
    """)
    assert {True, False} == {bool(np.asarray(sample.feeds["c"])) for sample in search(proto).samples}


def test_defaults_are_left_alone_and_then_overridden():
    proto = model("g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }")
    found = search(proto)
    assert ["normal", "uniform", "zeros", "large", "overrides"] == [sample.kind for sample in found.samples]
    assert [False] * 4 + [True] == ["w" in sample.feeds for sample in found.samples]
    assert [2.5625] == np.asarray(found.samples[-1].feeds["w"]).tolist()


def test_sequences_optionals_texts_and_maps():
    found = search(model("g (seq(float[2, 3]) x) => (float[m, 3] y) { y = ConcatFromSequence<axis=0>(x) }"))
    assert [(2, 3), (2, 3)] == [np.shape(item) for item in _list(found.samples[0].feeds["x"])]
    found = search(model("g (optional(float[2]) x) => (bool y) { y = OptionalHasElement(x) }"))
    assert {True, False} == {bool(np.asarray(sample.outputs["y"])) for sample in found.samples}
    body = 'y = ai.onnx.ml.LabelEncoder<keys_strings=["cat", "dog"], values_int64s=[1, 2]>(x)'
    found = search(model(f"g (string[n] x) => (int64[n] y) {{ {body} }}"), count=8)
    words = {str(word) for sample in found.samples for word in np.asarray(sample.feeds["x"]).reshape(-1)}
    assert words & {"cat", "dog"}
    body = 'y = ai.onnx.ml.DictVectorizer<string_vocabulary=["cat", "dog"]>(x)'
    found = search(model(f"g (map(string, float) x) => (float[a, b] y) {{ {body} }}"))
    assert {"cat", "dog"} == set(found.samples[0].feeds["x"] or ())


def _list(value: object) -> list[Any]:
    assert isinstance(value, list)
    return value


def test_loops_run_a_few_times_and_no_model_input_is_needed():
    assert 1 == len(search(model("g () => (float[1] y) { y = Constant<value_floats=[1.0]>() }"), count=1).samples)
    proto = model("""
        g (int64 m, float[n] x) => (float[n] y) {
            t = Constant<value_int = 1>()
            c = Cast<to = 9>(t)
            y = Loop (m, c, x) <body = b (int64 i, bool go, float[n] v) => (bool more, float[n] w) { more = Identity(go) w = Add(v, v) }>
        }
    """)
    trips = [int(np.asarray(sample.feeds["m"])) for sample in search(proto).samples]
    assert (1, 4) == (min(trips), max(trips))


def test_inputs_that_give_only_nan_come_last():
    proto = model("g (float[n] x) => (float[n] y) { z = Neg(x) t = Abs(z) u = Neg(t) v = Identity(u) y = Sqrt(v) }")
    found = search(proto)
    assert is_informative(found.samples[0].outputs)
    assert [True, False, False] == [is_informative(s.outputs) for s in found.samples if s.kind != "large"]
    assert "large" not in {sample.kind for sample in found.samples}


def test_a_model_that_never_runs_gives_its_reasons():
    proto = model("g (float[2, 3] x) => (float[a, b] y) { y = MatMul(x, x) }")
    with pytest.raises(ExecutionError):
        search(proto)
    proto = model("g (float[n, 3] x) => (float[a, b] y) <int64[2] s = {7, 1234567}> { y = Reshape(x, s) }")
    found = search(proto, attempts=20)
    assert [] == found.samples
    assert 0 < found.tried <= 20
    assert found.tried == len(found.refusals)


def test_without_hints_the_runner_is_enough():
    proto = model("g (float[n, 3] x, int64[k] i) => (float[n, k] y) { y = Gather<axis=1>(x, i) }")
    with ReferenceRunner(proto) as runner:
        found = find_samples(runner, count=2)
    assert 2 == len(found.samples)


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype is not DType.UNDEFINED])
@pytest.mark.parametrize("kind", ["normal", "uniform", "zeros", "large"])
def test_every_element_type_can_be_drawn(dtype, kind):
    declared = TensorType(dtype, (2, SymbolicDim("n")))
    for mode in MODES:
        found = draw(InputHint("x", declared), declared, (2, 3), kind, mode, np.random.default_rng(0))
        assert isinstance(found, np.ndarray)
        assert ((2, 3), dtype.numpy) == (found.shape, found.dtype)
        if dtype.is_float and np.dtype(dtype.numpy).itemsize > 1:
            assert bool(np.isfinite(found.astype(np.float64)).all())


def test_narrow_integers_stay_in_their_range():
    declared = TensorType(DType.INT4, (100,))
    found = draw(
        InputHint("x", declared, low=-100, high=100), declared, (100,), "normal", "usual", np.random.default_rng(0)
    )
    assert isinstance(found, np.ndarray)
    assert np.dtype(ml_dtypes.int4) == found.dtype
    assert (-8, 7) == (found.astype(int).min(), found.astype(int).max())


def test_nameless_sizes_are_independent():
    hints = [InputHint("x", TensorType(DType.FLOAT, (SymbolicDim("?"), 3, SymbolicDim("?"), None)))]
    found = find_symbols(hints)
    assert ("x.0", 3, "x.2", "x.3") == found.shapes["x"]
    assert {"x.0", "x.2", "x.3"} == set(found.candidates)


@pytest.mark.slow
def test_inputs_are_found_for_nearly_all_models_of_the_suite():
    """Of the cases that ONNX Runtime runs on given inputs, made-up inputs do for all but 2 %."""
    names, missed = set(ort_correct_names()), []
    for case in load_cases():
        if case.name not in names:
            continue
        with OrtRunner(case.model, threads=1) as runner:
            if not find_samples(runner, model_hints(lift_model(case.model)), count=1, seconds=2).samples:
                missed.append(case.name)
    assert len(missed) <= 0.02 * len(names), missed


def test_inputs_that_no_memory_holds_are_not_generated():
    """A refusal with its reason, not an attempt to allocate terabytes."""
    found = search(model("g (float[1000000,1000000] x) => (float[1000000,1000000] y) { y = Relu(x) }"))
    assert ([], True) == (found.samples, found.tried > 0)
    assert {"generated inputs of this size do not fit into memory"} == set(found.refusals)


def test_a_model_traced_with_one_size_runs_with_that_size():
    """The declared dynamic axis is not: a Reshape holds the 7 that the model was exported with."""
    model = parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[b, t] x) => (float[b, 7] y) <int64[3] target = {0, 7, 1}, int64[1] last = {2}> {
            r = Reshape (x, target)
            e = Exp (r)
            y = Squeeze (e, last)
        }""")
    with OrtRunner(model) as runner:
        search = find_samples(runner, model_hints(lift_model(model)))
    assert search.samples
    assert {7} == {sample.sizes["t"] for sample in search.samples}
