"""Layers that are left in floats, once more: in forms that lose less, and with their weights stored as integers.

A layer that loses too much in the fastest form may do in a slower one that is still faster than floats. What stays in floats is no reason
for a large file: weights of 8 or 16 bits that are multiplied by their scales are folded by ONNX Runtime when it loads the model, which then
computes by the same kernels as before. Both are tried on whole models, held to the budget and measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.plan import ACCURACY_PASSES, LayerForm, Plan
from graphopt.compiler.quantizing.task import Improved, Task

__all__ = ["refine"]

#: Forms for layers that lose too much in a faster one: the most accurate first.
_GENTLE: Final[tuple[LayerForm, ...]] = ("weights", "dynamic")
#: So many layers are tried by themselves.
_MOST_ALONE: Final = 6
#: So many models are made to find how many weights can have 8 bits.
_MOST_STORED: Final = 6
#: Another form has to make the whole model faster by so much.
_LEAST_GAIN: Final = 1.01
#: What computes the same as before is as fast, as measurements go, when it is no slower than this.
_AS_FAST: Final = 0.975


def refine(task: Task, found: Found, better: Improved | None) -> None:
    """Note a candidate that is better than the one that was found: faster, or smaller.

    Args:
        task: the search.
        found: what is known; its candidate may be ``None``.
        better: the trials that made it; those of the task for ``None``.
    """
    made_by = better or Improved(task.trials, task.settings, [])
    if found.candidate is not None and found.left:
        _gentle(task, found, made_by)
    _stored(task, found, made_by)


def _gentle(task: Task, found: Found, better: Improved) -> None:
    """Give layers that were left in floats other forms, all of them, or one after another."""
    best = found.candidate
    assert best is not None, "there is one where layers were left"
    forms = {layer.name: layer.forms for layer in task.layers}
    for form in _GENTLE:
        names = [name for name in found.left if form in forms[name] and best.plan.forms[name] == "float"]
        if not names:
            continue
        tried = _tried(task, better, best.plan.changed(names, form), f"{best.name}, others {form}")
        if tried is None and len(names) > 1:
            tried = _one_by_one(task, better, best, names, form)
        if tried is not None and _is_faster_by(better, tried, best, _LEAST_GAIN):
            best = found.candidate = tried
            found.candidates.append(tried)
            found.left = tuple(name for name in found.left if tried.plan.forms[name] == "float")


def _one_by_one(
    task: Task, better: Improved, best: Candidate, names: Sequence[str], form: LayerForm
) -> Candidate | None:
    """The layers that can have a form within the budget, the least sensitive ones first."""
    found: Candidate | None = None
    for name in reversed(names[:_MOST_ALONE]):
        plan = (found or best).plan.changed([name], form)
        found = _tried(task, better, plan, f"{best.name}, some {form}") or found
    return found


def _stored(task: Task, found: Found, better: Improved) -> None:
    """Store the weights of layers of floats: as many as the budget allows with 8 bits, the others with 16.

    Where not all can have 8 bits by rounding to nearest, GPTQ rounds them.
    """
    best = found.candidate
    plan = Plan({layer.name: "float" for layer in task.layers}) if best is None else best.plan
    names = _by_gain(task, plan)
    name = "weights stored" if best is None else f"{best.name}, others stored"
    made, low, high = None, -1, len(names) + 1  # so many with 8 bits are good enough, and so many are not
    for turn in range(_MOST_STORED if names else 0):
        count = len(names) if turn == 0 else 0 if turn == 1 else (low + high) // 2
        stored = plan.changed(names[:count], "stored").changed(names[count:], "halved")
        tried = _tried(task, better, stored, name)
        if tried is None and turn == 0 and _can_be_careful(task):
            better = replace(better, settings=replace(better.settings, careful=True))
            tried = _tried(task, better, stored, name)
        if tried is None:
            high = count
        else:
            low, made = count, tried
        if high - low <= 1 or high <= 0:
            break
    if made is None:
        return
    found.candidates.append(made)
    if best is None:
        better.trials.measure(made, drop=False)
        if made.times and min(item.ratio.speedup for item in made.times) >= _AS_FAST:
            found.candidate = made
            task.adopt(better, found)
    elif _is_faster_by(better, made, best, _AS_FAST):
        found.candidate = made


def _can_be_careful(task: Task) -> bool:
    """Whether weights may be rounded by what their layers read."""
    is_there = ACCURACY_PASSES["gptq"] in task.registry
    return is_there and task.has_data and task.trials.calibration is not None and task.request.accuracy_passes() is None


def _by_gain(task: Task, plan: Plan) -> list[str]:
    """Layers of floats whose weights can be stored: those first that save most room for the noise that they made as integers."""
    layers = [item for item in task.layers if "stored" in item.forms and plan.forms.get(item.name) == "float"]
    noise = {item.name: task.known.noise(item.name) for item in layers}
    known = [value for value in noise.values() if value is not None]
    least = min(known, default=1.0)
    return [
        item.name for item in sorted(layers, key=lambda item: -item.weight_bytes / (noise[item.name] or least or 1.0))
    ]


def _tried(task: Task, better: Improved, plan: Plan, name: str) -> Candidate | None:
    """A plan that was made and keeps within the budget, ``None`` for one that does not."""
    made = better.trials.make(name, plan, better.settings, note=False, quick=True)
    better.trials.judge(made)
    return made if made.values and task.holds(made) else None


def _is_faster_by(better: Improved, made: Candidate, best: Candidate, factor: float) -> bool:
    """Whether a candidate is as many times as fast as the best, measured as that was."""
    better.trials.measure(made, factor=2.0, drop=False)
    if not made.times or any(item.dropped for item in made.times):
        return False
    before = best.speedup
    return before is None or (made.speedup or 0.0) >= before * factor
