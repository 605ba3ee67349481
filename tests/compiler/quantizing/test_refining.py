"""What becomes of layers that stay in floats, and of what was chosen in the end, with made-up noise and times."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphopt.compiler.quantizing.budget import budget_of
from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.examples import Split
from graphopt.compiler.quantizing.finishing import finish
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.metrics import find_metric
from graphopt.compiler.quantizing.plan import Plan, Settings
from graphopt.compiler.quantizing.refining import refine
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.task import Improved, Task
from graphopt.runtime.paired import PairedTimes

ALL = frozenset({"static", "dynamic", "weights", "stored", "halved"})


class MadeUp:
    """Trials in which each layer makes noise and takes time by its form."""

    model = None
    calibration = "data"

    def __init__(self, noise, times, careful=1.0):
        self.noise, self.times, self.careful = noise, times, careful
        self.plans: list[Plan] = []

    def make(self, name, plan, settings, *, note=True, quick=False):
        self.plans.append(plan)
        made = SimpleNamespace(path=f"{len(self.plans)}.onnx", size=100, model=None)
        return Candidate(name, plan, settings, made=cast("Any", made))

    def judge(self, candidate, *, quick=False):
        total = sum(self.noise.get((name, form), 0.0) for name, form in candidate.plan.forms.items())
        total *= self.careful if candidate.settings.careful else 1.0
        candidate.values = candidate.cautious = {"sqnr": math.inf if not total else -10 * math.log10(total)}
        return candidate.values

    def measure(self, candidate, *, factor=1.0, drop=True):
        taken = sum(self.times.get(form, 1.0) for form in candidate.plan.forms.values()) / len(candidate.plan.forms)
        candidate.times = [PairedTimes((1.0,) * 9, (taken,) * 9)]

    def tell(self, text):
        pass


def task_of(trials: MadeUp, names: str, least: float = 20.0, registry: Any = ()) -> Task:
    layers = [Layer(name, "MatMul", 1, 0.1, 1000 * (at + 1), ALL) for at, name in enumerate(names)]
    budget = budget_of(find_metric("sqnr"), math.inf, None, least)
    return Task(cast("Any", trials), layers, QuantizeRequest(), budget, registry, cast("Any", None), has_data=True)


def chosen(trials: MadeUp, forms: dict[str, Any], left: tuple[str, ...] = ()) -> Found:
    best = trials.make("best", Plan(forms), Settings())
    trials.judge(best)
    trials.measure(best)
    return Found(candidate=best, left=left, candidates=[best])


def refined(trials: MadeUp, forms: dict[str, Any], left: tuple[str, ...] = ()) -> Found:
    found = chosen(trials, forms, left)
    refine(task_of(trials, "".join(forms)), found, Improved(cast("Any", trials), Settings(), []))
    return found


def forms_of(found: Found) -> dict[str, str]:
    assert found.candidate is not None
    return dict(found.candidate.plan.forms)


def test_weights_of_all_layers_of_floats_are_stored_where_that_is_accurate():
    found = refined(MadeUp({}, {"static": 0.5}), {"a": "static", "b": "float", "c": "float"})
    assert {"a": "static", "b": "stored", "c": "stored"} == forms_of(found)
    assert 2 == len(found.candidates)


def test_what_eight_bits_are_too_few_for_gets_sixteen():
    noise = {("d", "stored"): 0.5}
    found = refined(MadeUp(noise, {}), dict.fromkeys("abcdefgh", "float"))
    forms = forms_of(found)
    assert {"stored", "halved"} == set(forms.values())
    assert "halved" == forms["d"]
    assert ["stored"] * 4 == [forms[name] for name in "hgfe"], "the largest come first"


@pytest.mark.parametrize(("registry", "form"), [(("gptq-weights",), "stored"), ((), "halved")])
def test_weights_are_rounded_by_data_where_rounding_to_nearest_is_too_coarse(registry, form):
    trials = MadeUp({("b", "stored"): 0.5}, {"static": 0.5}, careful=0.01)
    found = chosen(trials, {"a": "static", "b": "float"})
    refine(task_of(trials, "ab", registry=registry), found, Improved(cast("Any", trials), Settings(), []))
    assert {"a": "static", "b": form} == forms_of(found)
    assert found.candidate is not None
    assert bool(registry) == found.candidate.settings.careful


def test_a_single_layer_gets_sixteen_bits_or_none():
    once = refined(MadeUp({("b", "stored"): 0.5}, {"static": 0.5}), {"a": "static", "b": "float"})
    assert {"a": "static", "b": "halved"} == forms_of(once)
    noise = {("b", "stored"): 0.5, ("b", "halved"): 0.5}
    assert {"a": "static", "b": "float"} == forms_of(refined(MadeUp(noise, {}), {"a": "static", "b": "float"}))


def test_weights_that_make_a_model_slower_are_not_stored():
    found = refined(MadeUp({}, {"static": 0.5, "stored": 1.5}), {"a": "static", "b": "float"})
    assert {"a": "static", "b": "float"} == forms_of(found)


def test_where_nothing_is_faster_weights_are_stored_all_the_same():
    trials = MadeUp({}, {})
    found = Found(reason="nothing is faster")
    refine(task_of(trials, "ab"), found, None)
    assert {"a": "stored", "b": "stored"} == forms_of(found)
    assert "nothing is faster" == found.reason


def test_a_layer_that_loses_too_much_gets_a_gentler_form_that_saves_time():
    noise = {("b", "static"): 1.0, ("c", "static"): 1.0, ("b", "weights"): 0.5, ("b", "dynamic"): 0.5}
    trials = MadeUp(noise, {"static": 0.5, "weights": 0.7, "dynamic": 0.6})
    found = refined(trials, {"a": "static", "b": "float", "c": "float"}, ("b", "c"))
    assert {"a": "static", "b": "stored", "c": "weights"} == forms_of(found)
    assert ("b",) == found.left


def test_a_gentler_form_that_takes_longer_is_none():
    trials = MadeUp({("b", "static"): 1.0}, {"static": 0.5, "weights": 1.2, "dynamic": 1.1})
    found = refined(trials, {"a": "static", "b": "float"}, ("b",))
    assert {"a": "static", "b": "stored"} == forms_of(found)


# -- the end ------------------------------------------------------------------------------------------------------------------------

HELD_OUT = Split([{}] * 8, 4, [({}, None)])


@pytest.mark.parametrize(("noise", "is_kept"), [(0.001, True), (0.0011, True), (0.005, False)])
def test_what_was_chosen_is_made_of_all_data_unless_that_is_worse(noise, is_kept):
    before, after = MadeUp({("a", "static"): 0.001}, {}), MadeUp({("a", "static"): noise}, {})
    found = chosen(before, {"a": "static"})
    first = found.candidate
    assert first is not None
    finish(task_of(before, "a"), found, HELD_OUT, lambda model: cast("Any", after))
    assert found.candidate is not None
    assert is_kept == (found.candidate.made is not first.made)
    assert first.values == found.candidate.values, "those of examples that nothing was made of"
    assert [found.candidate] == found.candidates


@pytest.mark.parametrize(
    ("forms", "split"), [({"a": "dynamic"}, HELD_OUT), ({"a": "static"}, Split([{}], 0, [({}, None)]))]
)
def test_what_looks_at_no_data_or_at_all_of_it_is_made_once(forms, split):
    trials = MadeUp({}, {})
    found = chosen(trials, forms)
    finish(task_of(trials, "a"), found, split, lambda model: pytest.fail("there is nothing to find out"))
    assert 1 == len(trials.plans)
