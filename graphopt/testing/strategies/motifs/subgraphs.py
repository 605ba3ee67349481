"""Subgraphs: If, Loop and Scan that capture values, and tensors that go through sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from onnx import ValueInfoProto, helper

from graphopt.ir import Array, DType
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.growth import grow
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["MOTIFS"]


def _anything(array: Array) -> bool:
    return True


def _visible(scope: Scope, fits: Callable[[Array], bool] = _anything) -> str:
    found = scope.pick(fits)
    if found is None:
        found = scope.input(draw_array(scope.choices, DType.FLOAT, (2, 3)))
    if found is None or not fits(scope.arrays[found]):
        raise RefusedError("no value fits")
    return found


def _body_value(scope: Scope, dtype: DType, *, of: Sequence[str] | None = None) -> str:
    """A value of the graph itself of an element type; a captured one gets a name by an Identity."""
    choices = scope.choices
    own = [name for name in of or scope.own if name not in scope.initializers or choices.chance(0.3)]
    fits = [name for name in own if scope.dtype(name) is dtype]
    if fits and choices.chance(0.9):
        return choices.of(fits[::-1])
    outer = scope.pick(lambda a: dtype_of(a) is dtype)
    if outer is not None:
        return scope.one("Identity", [outer])
    other = scope.pick(lambda a: a.dtype != object)
    if other is None or dtype is DType.STRING:
        raise RefusedError(f"nothing of {dtype}")
    return scope.one("Cast", [other], to=int(dtype))


def _computed(branch: Scope) -> str:
    """A value that a branch computes, else a copy of a captured one."""
    own = [name for name in branch.own if name not in branch.initializers or branch.choices.chance(0.3)]
    return branch.choices.of(own[-4:]) if own else branch.one("Identity", [_visible(branch)])


def _infos(scope: Scope, names: Sequence[str]) -> list[ValueInfoProto]:
    return [scope.info(name, shaped=False) for name in names]


def _condition(scope: Scope) -> str:
    choices = scope.choices
    if choices.chance(0.4):
        return scope.constant(np.array(choices.chance(0.5)))
    found = scope.pick(lambda a: a.dtype == np.bool_ and a.size == 1)
    if found is not None:
        return found
    size = scope.one("Size", [_visible(scope)])
    if scope.world.opset < 9:
        return scope.one("Cast", [size], to=int(DType.BOOL))
    return scope.one("Greater", [size, scope.constant(np.array(choices.of((0, 3)), np.int64))])


def if_(scope: Scope) -> None:
    """If with one or two outputs; names in the branches are the same."""
    choices = scope.choices
    condition = _condition(scope)
    branches = [scope.child("t"), scope.child("t")]
    for branch in branches:
        grow(branch, choices.integer(0, 3))
        if choices.chance(0.12) and branch.parent is not None and branch.parent.parent is None:
            if_(branch)
    names = [[_computed(branches[0])], []]
    if choices.chance(0.3) and (second := _computed(branches[0])) not in names[0]:
        names[0].append(second)
    for first in names[0]:
        found = _body_value(branches[1], branches[0].dtype(first))
        if found in names[1]:
            raise RefusedError("one value for two outputs")
        names[1].append(found)
    graphs = [branch.graph(f"branch{index}", [], _infos(branch, names[index])) for index, branch in enumerate(branches)]
    scope.node(
        "If", [condition], outputs=len(names[0]), attributes={"then_branch": graphs[0], "else_branch": graphs[1]}
    )


def loop(scope: Scope) -> None:
    """Loop of a few trips with up to two carried values and a scan output."""
    choices = scope.choices
    count = choices.of((1, 2, 0, 3))
    trips = scope.constant(np.array(count, np.int64).reshape(() if choices.chance(0.7) else (1,)))
    start = scope.constant(np.array(choices.chance(0.85))) if choices.chance(0.5) else None
    carried = [_visible(scope) for _ in range(choices.integer(0, 2))]
    body = scope.child("l")
    number, go = body.name(), body.name()
    inputs = [number, go, *(body.name() for _ in carried)]
    for name, array in zip(
        inputs, [np.array(0, np.int64), np.array(True), *(scope.arrays[n] for n in carried)], strict=True
    ):
        body.define(name, array)
    shaped = choices.chance(0.4)
    infos = [body.info(name, shaped=index < 2 or shaped) for index, name in enumerate(inputs)]
    grow(body, choices.integer(1, 4))
    own = [name for name in body.own if name not in inputs]
    outputs = [body.one("Identity", [go]) if choices.chance(0.6) else body.constant(np.array(choices.chance(0.6)))]
    outputs += [name if choices.chance(0.1) else _body_value(body, body.dtype(name), of=own) for name in inputs[2:]]
    if (
        count and start is None and choices.chance(0.6)
    ):  # what a loop that never runs gives depends on what ONNX Runtime knows
        outputs.append(_computed(body))
    if len(set(outputs)) < len(outputs) or len(outputs) < 2:
        raise RefusedError("no value of its own for each output")
    graph = body.graph("body", infos, _infos(body, outputs))
    scope.node("Loop", [trips, start, *carried], outputs=len(outputs) - 1, attributes={"body": graph})


def scan(scope: Scope) -> None:
    """Scan over the first axis, with a state now and then."""
    choices = scope.choices
    if scope.world.opset < 9:
        raise RefusedError("another form of Scan")
    x = _visible(scope, lambda a: a.ndim > 0 and a.shape[0] > 0 and a.dtype != object)
    states = [_visible(scope, lambda a: a.dtype.kind in "fi")] if choices.chance(0.5) else []
    body = scope.child("s")
    inputs = [body.name() for _ in [*states, x]]
    for name, array in zip(inputs, [*(scope.arrays[n] for n in states), np.asarray(scope.arrays[x][0])], strict=True):
        body.define(name, array)
    infos = [body.info(name, shaped=choices.chance(0.4)) for name in inputs]
    grow(body, choices.integer(1, 3))
    own = [name for name in body.own if name not in inputs]
    outputs = [_body_value(body, body.dtype(name), of=own) for name in inputs[: len(states)]]
    outputs.append(_computed(body))
    if len(set(outputs)) < len(outputs) or set(outputs) & set(inputs):  # ONNX Runtime gives back garbage for these
        raise RefusedError("no value of its own for each output")
    graph = body.graph("body", infos, _infos(body, outputs))
    scope.node("Scan", [*states, x], outputs=len(outputs), attributes={"body": graph, "num_scan_inputs": 1})


def sequence(scope: Scope) -> None:
    """Tensors through a sequence and back."""
    choices, opset = scope.choices, scope.world.opset
    if opset < 11:
        raise RefusedError("no sequences yet")
    x = _visible(scope)
    made, out = scope.name(), scope.name()
    index = scope.constant(np.array(choices.of((0, -1)), np.int64))
    nodes = [helper.make_node("SequenceConstruct", [x, x], [made])]
    if choices.chance(0.4):
        copy = scope.name()
        nodes.append(helper.make_node("Identity" if opset >= 14 else "SequenceErase", [made], [copy]))
        made = copy
    if choices.chance(0.6):
        nodes.append(helper.make_node("SequenceAt", [made, index], [out]))
    else:
        nodes.append(helper.make_node("ConcatFromSequence", [made], [out], axis=0))
    scope.add(nodes)


MOTIFS: list[tuple[Callable[[Scope], object], int]] = [(if_, 4), (loop, 3), (scan, 2), (sequence, 1)]
