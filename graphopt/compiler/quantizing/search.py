"""The search for the best form: what is faster than floats on this machine, and of that what is accurate enough.

Uniform plans (all static, all dynamic, and so on) are made and measured beside the model of floats first. ONNX Runtime's profiler then says
what each layer took in each of them, and a plan with the best form of each layer joins in. Of those that are faster, in order of speed, the
first is made more accurate and, where the budget does not hold, the worst layers go back to floats; what is left is measured once more,
and kept only if it is still faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.layer_times import best_forms, layer_times
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import LayerForm, Plan, first_form, uniform
from graphopt.compiler.quantizing.refining import refine
from graphopt.compiler.quantizing.settling import settle
from graphopt.compiler.quantizing.task import Task

__all__ = ["best_form"]

#: Part of the time that is stated for measuring, for a profile.
_PROFILE: Final = 0.025
#: How many times as fast a layer has to be in another form: the smaller one first, for what little gains is lost where forms change.
_GAINS: Final = {"by layer": 1.05, "by layer, large gains": 1.6}
#: A product with so few rows is bound by reading its weight.
_FEW_ROWS: Final = 8
_DYNAMIC_FIRST: Final = frozenset({"Gemm", "LSTM", "MatMul"})


def best_form(task: Task) -> Found:
    """The fastest that is accurate enough, and faster than floats; where nothing is, floats whose weights take less room.

    Raises:
        QuantizationError: if a budget is asked for, and what is faster than floats can't meet it.
    """
    trials = task.trials
    found = Found(candidates=trials.all)
    for name, plan in _first_plans(task).items():
        trials.measure(trials.make(name, plan, task.settings, quick=True))
    _time_layers(task, found)
    for name, gain in _GAINS.items():
        mixed = best_forms(task.layers, found.times, gain=gain)
        if task.is_more_than_tables(mixed) and mixed not in [item.plan for item in trials.all]:
            tried = trials.make(name, mixed, task.settings, quick=True)
            trials.measure(tried)
            if tried.is_faster:
                break
    viable = sorted((item for item in trials.all if item.is_faster), key=lambda item: -(item.speedup or 0.0))
    if viable:
        refine(task, found, settle(task, found, viable))
        return found
    made = [item for item in trials.all if item.made is not None]
    found.reason = (
        "nothing that was tried is faster than floats on this machine"
        if made
        else f"nothing could be made: {trials.all[0].reason}"
        if trials.all
        else "no layer can be quantized without data"
    )
    refine(task, found, None)
    return found


def _first_plans(task: Task) -> dict[str, Plan]:
    """Plans that are uniform, or nearly so; none of them twice."""
    layers = task.layers
    plans: dict[str, Plan] = {}
    if task.has_data:
        plans["static"] = uniform(layers, "static")
    plans["dynamic"] = uniform(layers, "dynamic")
    if task.has_data:
        both: dict[str, LayerForm] = {}
        for layer in layers:
            order: tuple[LayerForm, ...] = ("dynamic", "static") if layer.op in _DYNAMIC_FIRST else ("static",)
            both[layer.name] = first_form(layer, order)
        plans["static and dynamic"] = Plan(both)
    if _is_bound_by_weights(layers):
        plans["weights"] = uniform(layers, "weights")
    different: dict[str, Plan] = {}
    for name, plan in plans.items():
        if task.is_more_than_tables(plan) and plan not in different.values():
            different[name] = plan
    return different


def _is_bound_by_weights(layers: Sequence[Layer]) -> bool:
    """Whether more than half of the work is in products of so few rows that reading their weights is what takes time."""
    few = [layer for layer in layers if "weights" in layer.forms and layer.flops <= _FEW_ROWS * layer.weight_bytes / 2]
    return bool(few) and sum(layer.share for layer in few) > 0.5 * sum(layer.share for layer in layers)


def _time_layers(task: Task, found: Found) -> None:
    """What each layer takes in each form that was made."""
    watch, times = task.trials.stopwatch, found.times
    made = [item for item in task.trials.all if item.made is not None]
    if watch is None or not made:
        return

    def timed(path: str) -> dict[str, float]:
        task.trials.tell("profiling")
        return layer_times(
            path,
            task.layers,
            watch.feeds[-1],  # type: ignore[arg-type]  # feeds, as they were given
            threads=watch.threads,
            seconds=task.request.seconds * _PROFILE,
            environment=task.trials.workshop.environment,
        )

    times["float"] = timed(watch.baseline)
    for item in made:
        assert item.made is not None, "those that were made"
        for name, seconds in timed(item.made.path).items():
            form = item.plan.forms[name]
            if form != "float":
                known = times.setdefault(form, {})
                known[name] = min(seconds, known.get(name, seconds))
