"""A form that somebody asks for: made as it is, without a choice by measuring."""

from __future__ import annotations

from typing import Final

from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.plan import Plan, uniform
from graphopt.compiler.quantizing.task import Task
from graphopt.errors import QuantizationError

__all__ = ["TOLD", "stated_form"]

#: Part of the time of a measurement where nothing is decided by it: it is only told.
TOLD: Final = 0.25


def stated_form(task: Task) -> Found:
    """The form that is asked for, with the worst layers in floats where a budget is asked for too.

    Raises:
        QuantizationError: if it can't be made, or the budget can't be met.
    """
    request, found = task.request, Found(candidates=task.trials.all)
    plan = _plan(task)
    better = task.improved(plan)
    task.adopt(better, found)
    trials, settings = better.trials, better.settings
    made = trials.make(request.form, plan, settings, note=trials is not task.trials, quick=True)
    if trials is task.trials:
        task.trials.all.append(made)
    if made.made is None:
        raise QuantizationError(made.reason)
    if not trials.judge(made):
        raise QuantizationError(f"the quantized model does not run: {made.reason}")
    found.candidate, found.candidates = made, [made]
    if task.budget.stated and not task.holds(made):
        fixed = task.repaired(trials, made, found)
        found.note(fixed)
        if fixed.candidate is None or not fixed.candidate.plan.quantized:
            raise QuantizationError(task.unmet(made, fixed))
        found.candidate = fixed.candidate
        found.candidates.append(fixed.candidate)
    trials.measure(found.candidate, factor=TOLD, drop=False)
    return found


def _plan(task: Task) -> Plan:
    request, layers = task.request, task.layers
    if request.form in ("float16", "bfloat16"):
        return Plan({layer.name: "float" for layer in layers}, request.form)
    plan = uniform(layers, request.layer_form)
    if request.form != "float" and not plan.quantized:
        reasons = dict.fromkeys(layer.reason for layer in layers if layer.reason)
        why = "; ".join(list(reasons)[:2]) or "the target has no kernel for its layers"
        raise QuantizationError(f"no layer can be made {request.form}: {why}; choose another form, or --form auto")
    return plan
