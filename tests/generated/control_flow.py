"""Generated subgraphs: If, Loop and Scan that capture values, and calls of functions with attributes that their bodies refer to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, ValueInfoProto, helper

from graphopt.ir import Array
from tests.generated.numbers import dtype_number
from tests.generated.scope import Scope
from tests.generated.straight import grow

__all__ = ["MOVES"]


def _anything(array: Array) -> bool:
    return True


def _body_value(scope: Scope, number: int, *, of: list[str] | None = None) -> str | None:
    """A value of the graph itself of an element type; a captured one gets a name by an Identity."""
    own = [name for name in of or scope.own if name not in scope.initializers or scope.world.chance(0.3)]
    fits = [name for name in own if scope.dtype(name) == number]
    if fits and scope.world.chance(0.9):
        return fits[-1] if scope.world.chance(0.7) else scope.world.rng.choice(fits)
    outer = scope.pick(lambda a: dtype_number(a) == number)
    if outer is None:
        other = scope.pick(lambda a: a.dtype != object)
        return None if other is None or number == TensorProto.STRING else scope.one("Cast", [other], to=number)
    return scope.one("Identity", [outer])


def _infos(scope: Scope, names: list[str]) -> list[ValueInfoProto]:
    return [scope.info(name, shaped=False) for name in names]


def _condition(scope: Scope) -> str | None:
    rng = scope.world.rng
    if rng.random() < 0.4:
        return scope.constant(np.array(rng.random() < 0.5))
    found = scope.pick(lambda a: a.dtype == np.bool_ and a.size == 1)
    if found is not None:
        return found
    x = scope.pick(lambda a: a.dtype == np.float32 and a.ndim > 0 and a.size > 0)
    if x is None:
        return None
    total = scope.one("Size", [x])
    return (
        None if total is None else scope.one("Greater", [total, scope.constant(np.array(rng.choice((0, 3)), np.int64))])
    )


def if_(scope: Scope) -> object:
    """If with one or two outputs; names in the branches are the same."""
    world = scope.world
    condition = _condition(scope)
    if condition is None:
        return None
    branches = [scope.child("t"), scope.child("t")]
    for branch in branches:
        grow(branch, world.rng.randint(0, 4), nested=world.chance(0.15))
    first = _pick_output(branches[0])
    if first is None:
        return None
    numbers = [branches[0].dtype(first)]
    names = [[first], []]
    if world.chance(0.3) and (second := _pick_output(branches[0])) is not None and second != first:
        names[0].append(second)
        numbers.append(branches[0].dtype(second))
    for number in numbers:
        found = _body_value(branches[1], number)
        if found is None or found in names[1]:
            return None
        names[1].append(found)
    graphs = [branch.graph(f"branch{index}", [], _infos(branch, names[index])) for index, branch in enumerate(branches)]
    return scope.node("If", [condition], outputs=len(numbers), then_branch=graphs[0], else_branch=graphs[1])


def _pick_output(branch: Scope) -> str | None:
    """A value that a branch computes, else a copy of a captured one."""
    own = [name for name in branch.own if name not in branch.initializers or branch.world.chance(0.3)]
    if own:
        return branch.world.rng.choice(own[-4:])
    outer = branch.pick(_anything)
    return None if outer is None else branch.one("Identity", [outer])


def loop(scope: Scope) -> object:
    """Loop of a few trips with up to two carried values and a scan output."""
    rng = scope.world.rng
    trips = (
        scope.constant(np.array(rng.choice((0, 1, 1, 2, 3)), np.int64).reshape(rng.choice(((), (1,)))))
        if rng.random() < 0.7
        else None
    )
    if trips is None and scope.world.opset >= 12:
        number = scope.pick(lambda a: a.dtype == np.int64 and a.ndim == 0)
        trips = (
            scope.one("Min", [number, scope.constant(np.array(3, np.int64))]) if number else None
        )  # other inputs may say more
    if trips is None:
        return None
    start = scope.constant(np.array(rng.random() < 0.85)) if rng.random() < 0.5 else None
    runs = trips in scope.initializers and int(scope.arrays[trips].reshape(())) > 0 and start is None
    carried = [name for name in (scope.pick(_anything) for _ in range(rng.randint(0, 2))) if name is not None]
    body = scope.child("l")
    count, go = body.name(), body.name()
    inputs = [count, go, *[body.name() for _ in carried]]
    arrays = [np.array(0, np.int64), np.array(True), *[scope.arrays[name] for name in carried]]
    for name, array in zip(inputs, arrays, strict=True):
        body.arrays[name] = array
        body.own.append(name)
    shaped = rng.random() < 0.4
    infos = [body.info(name, shaped=True) for name in inputs[:2]] + [
        body.info(name, shaped=shaped) for name in inputs[2:]
    ]
    inside = set(inputs)
    grow(body, rng.randint(1, 4), nested=False)
    own = [name for name in body.own if name not in inside] or None
    verdict = body.one("Identity", [go]) if rng.random() < 0.6 else body.constant(np.array(rng.random() < 0.6))
    outputs = [verdict]
    outputs += [name if rng.random() < 0.1 else _body_value(body, body.dtype(name), of=own) for name in inputs[2:]]
    if runs and rng.random() < 0.6:  # what a loop that never runs gives depends on what ONNX Runtime knows of shapes
        outputs.append(_pick_output(body))
    named = [name for name in outputs if name is not None]
    if len(named) < len(outputs) or len(set(named)) < len(named):
        return None
    graph = body.graph("body", infos, _infos(body, named))
    return (
        scope.node("Loop", [trips, start, *carried], outputs=max(1, len(named) - 1), body=graph)
        if len(named) > 1
        else None
    )


def scan(scope: Scope) -> object:
    """Scan over the first axis, with a state now and then."""
    world, rng = scope.world, scope.world.rng
    x = scope.pick(lambda a: a.ndim > 0 and a.shape[0] > 0 and a.dtype != object)
    if x is None or world.opset < 9:
        return None
    states = [
        name
        for name in (scope.pick(lambda a: a.dtype.kind in "fi") for _ in range(rng.randint(0, 1)))
        if name is not None
    ]
    body = scope.child("s")
    inputs = [body.name() for _ in [*states, x]]
    arrays = [*[scope.arrays[name] for name in states], scope.arrays[x][0]]
    for name, array in zip(inputs, arrays, strict=True):
        body.arrays[name] = np.asarray(array)
        body.own.append(name)
    infos = [body.info(name, shaped=rng.random() < 0.4) for name in inputs]
    grow(body, rng.randint(1, 3), nested=False)
    computed = [name for name in body.own if name not in inputs]
    outputs = [_body_value(body, body.dtype(name), of=computed) for name in inputs[: len(states)]]
    outputs.append(_pick_output(body))
    named = [
        name for name in outputs if name is not None and name not in inputs
    ]  # ONNX Runtime gives back garbage for these
    if len(named) < len(outputs) or len(set(named)) < len(named):
        return None
    return scope.node(
        "Scan", [*states, x], outputs=len(named), body=body.graph("body", infos, _infos(body, named)), num_scan_inputs=1
    )


# -- functions ----------------------------------------------------------------------------------------------------------------------


def function(scope: Scope) -> object:
    """A new function and one or two calls of it."""
    world, rng = scope.world, scope.world.rng
    if scope.is_function or len(world.functions) > 2 or world.opset < 8:
        return None
    given = [name for name in (scope.pick(_anything) for _ in range(rng.randint(1, 2))) if name is not None]
    body = Scope(world, is_function=True, prefix="f")
    formal = [body.name() for _ in given]
    for name, outer in zip(formal, given, strict=True):
        body.arrays[name] = scope.arrays[outer]
        body.own.append(name)
    grow(body, rng.randint(1, 3), nested=world.chance(0.2))
    attributes: dict[str, object] = {}
    if rng.random() < 0.6:
        attributes = _refer(body)
        grow(body, rng.randint(0, 2), nested=False)
    computed = [name for name in body.own if name not in formal]
    if not computed:
        return None
    outputs = list(dict.fromkeys(rng.choice(computed[-3:]) for _ in range(rng.randint(1, 2))))
    name = f"Function{len(world.functions)}"
    nodes = [_referring(node, body) for node in body.nodes]
    imports = [helper.make_opsetid("", world.opset), helper.make_opsetid("local", 1)]
    world.functions[name] = helper.make_function(
        "local", name, formal, outputs, nodes, imports, attributes=list(attributes)
    )
    found = scope.node(name, given, outputs=len(outputs), domain="local", **attributes)
    if found is None:
        del world.functions[name]
        return None
    if rng.random() < 0.5:
        other = [scope.pick(lambda a, n=value: dtype_number(a) == scope.dtype(n), recent=0.2) for value in given]  # type: ignore[misc]
        scope.node(name, other, outputs=len(outputs), domain="local", **attributes)
    return found


def _refer(body: Scope) -> dict[str, object]:
    """Add nodes whose attributes will refer to those of the function; their values in the call."""
    rng = body.world.rng
    x = body.pick(lambda a: a.dtype.kind in "fi")
    if x is None:
        return {}
    choice = rng.randrange(5 if body.world.opset >= 12 else 4)
    if choice == 2 and not body.arrays[x].ndim:
        return {}
    value: object
    if choice == 0:
        op, attribute, value = "LeakyRelu", "alpha", rng.choice((0.0, 0.5))
    elif choice == 1:
        op, attribute, value = "Cast", "to", rng.choice((1, 6, 7, 11))
    elif choice == 2:
        op, attribute, value = "Transpose", "perm", rng.sample(range(body.arrays[x].ndim), body.arrays[x].ndim)
    elif choice == 3:
        op, attribute, value = "Flatten", "axis", rng.randint(0, body.arrays[x].ndim)
    else:
        op, attribute, value = "Constant", "value_float", rng.choice((0.0, 1.0, 2.0))
    for _ in range(rng.randint(1, 2)):
        found = body.one(op, [] if op == "Constant" else [x], **{attribute: value})
        if found is None:
            return {}
        made = body.nodes[-1]
        if made.output[0] == found:
            reference = AttributeProto(name=attribute, ref_attr_name="knob", type=made.attribute[0].type)
            body.references.append((found, reference))
        if op == "Constant":
            body.one("Mul", [found, x])
            return {"knob": value}
        x = found
    return {"knob": value}


def _referring(node: NodeProto, body: Scope) -> NodeProto:
    for output, reference in body.references:
        if output in node.output:
            del node.attribute[:]
            node.attribute.append(reference)
    return node


def sequence(scope: Scope) -> object:
    """Tensors through a sequence and back."""
    rng = scope.world.rng
    if scope.world.opset < 11:
        return None
    x = scope.pick(_anything)
    if x is None:
        return None
    made = scope.name()
    place = rng.choice((0, -1))
    index = scope.constant(np.array(place, np.int64))
    out = scope.name()
    nodes = [helper.make_node("SequenceConstruct", [x, x], [made])]
    if rng.random() < 0.4:
        copy = scope.name()
        nodes.append(
            helper.make_node("Identity", [made], [copy])
            if scope.world.opset >= 14
            else helper.make_node("SequenceErase", [made], [copy])
        )
        made = copy
    nodes.append(
        helper.make_node("SequenceAt", [made, index], [out])
        if rng.random() < 0.6
        else helper.make_node("ConcatFromSequence", [made], [out], axis=0)
    )
    found = scope.world.run(nodes, {x: scope.arrays[x], index: scope.arrays[index]}, [out])
    if found is None:
        return None
    scope.nodes.extend(nodes)
    scope.arrays[out] = found[0]
    scope.own.append(out)
    return out


MOVES: dict[Callable[[Scope], object], int] = {if_: 4, loop: 3, scan: 1, function: 2, sequence: 1}
