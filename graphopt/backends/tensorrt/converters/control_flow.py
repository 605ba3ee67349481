"""If, Loop and Scan, by TensorRT's conditionals and loops.

Values of outer graphs come into a conditional through layers of its own. A loop stops after a number of rounds, when a condition fails, or
both. What a round adds to a scan output is one slice of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from graphopt.backends.tensorrt.converters.operands import rank_of
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.lowering import lower_graph
from graphopt.backends.tensorrt.protocols import IfConditional, Layer, Loop, Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Graph, Node, TensorType, Value

__all__ = ["conditional", "loop", "scan"]


def _branches_agree(node: Node) -> str | None:
    graphs = dict(_named(node))
    for mine, other in zip(graphs["then_branch"].outputs, graphs["else_branch"].outputs, strict=True):
        for value in (mine, other):
            if value.type is not None and not isinstance(value.type, TensorType):
                return "a branch gives what is no tensor"
        ranks = (rank_of(mine), rank_of(other))
        if None not in ranks and ranks[0] != ranks[1]:
            return f"the branches give {mine.name!r} of {ranks[0]} axes and {other.name!r} of {ranks[1]}"
    return None


def _named(node: Node) -> Iterator[tuple[str, Graph]]:
    for name, attribute in node.attributes.items():
        if isinstance(attribute.value, Graph):
            yield name, attribute.value


@lower("If", supports=_branches_agree)
def conditional(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Both branches, of which one is computed."""
    graphs = dict(_named(node))
    made = e.network.add_if_conditional()
    e.check(made.set_condition(e.reshape(e.input(node, 0), [])), settled=False)
    found = []
    for name in ("then_branch", "else_branch"):
        with _inputs_of(e, made, graphs[name]):
            lower_graph(e, graphs[name])
            found.append([_inner(e, value) for value in graphs[name].outputs])
    return [e.out(made.add_output(yes, no)) for yes, no in zip(*found, strict=True)]


@contextmanager
def _inputs_of(e: Emitter, made: IfConditional, branch: Graph) -> Iterator[None]:
    """Inside, values of outer graphs are those that the conditional lets in."""
    inner = {value for graph in branch.walk_graphs() for value in graph.values()}
    outer = [
        value
        for node in branch.walk()
        for value in node.inputs
        if value is not None and value not in inner and not value.is_constant
    ]
    outer += [value for value in branch.outputs if value not in inner and not value.is_constant]
    before = {value: e.tensors[value] for value in dict.fromkeys(outer)}
    saved = dict(e.tensors)
    for value, tensor in before.items():
        e.tensors[value] = e.out(made.add_input(tensor))
    try:
        yield
    finally:
        e.tensors.clear()
        e.tensors.update(saved)


def _inner(e: Emitter, value: Value) -> Tensor:
    """What a branch gives, by a layer of the branch."""
    return e.out(e.network.add_identity(e.tensor(value)))


def _tensors_only(node: Node) -> str | None:
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.type is not None and not isinstance(value.type, TensorType):
            return f"{value.name!r} is no tensor"
    return None


def _keeps_shapes(node: Node) -> str | None:
    """A loop's values have one shape in all rounds."""
    body = node.subgraphs[0]
    skipped = 2 if node.op_type == "Loop" else 0
    kept = len(node.inputs) - (2 if node.op_type == "Loop" else node.int_attr("num_scan_inputs"))
    given = body.outputs[1 : 1 + kept] if node.op_type == "Loop" else body.outputs[:kept]
    for start, after in zip(node.inputs[skipped : skipped + kept], given, strict=True):
        before, later = (None if value is None else value.shape for value in (start, after))
        if before is None or later is None:
            continue
        sizes = zip(before, later, strict=False)
        if len(before) != len(later) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in sizes):
            return f"a round makes {list(later)} of a value that is {list(before)} at first"
    return _tensors_only(node)


@lower("Loop", supports=_keeps_shapes)
def loop(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A loop of as many rounds as are stated, while its condition holds."""
    body = node.subgraphs[0]
    carried = len(node.inputs) - 2
    scanned = len(body.outputs) - 1 - carried
    trips = e.optional(node, 0)
    going_on = _source(body.outputs[0])
    always = going_on is body.inputs[1] or (
        going_on.const is not None and going_on.is_constant and bool(going_on.const.numpy())
    )
    first = e.array(node, 1)
    while_ = not (always and (node.input_at(1) is None or (first is not None and bool(first))))
    if while_ and scanned:
        raise e.fail("a Loop that collects outputs for as long as a condition holds")
    if trips is None and not while_:
        raise e.fail("a Loop without end")
    made = e.network.add_loop()
    count = None if trips is None else e.reshape(e.cast(trips, DType.INT64), [])
    if count is not None:
        e.check(made.add_trip_limit(e.cast(count, DType.INT32), e.api.enum("TripLimit", "COUNT")), settled=False)
    number = made.add_recurrence(e.constant(np.array(0, np.int64)))
    e.tensors[body.inputs[0]] = e.reshape(number.get_output(0), _shape_of(body.inputs[0]))
    number.set_input(1, e.elementwise(number.get_output(0), e.constant(np.array(1, np.int64)), "SUM"))
    condition: Layer | None = None
    if while_:
        start = e.optional(node, 1)
        condition = made.add_recurrence(e.constant(np.array(True)) if start is None else e.reshape(start, []))
        e.check(made.add_trip_limit(condition.get_output(0), e.api.enum("TripLimit", "WHILE")), settled=False)
        e.tensors[body.inputs[1]] = e.reshape(condition.get_output(0), _shape_of(body.inputs[1]))
    else:
        e.tensors[body.inputs[1]] = e.constant(np.array(True).reshape(_shape_of(body.inputs[1])))
    states = [made.add_recurrence(e.input(node, place + 2)) for place in range(carried)]
    for value, state in zip(body.inputs[2:], states, strict=True):
        e.tensors[value] = state.get_output(0)
    lower_graph(e, body)
    if condition is not None:
        condition.set_input(1, e.reshape(e.tensor(body.outputs[0]), []))
    return _results(e, made, states, body.outputs[1:], count, axes=[0] * scanned, reverse=[False] * scanned)


def _source(value: Value) -> Value:
    """What a value is a copy of."""
    while value.producer is not None and value.producer.op == "Identity" and value.producer.inputs[0] is not None:
        value = value.producer.inputs[0]
    return value


def _shape_of(value: Value) -> list[int]:
    return [1] if rank_of(value) == 1 else []


def _results(
    e: Emitter,
    made: Loop,
    states: Sequence[Layer],
    outputs: Sequence[Value],
    count: Tensor | None,
    *,
    axes: Sequence[int],
    reverse: Sequence[bool],
) -> list[Tensor]:
    """Last states, then what rounds have collected."""
    found = []
    last, straight, turned = (e.api.enum("LoopOutput", name) for name in ("LAST_VALUE", "CONCATENATE", "REVERSE"))
    for value, state in zip(outputs, states, strict=False):
        state.set_input(1, e.out(e.network.add_identity(e.tensor(value))))
        found.append(e.out(made.add_loop_output(state.get_output(0), last)))
    for value, axis, back in zip(outputs[len(states) :], axes, reverse, strict=True):
        assert count is not None, "a loop that collects has a number of rounds"
        tensor = e.out(e.network.add_identity(e.tensor(value)))
        layer = made.add_loop_output(tensor, turned if back else straight, axis % (e.rank(tensor) + 1))
        layer.set_input(1, count)
        found.append(e.out(layer))
    return found


@lower("Scan", supports=_keeps_shapes)
def scan(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A loop of one round for each slice of the scanned inputs."""
    body, scanned = node.subgraphs[0], node.int_attr("num_scan_inputs")
    if (node.opset or 9) < 9:
        raise e.fail("a Scan of opset 8")
    kept = len(node.inputs) - scanned
    given = [e.input(node, kept + place) for place in range(scanned)]
    in_axes = node.ints_attr("scan_input_axes") or (0,) * scanned
    in_back = node.ints_attr("scan_input_directions") or (0,) * scanned
    collected = len(body.outputs) - kept
    axis = in_axes[0] % e.rank(given[0])
    count = e.reshape(e.sizes(given[0], [axis]), [])
    made = e.network.add_loop()
    e.check(made.add_trip_limit(e.cast(count, DType.INT32), e.api.enum("TripLimit", "COUNT")), settled=False)
    states = [made.add_recurrence(e.input(node, place)) for place in range(kept)]
    for value, state in zip(body.inputs, states, strict=False):
        e.tensors[value] = state.get_output(0)
    for value, tensor, where, back in zip(body.inputs[kept:], given, in_axes, in_back, strict=True):
        e.tensors[value] = e.out(made.add_iterator(tensor, where % e.rank(tensor), bool(back)))
    lower_graph(e, body)
    return _results(
        e,
        made,
        states,
        body.outputs,
        count,
        axes=node.ints_attr("scan_output_axes") or (0,) * collected,
        reverse=[bool(item) for item in node.ints_attr("scan_output_directions") or (0,) * collected],
    )
