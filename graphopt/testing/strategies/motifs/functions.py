"""Model-local functions: bodies with attributes that refer to those of the call, called once or twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from onnx import AttributeProto, NodeProto, helper

from graphopt.ir import Array, DType
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.growth import grow
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["MOTIFS"]

_MOST = 2


def function(scope: Scope) -> None:
    """A new function and one or two calls of it."""
    choices, world = scope.choices, scope.world
    if scope.is_function or len(world.functions) > _MOST or world.opset < 8:
        raise RefusedError("no more functions")
    given = [
        scope.pick(_anything) or scope.input(draw_array(choices, DType.FLOAT, (2, 3)))
        for _ in range(choices.integer(1, 2))
    ]
    body = Scope(world, is_function=True, prefix="f")
    formal = [body.name() for _ in given]
    for name, outer in zip(formal, given, strict=True):
        if outer is None:
            raise RefusedError("nothing to call it with")
        body.define(name, scope.arrays[outer])
    grow(body, choices.integer(1, 3))
    attributes: dict[str, object] = {}
    if choices.chance(0.6):
        attributes = _refer(body)
        grow(body, choices.integer(0, 2))
    computed = [name for name in body.own if name not in formal]
    if not computed:
        raise RefusedError("the body computes nothing")
    outputs = list(dict.fromkeys(choices.of(computed[-3:]) for _ in range(choices.integer(1, 2))))
    name = f"Function{len(world.functions)}"
    nodes = [_referring(node, body) for node in body.nodes]
    imports = [helper.make_opsetid("", world.opset), helper.make_opsetid("local", 1)]
    world.functions[name] = helper.make_function(
        "local", name, formal, outputs, nodes, imports, attributes=list(attributes)
    )
    try:
        scope.node(name, given, outputs=len(outputs), domain="local", attributes=attributes)
    except RefusedError:
        del world.functions[name]
        raise
    if choices.chance(0.5):
        again = [scope.pick(partial(_is_of, body.dtype(value)), recent=0.2) for value in formal]
        scope.node(name, again, outputs=len(outputs), domain="local", attributes=attributes)


def _anything(array: Array) -> bool:
    return True


def _is_of(dtype: DType, array: Array) -> bool:
    return dtype_of(array) is dtype


def _refer(body: Scope) -> dict[str, object]:
    """Add nodes whose attributes will refer to those of the function; their values in the call."""
    choices = body.choices
    x = body.pick(lambda a: a.dtype.kind in "fi")
    if x is None:
        return {}
    rank = body.arrays[x].ndim
    op, attribute, values = choices.of(
        (
            ("LeakyRelu", "alpha", (0.0, 0.5)),
            ("Cast", "to", (1, 6, 7, 11)),
            ("Transpose", "perm", (list(range(rank))[::-1], list(range(rank)))),
            ("Flatten", "axis", (0, rank)),
            ("Constant", "value_float", (0.0, 1.0, 2.0)),
        )[: 5 if body.world.opset >= 12 else 4]
    )
    value = choices.of(values)
    for _ in range(choices.integer(1, 2)):
        x = body.one(op, [] if op == "Constant" else [x], **{attribute: value})
        made = body.nodes[-1]
        reference = AttributeProto(name=attribute, ref_attr_name="knob", type=made.attribute[0].type)
        body.references.append((x, reference))
    return {"knob": value}


def _referring(node: NodeProto, body: Scope) -> NodeProto:
    for output, reference in body.references:
        if output in node.output:
            del node.attribute[:]
            node.attribute.append(reference)
    return node


MOTIFS: list[tuple[Callable[[Scope], object], int]] = [(function, 3)]
