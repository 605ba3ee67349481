"""Loops and conditionals, computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from graphopt.ir import Array
from graphopt.testing.tensorrt.reading import Item
from graphopt.testing.tensorrt.scheduling import Plan

if TYPE_CHECKING:
    from graphopt.testing.tensorrt.evaluator import Evaluation

__all__ = ["run_control"]

#: Rounds after which a loop without a number of rounds is taken to have no end.
_MOST_ROUNDS: Final = 100_000


def run_control(made: Evaluation, plan: Plan) -> None:
    """Compute a loop or conditional."""
    (_loop if plan.kind == "loop" else _conditional)(made, plan)


def _of(plan: Plan, kind: str) -> list[Item]:
    return [item for item in plan.borders if item.kind == kind]


def _value(made: Evaluation, item: Item, place: int) -> Array:
    name = item.inputs[place]
    assert name is not None, f"{item!r}: input {place} is not set"
    return made.values[name]


def _conditional(made: Evaluation, plan: Plan) -> None:
    """Both branches are computed, whatever of them can be; the outputs are those of the branch that is chosen."""
    [condition] = _of(plan, "CONDITION")
    chosen = bool(_value(made, condition, 0))
    for item in _of(plan, "CONDITIONAL_INPUT"):
        made.keep(item, (_value(made, item, 0),))
    needed = {item.inputs[0 if chosen else 1] for item in _of(plan, "CONDITIONAL_OUTPUT")}
    made.run(_needed(plan.items, {name for name in needed if name}))
    for item in _of(plan, "CONDITIONAL_OUTPUT"):
        made.keep(item, (_value(made, item, 0 if chosen else 1),))


def _needed(items: list[Item | Plan], wanted: set[str]) -> list[Item | Plan]:
    """Those of some layers that others need, in order."""
    found: list[Item | Plan] = []
    for item in reversed(items):
        gives = item.gives if isinstance(item, Plan) else set(item.outputs)
        if gives & wanted:
            wanted |= item.needs if isinstance(item, Plan) else {name for name in item.inputs if name}
            found.append(item)
    return found[::-1]


def _loop(made: Evaluation, plan: Plan) -> None:
    """Rounds until the number of them is done or the condition fails, which is looked at before each."""
    recurrences, iterators, outputs = (_of(plan, kind) for kind in ("RECURRENCE", "ITERATOR", "LOOP_OUTPUT"))
    limits = {str(item.layer.kind).rpartition(".")[2]: item for item in _of(plan, "TRIP_LIMIT")}
    most = int(_value(made, limits["COUNT"], 0)) if "COUNT" in limits else _MOST_ROUNDS
    kinds = {item.outputs[0]: str(item.layer.kind).rpartition(".")[2] for item in outputs}
    collected: dict[str, list[Array]] = {item.outputs[0]: [] for item in outputs}
    for item in recurrences:
        made.keep(item, (_value(made, item, 0),))
    constants = [item for item in plan.items if not isinstance(item, Plan) and item.kind == "CONSTANT"]
    made.run(constants)
    rounds = 0
    while rounds < most:
        for item in iterators:
            made.keep(item, (_slice(_value(made, item, 0), item, rounds),))
        made.run(plan.items)
        if "WHILE" in limits and not bool(_value(made, limits["WHILE"], 0)):
            break
        for item in outputs:
            if kinds[item.outputs[0]] != "LAST_VALUE":
                collected[item.outputs[0]].append(_value(made, item, 0))
        for item, array in [(item, _value(made, item, 1)) for item in recurrences]:
            made.values[item.outputs[0]] = array
        rounds += 1
    for item in outputs:
        kind = kinds[item.outputs[0]]
        if kind == "LAST_VALUE":
            made.keep(item, (_value(made, item, 0),))
            continue
        parts = collected[item.outputs[0]]
        parts = parts[::-1] if kind == "REVERSE" else parts
        axis = int(item.layer.axis)
        if parts:
            made.keep(item, (np.stack(parts, axis),))
        else:
            tensor = item.layer.get_output(0)
            shape = [0 if place == axis else max(size, 0) for place, size in enumerate(tensor.shape)]
            made.keep(
                item,
                (np.zeros(shape, made.values[item.inputs[0]].dtype if item.inputs[0] in made.values else np.float32),),
            )


def _slice(array: Array, item: Item, number: int) -> Array:
    axis = int(item.layer.axis)
    place = array.shape[axis] - 1 - number if item.layer.reverse else number
    return np.asarray(np.take(array, place, axis))
