"""Puts one LSTM or GRU where a chain of spelled-out steps was.

``X`` [steps, batch, inputs] is the sequence itself where each step reads the next element of it (from its end: ``direction="reverse"``),
else a Concat of what the steps read. ONNX has the gates' weights transposed and one above the other; of its two biases one is enough,
except where a GRU multiplies the reset gate behind the product. A step whose result others read is an element of ``Y``. Touches weights.
Source: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array, Dim, DType, Node, Value, lower_bound
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.broadcasting import same_dim
from graphopt.transforms.operands import ints_operand, with_first_axis
from graphopt.transforms.strength.recurrent.chains import Chain, Step

__all__ = ["Plan", "pack", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there to be packed.

    Attributes:
        chain: the steps.
        batch: sequences at once.
        sequence: what the steps read one element after the other, with the axis; ``None`` if they read unlike tensors.
        axis: of the steps in it.
        is_reverse: whether they read it from its end.
        read: steps, but the last, whose hidden state others read, by number.
        moved: nodes before the last step that need such a state, in order.
    """

    chain: Chain
    batch: Dim
    sequence: Value | None
    axis: int
    is_reverse: bool
    read: tuple[int, ...]
    moved: tuple[Node, ...]


def plan_of(chain: Chain, root: Node, *, is_filled: bool) -> Plan | NoMatch:
    """How to pack a chain, or why it can't be.

    Args:
        chain: the steps.
        root: gives the hidden state of the last one.
        is_filled: whether a batch whose size is not known is taken to have an element: ONNX Runtime ends without one.
    """
    last = chain.last
    shape = last.cell.hidden.shape
    if shape is None or last.cell.hidden.dtype is not DType.FLOAT or shape[0] is None:
        return NoMatch("the hidden state is %s", last.cell.hidden.type)
    batch, width = shape[0], last.cell.gates[0].total.width
    if not is_filled and (lower_bound(batch) or 0) < 1:
        return NoMatch("a batch of size %s may be empty, which runtimes refuse", batch)
    for step in chain.steps:
        sizes = _sizes(step)
        if sizes is None or len(sizes) != 2 or not same_dim(sizes[0], batch) or sizes[1] != _inputs(last):
            return NoMatch("an input is %s, expected [%s, %s]", sizes, batch, _inputs(last))
    for state in (chain.steps[0].before, chain.steps[0].cell.state_before):
        if state is not None and not _fits(state, batch, width):
            return NoMatch("an initial state is %s, expected [%s, %s]", state.type, batch, width)
    nodes = chain.nodes
    kept = {step.cell.hidden for step in chain.steps} | ({last.cell.state} if last.cell.state else set())
    for node in nodes:
        if node.graph is not root.graph:
            return NoMatch("a step stands in several graphs")
        for value in node.outputs:
            if value not in kept and (value.is_graph_output or any(user not in nodes for user in value.users)):
                return NoMatch("%r has readers outside of the cell", value.name)
    read = tuple(
        number
        for number, step in enumerate(chain.steps[:-1])
        if step.cell.hidden.is_graph_output or any(user not in nodes for user in step.cell.hidden.users)
    )
    moved = _dependents(chain, root, nodes) if read or last.cell.state is not None else ()
    operands = [step.x.value for step in chain.steps]
    operands += [state for state in (chain.steps[0].before, chain.steps[0].cell.state_before) if state is not None]
    if any(value.producer in moved for value in operands if value.producer is not None):
        return NoMatch("an input needs the result of a step before")
    sequence, axis, is_reverse = _sequence(chain)
    return Plan(chain, batch, sequence, axis, is_reverse, read, tuple(moved))


def _inputs(step: Step) -> int:
    first, end = step.weights[0].rows
    return end - first


def _sizes(step: Step) -> tuple[Dim, ...] | None:
    shape = step.x.value.shape
    if shape is None or step.x.axis is None:
        return shape
    return (*shape[: step.x.axis], *shape[step.x.axis + 1 :])


def _fits(state: Value, batch: Dim, width: int) -> bool:
    """Whether an initial state has the shape of the hidden one, or is a constant that can be brought into it."""
    shape, array = state.shape, state.array()
    if array is not None:
        zero = not array.any()
        rows = (1, batch) if zero or isinstance(batch, int) else (batch,)
        return (
            array.ndim <= 2
            and (array.shape[-1:] in ((width,), (1,)) or not array.ndim)
            and (array.ndim < 2 or array.shape[0] in rows)
            and (zero or isinstance(batch, int))
        )
    return shape is not None and len(shape) == 2 and same_dim(shape[0], batch) and shape[1] == width


def _dependents(chain: Chain, root: Node, nodes: frozenset[Node]) -> Sequence[Node]:
    """Nodes before the root, of no step, that need a hidden state."""
    graph = root.graph
    assert graph is not None, "a node that is rewritten stands in a graph"
    known = {step.cell.hidden for step in chain.steps}
    known.update(step.cell.state for step in chain.steps if step.cell.state is not None)
    found: list[Node] = []
    for node in graph.nodes:
        if node is root:
            break
        if node not in nodes and any(value in known for value in _read_by(node)):
            found.append(node)
            known.update(node.outputs)
    return found


def _read_by(node: Node) -> Sequence[Value | None]:
    if not node.subgraphs:
        return node.inputs
    inner = [value for graph in node.subgraphs for item in graph.walk() for value in item.inputs]
    outputs = [value for graph in node.subgraphs for each in graph.walk_graphs() for value in each.outputs]
    return [*node.inputs, *inner, *outputs]


def _sequence(chain: Chain) -> tuple[Value | None, int, bool]:
    """The tensor whose elements all steps read, in order or from its end; no tensor if there is none."""
    first, count = chain.steps[0].x, len(chain.steps)
    places = [step.x.index for step in chain.steps]
    if any((step.x.value, step.x.axis) != (first.value, first.axis) for step in chain.steps):
        return None, 0, False
    shape = first.value.shape
    if first.axis is None or shape is None or len(shape) != 3 or shape[first.axis] != count:
        return None, 0, False
    if places == list(range(count)):
        return first.value, first.axis, False
    return (first.value, first.axis, True) if places == list(reversed(range(count))) else (None, 0, False)


def pack(plan: Plan, root: Node, rw: Rewriter) -> Value:
    """The last hidden state by one operator; the other results are replaced."""
    chain, last = plan.chain, plan.chain.last
    op, width = last.cell.op, last.cell.gates[0].total.width
    first = chain.steps[0]
    operands: list[Value | Array | None] = [
        _elements(plan, rw),
        _stacked([matrix.numbers().T for matrix in last.weights], last),
        _stacked([matrix.numbers().T for matrix in last.recurrent or ()], last),
        _biases(last),
        None,
        _initial(first.before, plan, width, rw),
    ]
    attributes: dict[str, object] = {"hidden_size": width}
    if op == "LSTM":
        operands.append(_initial(first.cell.state_before, plan, width, rw))
    elif last.cell.gates[-1].inner is not None:
        attributes["linear_before_reset"] = 1
    if plan.is_reverse:
        attributes["direction"] = "reverse"
    made = rw.new_node(op, operands, outputs=3 if op == "LSTM" else 2, attributes=attributes)
    rw.matched = [node for node in chain.nodes if node is not root]
    result = None if plan.read else squeezed(rw, made.outputs[1], 0)
    done: list[Node] = []
    state = last.cell.state
    if state is not None and (state.is_graph_output or any(user not in chain.nodes for user in state.users)):
        done += [state.producer] if state.producer is not None else []
        rw.replace(state, squeezed(rw, made.outputs[2], 0))
    if plan.read:
        result, dead = _give_states(plan, made, rw)
        done += dead
    for node in plan.moved:
        rw.graph.move_before(root, node)
    for node in done:
        rw.erase_if_unused(node)
    assert result is not None, "one of both gives it"
    return result


def _elements(plan: Plan, rw: Rewriter) -> Value:
    """[steps, batch, inputs]."""
    if plan.sequence is not None:
        return rw.new("Transpose", plan.sequence, perm=(1, 0, 2)) if plan.axis else plan.sequence
    parts: list[Value] = []
    for step in plan.chain.steps:
        x = step.x
        if x.axis is not None:
            parts.append(with_first_axis(rw, rw.new("Gather", x.value, np.array(x.index, np.int64), axis=x.axis)))
        else:
            parts.append(with_first_axis(rw, x.value))
    return rw.new("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def _stacked(matrices: Sequence[Array], step: Step) -> Array:
    """float32 [1, gates * hidden, columns]."""
    signs = [-1 if gate.is_negative else 1 for gate in step.cell.gates]
    return np.concatenate([sign * matrix for sign, matrix in zip(signs, matrices, strict=True)])[None].astype(
        np.float32
    )


def _biases(step: Step) -> Array | None:
    """float32 [1, 2 * gates * hidden], ``None`` if nothing is added."""
    gates = step.cell.gates
    own = [(-1 if gate.is_negative else 1) * gate.total.bias() for gate in gates]
    inner = [
        np.zeros_like(bias) if gate.inner is None else gate.inner.bias() for gate, bias in zip(gates, own, strict=True)
    ]
    found = np.concatenate([*own, *inner]).astype(np.float32)
    return found[None] if found.any() else None


def _initial(state: Value | None, plan: Plan, width: int, rw: Rewriter) -> Value | Array | None:
    """[1, batch, hidden], ``None`` for zeros."""
    array = None if state is None else state.array()
    if state is None or (array is not None and not array.any()):
        return None
    if array is not None and isinstance(plan.batch, int):
        return np.ascontiguousarray(np.broadcast_to(array, (plan.batch, width)))[None]
    return with_first_axis(rw, state)


def squeezed(rw: Rewriter, value: Value, axis: int) -> Value:
    """Without an axis of size 1, in the spelling of the graph's opset."""
    if (rw.graph.opset() or 1) >= 13:
        return rw.new("Squeeze", value, np.array([axis], np.int64))
    return rw.new("Squeeze", value, axes=(axis,))


def _give_states(plan: Plan, made: Node, rw: Rewriter) -> tuple[Value, list[Node]]:
    """Let others read hidden states of all steps, all at once where they are put side by side.

    Returns:
        The last state, and nodes that nobody may need any more.
    """
    steps = plan.chain.steps
    states = squeezed(rw, made.outputs[0], 1)
    hidden = [step.cell.hidden for step in steps]
    stacks = _stacks(hidden[::-1] if plan.is_reverse else hidden)
    done = {concat for concat, _axis in stacks}
    for concat, axis in stacks:
        rw.replace(concat.output, states if axis == 0 else rw.new("Transpose", states, perm=(1, 0, 2)))
    for number in plan.read:
        if hidden[number].is_graph_output or any(
            user not in plan.chain.nodes and not _is_done(user, done) for user in hidden[number].users
        ):
            rw.replace(hidden[number], _state(number, states, plan, rw))
    dead = [*done, *(state.producer for state in hidden if state.producer is not None)]
    return _state(len(steps) - 1, states, plan, rw), dead


def _state(number: int, states: Value, plan: Plan, rw: Rewriter) -> Value:
    """The hidden state behind a step."""
    place = len(plan.chain.steps) - 1 - number if plan.is_reverse else number
    return rw.new("Gather", states, np.array(place, np.int64), axis=0)


def _is_done(node: Node, done: Set[Node]) -> bool:
    """Whether a node only puts an axis into a state for Concat nodes that nobody reads any more."""
    return (
        node.op == "Unsqueeze" and not node.output.is_graph_output and all(user in done for user in node.output.users)
    )


def _stacks(hidden: Sequence[Value]) -> Sequence[tuple[Node, int]]:
    """Concat nodes that put all states side by side along a new axis, the first or the second."""
    firsts = [user for user in hidden[0].users if user.op == "Unsqueeze"]
    found: list[tuple[Node, int]] = []
    for concat in dict.fromkeys(reader for first in firsts for reader in first.output.users if reader.op == "Concat"):
        parts = [value.producer if value is not None else None for value in concat.inputs]
        places = {_new_axis(part, state) for part, state in zip(parts, hidden, strict=False)}
        axis = places.pop() if len(parts) == len(hidden) and len(places) == 1 else None
        if axis in (0, 1) and concat.int_attr("axis") == axis and not concat.has_references:
            found.append((concat, axis))
    return found


def _new_axis(node: Node | None, state: Value) -> int | None:
    """The axis that an Unsqueeze puts into a hidden state."""
    if node is None or node.op != "Unsqueeze" or node.inputs[0] is not state or node.has_references:
        return None
    axes = ints_operand(node, "axes", 1)
    return axes[0] + (3 if axes[0] < 0 else 0) if isinstance(axes, tuple) and len(axes) == 1 else None
