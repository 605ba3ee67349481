"""Parts of the tool by themselves: data in two parts, budgets, times of layers, order of sensitivity."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing import judge, layer_times
from graphopt.compiler.quantizing.budget import budget_of, parse_drop
from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.examples import Split, first_examples, split_examples
from graphopt.compiler.quantizing.judge import Judge
from graphopt.compiler.quantizing.layer_times import TimedKernel, best_forms
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.material import Material, calibration_of
from graphopt.compiler.quantizing.metrics import find_metric
from graphopt.compiler.quantizing.plan import Plan, Settings, uniform
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.sensitivity import Known, repair
from graphopt.data import digits_model, digits_test
from graphopt.errors import QuantizationError
from graphopt.ir import DType, GraphBuilder
from graphopt.runtime.paired import PairedTimes


def batches(count: int, size: int = 2) -> list[Any]:
    return [{"x": np.full((size, 1), at, np.float32)} for at in range(count)]


def layer(name, op="Conv", forms=("static", "dynamic")):
    return Layer(name, op, 100, 0.1, 4, frozenset(forms))


# -- data -------------------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 4))
def test_no_batch_is_in_both_parts_and_none_is_lost(count, size):
    made = split_examples(batches(count, size))
    held = [int(cast("Any", feeds["x"])[0, 0]) for feeds, _ in made.held_out]
    ranges = [int(cast("Any", feeds["x"])[0, 0]) for feeds in made.calibration()]
    if count == 1:
        assert [0] == held == ranges
        assert made.note
    else:
        assert sorted([*held, *ranges]) == list(range(count))
        assert held
        assert ranges
    assert len(held) * size == made.examples


def test_labels_stay_with_their_examples():
    made = split_examples(batches(8), np.arange(16))
    assert [[6, 7], [14, 15]] == [labels.tolist() for _, labels in made.held_out if labels is not None]


def test_first_examples():
    assert [2, 2] == [len(cast("Any", feeds["x"])) for feeds in first_examples(batches(9), 3)]


# -- budgets ----------------------------------------------------------------------------------------------------------------------


def test_points_percent_and_db():
    top1, mse = find_metric("top1"), find_metric("mse")
    assert budget_of(top1, 98.0, "0.5%", None).holds(97.5)
    assert not budget_of(top1, 98.0, "0.5%", None).holds(97.4)
    assert budget_of(mse, 2.0, "10%", None).holds(2.2)
    assert not budget_of(mse, 2.0, "10%", None).holds(2.3)
    assert budget_of(mse, 2.0, 0.1, None).holds(2.1)
    found = budget_of(top1, 98.0, None, None)
    assert ("sqnr", 20.0, False) == (found.kind.name, found.least, found.stated)
    assert not found.holds(math.nan)
    assert found.holds(math.inf)


@pytest.mark.parametrize("text", ["", "-1", "1 point", "0.5 %%", math.nan, -0.1, math.inf])
def test_drops_that_are_not_understood(text):
    with pytest.raises(QuantizationError, match=r"is not understood; expected such as 0\.5% or 0\.2, 0 or more"):
        parse_drop(text)


# -- data ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "everything", "seen"), [(4, False, 64), (4, True, 100), (0, False, 100)])
def test_ranges_come_from_as_many_examples_as_choosing_takes_and_from_all_in_the_end(every, everything, seen):
    big = np.zeros((1, 1 << 17), np.float32)
    split = Split([{"x": big}] * 100, every, [({"x": big}, None)])
    material = Material(split, True, cast("Any", None), cast("Any", None), [])
    b = GraphBuilder()
    b.output(b.Relu(b.input("x", DType.FLOAT, ["n", 1 << 17])), "y", DType.FLOAT, ["n", 1 << 17])
    told: list[str] = []
    request = QuantizeRequest(calibrator="min-max")
    source = calibration_of(material, None, request, Environment(), told.append, everything=everything)
    assert source is not None
    assert {"x"} == set(source.ranges(b.build(), ["x"]))
    assert seen == len(told)


# -- plans ------------------------------------------------------------------------------------------------------------------------


def test_plans():
    layers = [layer("a"), layer("b", "MatMul", ("dynamic",)), layer("t", "Gather", ("weights", "stored"))]
    plan = uniform(layers, "static", "dynamic")
    assert {"a": "static", "b": "dynamic", "t": "stored"} == plan.forms
    assert "weights" == uniform(layers, "weights").forms["t"]
    assert "static 1, dynamic 1, stored 1" == plan.text
    assert ("b", "t") == plan.without(["a"]).quantized
    assert ("a",) == plan.only(["a"]).quantized
    assert "float" == Plan({}).text


# -- times of layers --------------------------------------------------------------------------------------------------------------


def test_to_a_layer_belongs_what_is_behind_it(monkeypatch):
    b = GraphBuilder()
    x = b.input("x", DType.FLOAT, ["n", 4])
    first = b.MatMul(b.Abs(x, name="before"), np.ones((4, 4), np.float32), name="a")
    second = b.MatMul(b.Relu(first, name="between"), np.ones((4, 4), np.float32), name="b")
    b.output(b.Add(b.Neg(first, name="beside"), second, name="sum"), "y", DType.FLOAT, ["n", 4])
    model = b.build()
    layers = [layer("a", "MatMul"), layer("b", "MatMul")]
    segments = layer_times.layer_segments(model, layers)
    assert {"a": "a", "between": "a", "beside": "a", "b": "b", "sum": "b"} == segments

    kernels = [
        TimedKernel("a_token_3", 1.0, ("b",)),
        TimedKernel("b_MatMulInteger_token_1", 3.0),
        TimedKernel("made up", 5.0, ("x", "between")),
        TimedKernel("before", 7.0),
        TimedKernel("of another", 0.5, origins=("sum",)),
    ]
    monkeypatch.setattr(layer_times, "timed_kernels", lambda *_, **__: kernels)
    made_up = cast("Any", SimpleNamespace(lift=lambda path: model, plugins=None))
    found = layer_times.layer_times("m", layers, {}, threads=1, seconds=1, environment=made_up)
    assert {"a": 6.0, "b": 3.5} == found


def test_the_kernels_of_a_real_model_are_timed():
    path = str(digits_model())
    kernels = layer_times.timed_kernels(
        path, Environment().lift(path), {"image": digits_test()[0][:4]}, threads=1, seconds=0.05
    )
    assert all(kernel.seconds >= 0 for kernel in kernels)
    assert sum("/conv1/Conv" in kernel.nodes for kernel in kernels) >= 1


def test_the_best_form_of_each_layer():
    layers = [layer("a"), layer("b"), layer("c"), layer("d", "MatMul", ("dynamic",))]
    times: Any = {
        "float": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0},
        "static": {"a": 0.5, "b": 0.99, "d": 0.1},
        "dynamic": {"a": 0.4, "b": 1.2, "d": 0.8},
    }
    assert {"a": "dynamic", "b": "float", "c": "float", "d": "dynamic"} == best_forms(layers, times).forms


# -- sensitivity ------------------------------------------------------------------------------------------------------------------


class MadeUp:
    """Trials whose noise is the sum of what each quantized layer makes."""

    def __init__(self, noise):
        self.noise = noise
        self.made: list[tuple[str, ...]] = []

    def make(self, name, plan, settings, *, note=True, quick=False):
        self.made.append(plan.quantized)
        made = SimpleNamespace(path="m", size=100 - len(plan.quantized))
        return Candidate(name, plan, settings, made=cast("Any", made))

    def judge(self, candidate, *, quick=False):
        total = sum(self.noise[name] for name in candidate.plan.quantized)
        candidate.values = candidate.cautious = {"sqnr": math.inf if not total else -10 * math.log10(total)}
        return candidate.values

    def measure(self, candidate, *, factor=1.0, drop=True):
        candidate.times = [PairedTimes((1.0,) * 5, (1.0,) * 5)]

    def drop(self, candidate):
        candidate.made = None

    def tell(self, text):
        pass


@given(st.lists(st.floats(1e-5, 1e-1), min_size=1, max_size=20), st.floats(5, 45))
def test_as_few_layers_as_possible_stay_floats(noises, least):
    noise = {f"l{at}": value for at, value in enumerate(noises)}
    trials = cast("Any", MadeUp(noise))
    full = trials.make("full", Plan(dict.fromkeys(noise, "static")), Settings())
    trials.judge(full)
    budget = budget_of(find_metric("sqnr"), math.inf, None, least)
    found = repair(trials, full, budget, known=Known(), gains={}, seconds=1e9)
    worst = sorted(noises, reverse=True)
    needed = next(
        count
        for count in range(len(worst) + 1)
        if sum(worst[count:]) <= 0 or -10 * math.log10(sum(worst[count:])) >= least
    )
    assert found.candidate is not None
    assert max(1, needed) == len(found.left)
    assert 1 == sum(point.kept for point in found.curve)
    assert [item.noise for item in found.sensitivity] == sorted(
        (item.noise for item in found.sensitivity), reverse=True
    )


def test_what_saves_little_time_goes_first():
    noise = {"slow": 1e-2, "fast": 1.1e-2, "tiny": 1e-6}
    trials = cast("Any", MadeUp(noise))
    full = trials.make("full", Plan(dict.fromkeys(noise, "static")), Settings())
    trials.judge(full)
    budget = budget_of(find_metric("sqnr"), math.inf, None, 19.0)
    gains = {"slow": 1e-6, "fast": 1e-3, "tiny": 1e-3}
    assert ("slow",) == repair(trials, full, budget, known=Known(), gains=gains, seconds=1e9).left


def test_nothing_is_asked_twice():
    trials = cast("Any", MadeUp({"a": 1e-2, "b": 1e-3}))
    known = Known()
    full = trials.make("full", Plan({"a": "static", "b": "static"}), Settings())
    first = known.sensitivity(trials, full, seconds=1e9)
    count = len(trials.made)
    assert first == known.sensitivity(trials, full, seconds=1e9)
    assert count == len(trials.made)


# -- judging ------------------------------------------------------------------------------------------------------------------------


def judged(errors, held_out, monkeypatch, labels=None):
    """The verdict on a model that errs by so much on each example, of which the first are held out."""
    reference = np.random.default_rng(0).normal(size=(len(errors), 8))
    found = reference + np.asarray(errors)[:, None]

    def outputs(model, batches, *, optimize, threads, first=None):
        shown = reference if model == "original" else found
        return [{"y": row[None]} for row in shown[:first]]

    monkeypatch.setattr(judge, "outputs_of", outputs)
    monkeypatch.setattr(judge, "keep_batches", lambda *_: "")
    known = [None] * len(errors) if labels is None else [np.array([label]) for label in labels]
    shown = [({"x": np.zeros((1, 1))}, label) for label in known]
    split = Split([], 4, shown[:held_out], beside=shown[held_out:])
    kinds = [find_metric("sqnr" if labels is None else "top1")]
    return Judge("original", split, kinds, Path()).verdict("made")


def test_examples_beside_the_few_that_are_held_out_make_a_verdict_worse_never_better(monkeypatch):
    good = judged([0.01] * 4, 4, monkeypatch)
    assert good.values["sqnr"] - 3 < good.cautious["sqnr"] < good.values["sqnr"]
    worse = judged([0.01] * 4 + [1.0] * 4, 4, monkeypatch)
    assert good.values == worse.values, "those that are told are of what is held out"
    assert worse.cautious["sqnr"] < 5
    better = judged([0.1] * 4 + [0.001] * 60, 4, monkeypatch)
    assert better.cautious["sqnr"] < better.values["sqnr"] < 25


def test_examples_that_the_original_gets_wrong_too_are_no_loss(monkeypatch):
    """All that are beside have a wrong label, and nothing has changed."""
    reference = np.random.default_rng(0).normal(size=(16, 8))
    labels = [*reference[:4].argmax(-1), *(reference[4:].argmax(-1) + 1) % 8]
    found = judged([0.0] * 16, 4, monkeypatch, labels)
    assert {"top1": 100.0} == found.values == found.cautious
