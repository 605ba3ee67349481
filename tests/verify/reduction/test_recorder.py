"""What values were when the model ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphopt.verify.reduction import Case, Recorder
from graphopt.verify.reduction.editing import infer_types
from tests.verify.reduction.searching import array_of, model_of, numbers, recorded

CHAIN = "g (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) y = Log(b) }"


def test_values_are_recorded_for_each_sample(tmp_path: Path) -> None:
    """Those that are asked for, by name."""
    case = Case(model_of(CHAIN), ({"x": numbers(2)}, {"x": numbers(2, start=5)}))
    found = recorded(Recorder(tmp_path), case, "a")
    assert [{"a": [-1, -2]}, {"a": [-5, -6]}] == found


def test_values_are_kept_until_they_are_forgotten(tmp_path: Path) -> None:
    """A cut leaves numbers as they are, so the smaller model is not run again."""
    recorder = Recorder(tmp_path)
    one, other = Case(model_of(CHAIN), ({"x": numbers(2)},)), Case(model_of(CHAIN), ({"x": -numbers(2)},))
    assert [-1, -2] == recorded(recorder, one, "a")[0]["a"]
    assert [-1, -2] == recorded(recorder, other, "a")[0]["a"]
    recorder.forget()
    assert [1, 2] == recorded(recorder, other, "a")[0]["a"]


def test_large_values_are_recorded_when_they_are_asked_for(tmp_path: Path) -> None:
    """All at once would take too much memory."""
    text = """g (float[1] x) => (float[1] y) <int64[2] big = {4096, 8192}, int64[1] one = {1}> {
        a = Expand(x, big) b = Neg(a) c = ReduceMax(b) y = Reshape(c, one) }"""
    case = Case(model_of(text), ({"x": numbers(1)},))
    infer_types(case.model)
    recorder = Recorder(tmp_path)
    assert [[-1]] == recorded(recorder, case, "c")[0]["c"]
    assert {"c"} == set(recorder._known[0])


def test_model_without_a_kernel_runs_nowhere(tmp_path: Path) -> None:
    """Which is an answer, not an error."""
    case = Case(model_of("g (float[2] x) => (float[2] y) { y = own.Strange(x) }"), ({"x": numbers(2)},))
    assert (False, None) == (Recorder(tmp_path).runs(case), Recorder(tmp_path).values(case, ["y"]))


def test_without_samples_nothing_runs(tmp_path: Path) -> None:
    """There is nothing to run on."""
    case = Case(model_of("g (float[2] x) => (float[2] y) { y = own.Strange(x) }"))
    assert (True, []) == (Recorder(tmp_path).runs(case), Recorder(tmp_path).values(case, ["y"]))


def test_narrow_types_and_texts_are_recorded(tmp_path: Path) -> None:
    """bfloat16 and strings, as they are."""
    narrow = "g (float[2] x) => (float[2] y) { b = Cast<to=16>(x) y = Cast<to=1>(b) }"
    values = Recorder(tmp_path).values(Case(model_of(narrow), ({"x": numbers(2)},)), ["b"])
    assert values is not None
    found = array_of(values[0]["b"])
    assert ("bfloat16", [1, 2]) == (found.dtype.name, found.tolist())
    text = "g (string[1] t) => (string[1] u) { s = Identity(t) u = Identity(s) }"
    feeds = {"t": np.array(["a"], object)}
    assert ["a"] == recorded(Recorder(tmp_path), Case(model_of(text), (feeds,)), "s")[0]["s"]


def test_what_one_runtime_ran_is_not_handed_to_another(tmp_path: Path) -> None:
    """The reference evaluator takes models that ONNX Runtime refuses: sizes that do not fit, say."""
    recorder = Recorder(tmp_path)
    good = "g (float[2] x, float[2] z) => (float[2] y) { y = Add(x, z) }"
    feeds = {"x": numbers(2), "z": numbers(2)}
    assert recorder.runs(Case(model_of(good), (feeds,)))
    assert not recorder.runs(Case(model_of(good.replace("float[2] z", "float[3] z")), (feeds,)))
