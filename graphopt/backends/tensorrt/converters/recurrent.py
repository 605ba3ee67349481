"""RNN, GRU and LSTM as loops over the time axis, a direction after the other. Source: the equations in ONNX's operator documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, floats_only
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Loop, Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["recurrent"]

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_KNOWN = {"sigmoid": "SIGMOID", "tanh": "TANH", "relu": "RELU", "softsign": "SOFTSIGN"}
Activation = Callable[[Tensor], Tensor]


def _plain(node: Node) -> str | None:
    for name in node.attr("activations") or ():  # type: ignore[union-attr]  # a list of names
        if str(name).lower() not in _KNOWN:
            return f"the activation {name!r} in {node.op_type}"
    return None


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction.

    Attributes:
        recurrent: weights of the state, [gates * hidden, hidden].
        bias: of the state, [gates * hidden].
        peepholes: of an LSTM, [3 * hidden], or ``None``.
        activations: functions of gates, of the candidate, of the output.
    """

    recurrent: Tensor
    bias: Tensor | None
    peepholes: Tensor | None
    activations: tuple[Activation, ...]


@lower("RNN", "GRU", "LSTM", supports=all_of(floats_only, _plain))
def recurrent(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """One loop for each direction; the product with the inputs is taken for all steps at once."""
    x = e.input(node, 0)
    if node.int_attr("layout", 0):
        x = e.transpose(x, [1, 0, 2])
    kind = node.str_attr("direction") or "forward"
    count = 2 if kind == "bidirectional" else 1
    outputs, states, cells = [], [], []
    for place in range(count):
        back = kind == "reverse" or place == 1
        sequence, last, cell = _direction(e, node, x, place, count, back=back)
        outputs.append(e.unsqueeze(sequence, [1]))
        states.append(e.unsqueeze(last, [0]))
        if cell is not None:
            cells.append(e.unsqueeze(cell, [0]))
    found = [e.concat(outputs, 1), e.concat(states, 0), *([e.concat(cells, 0)] if cells else [])]
    if node.int_attr("layout", 0):
        found[0] = e.transpose(found[0], [2, 0, 1, 3])
        found[1:] = [e.transpose(item, [1, 0, 2]) for item in found[1:]]
    return found[: len(node.outputs)]


def _direction(
    e: Emitter, node: Node, x: Tensor, place: int, count: int, *, back: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    gates, hidden = _GATES[node.op_type], node.int_attr("hidden_size")
    lengths = e.optional(node, 4)
    turned_round = back and lengths is not None  # each sequence from its own end
    if turned_round and lengths is not None:
        x, back = reversed_sequences(e, x, lengths), False
    plain, turned = (e.api.enum("MatrixOperation", name) for name in ("NONE", "TRANSPOSE"))
    inputs = e.out(e.network.add_matrix_multiply(x, plain, e.unsqueeze(_part(e, node, 1, place), [0]), turned))
    first, second = None, None
    if node.input_at(3) is not None:
        shift = e.unsqueeze(_part(e, node, 3, place), [0])
        first, second = (_columns(e, shift, at * gates * hidden, gates * hidden) for at in (0, 1))
        inputs = e.elementwise(inputs, first, "SUM")
    peeks = node.op_type == "LSTM" and node.input_at(7) is not None
    direction = _Direction(
        _part(e, node, 2, place),
        second,
        e.unsqueeze(_part(e, node, 7, place), [0]) if peeks else None,
        _activations(e, node, place, count),
    )
    made = e.network.add_loop()
    steps = e.reshape(e.sizes(x, [0]), [])
    e.check(made.add_trip_limit(e.cast(steps, DType.INT32), e.api.enum("TripLimit", "COUNT")), settled=False)
    step = e.out(made.add_iterator(inputs, 0, back))
    goes_on = None if lengths is None else _goes_on(e, made, lengths)
    state = made.add_recurrence(_initial(e, node, 5, x, place, hidden))
    cell = made.add_recurrence(_initial(e, node, 6, x, place, hidden)) if node.op_type == "LSTM" else None
    if cell is not None:
        new, memory = _lstm(e, node, direction, step, state.get_output(0), cell.get_output(0), hidden)
        cell.set_input(1, memory if goes_on is None else e.select(goes_on, memory, cell.get_output(0)))
    else:
        cellular = _gru if node.op_type == "GRU" else _rnn
        new = cellular(e, node, direction, step, state.get_output(0), hidden)
    state.set_input(1, new if goes_on is None else e.select(goes_on, new, state.get_output(0)))
    if goes_on is not None:
        new = e.select(goes_on, new, e.scalar_like(0, new))
    mode, last = e.api.enum("LoopOutput", "REVERSE" if back else "CONCATENATE"), e.api.enum("LoopOutput", "LAST_VALUE")
    collected = made.add_loop_output(new, mode, 0)
    collected.set_input(1, steps)
    final = e.out(made.add_loop_output(state.get_output(0), last))
    memory_ = None if cell is None else e.out(made.add_loop_output(cell.get_output(0), last))
    sequence = e.out(collected)
    if turned_round and lengths is not None:
        sequence = reversed_sequences(e, sequence, lengths)
    return sequence, final, memory_


def _part(e: Emitter, node: Node, at: int, place: int) -> Tensor:
    """What an input has for a direction."""
    array = e.array(node, at)
    if array is not None:
        return e.constant(np.ascontiguousarray(array[place]))
    return e.gather(e.input(node, at), e.constant(np.array(place, np.int32)), 0)


def _columns(e: Emitter, row: Tensor, start: int, size: int) -> Tensor:
    return e.out(e.network.add_slice(row, [0, start], [1, size], [1, 1]))


def reversed_sequences(e: Emitter, x: Tensor, lengths: Tensor) -> Tensor:
    """Sequences [steps, batch, ...] from their own ends on; what is behind stays where it is."""
    layer = e.check(e.network.add_reverse_sequence(x, e.cast(lengths, DType.INT64)))
    layer.batch_axis, layer.sequence_axis = 1, 0
    return e.out(layer)


def _goes_on(e: Emitter, made: Loop, lengths: Tensor) -> Tensor:
    """Whether a sequence has the step at hand, [batch, 1]."""
    number = made.add_recurrence(e.constant(np.array(0, np.int64)))
    step = number.get_output(0)
    number.set_input(1, e.elementwise(step, e.constant(np.array(1, np.int64)), "SUM"))
    return e.elementwise(e.reshape(step, [1, 1]), e.unsqueeze(e.cast(lengths, DType.INT64), [1]), "LESS")


def _initial(e: Emitter, node: Node, at: int, x: Tensor, place: int, hidden: int) -> Tensor:
    """The state before the first step, [batch, hidden]."""
    given = e.optional(node, at)
    if given is None:
        zero = e.constant(np.zeros((1, 1), np.float32).astype(e.api.ir_dtype(x.dtype).numpy), e.api.ir_dtype(x.dtype))
        if x.shape[1] != -1:
            return e.constant(np.zeros((x.shape[1], hidden), e.api.ir_dtype(x.dtype).numpy), e.api.ir_dtype(x.dtype))
        return e.expand(zero, e.concat([e.sizes(x, [1]), e.constant(np.array([hidden], np.int64))]))
    if node.int_attr("layout", 0):
        given = e.transpose(given, [1, 0, 2])
    picked = e.gather(given, e.constant(np.array(place, np.int32)), 0)
    return picked


def _activations(e: Emitter, node: Node, place: int, count: int) -> tuple[Activation, ...]:
    names = [str(name) for name in node.attr("activations") or ()]  # type: ignore[union-attr]  # a list of names
    each = len(_DEFAULTS[node.op_type])
    chosen = names[place * each : (place + 1) * each] if len(names) >= each * count else list(_DEFAULTS[node.op_type])
    kinds = [_KNOWN[name.lower()] for name in chosen]

    def function(kind: str) -> Activation:
        return lambda tensor: e.activation(tensor, kind)

    return tuple(function(kind) for kind in kinds)


def _gate(e: Emitter, tensor: Tensor, place: int, hidden: int) -> Tensor:
    """One gate's part of [batch, gates * hidden]."""
    if tensor.shape[0] != -1:
        return e.out(e.network.add_slice(tensor, [0, place * hidden], [tensor.shape[0], hidden], [1, 1]))
    layer = e.check(e.network.add_slice(tensor, [0, place * hidden], [1, hidden], [1, 1]))
    layer.set_input(2, e.concat([e.sizes(tensor, [0]), e.constant(np.array([hidden], np.int64))]))
    return e.out(layer)


def _recur(e: Emitter, d: _Direction, state: Tensor) -> Tensor:
    plain, turned = (e.api.enum("MatrixOperation", name) for name in ("NONE", "TRANSPOSE"))
    found = e.out(e.network.add_matrix_multiply(state, plain, d.recurrent, turned))
    return found if d.bias is None else e.elementwise(found, d.bias, "SUM")


def _clipped(e: Emitter, node: Node, tensor: Tensor) -> Tensor:
    if "clip" not in node.attributes:
        return tensor
    bound = node.float_attr("clip")
    return e.elementwise(
        e.elementwise(tensor, e.scalar_like(bound, tensor), "MIN"), e.scalar_like(-bound, tensor), "MAX"
    )


def _rnn(e: Emitter, node: Node, d: _Direction, step: Tensor, state: Tensor, hidden: int) -> Tensor:
    del hidden
    return d.activations[0](_clipped(e, node, e.elementwise(step, _recur(e, d, state), "SUM")))


def _gru(e: Emitter, node: Node, d: _Direction, step: Tensor, state: Tensor, hidden: int) -> Tensor:
    """Gates z, r, h."""
    f, g = d.activations
    recurred = _recur(e, d, state)
    z, r = (
        f(_clipped(e, node, e.elementwise(_gate(e, step, at, hidden), _gate(e, recurred, at, hidden), "SUM")))
        for at in (0, 1)
    )
    if node.int_attr("linear_before_reset", 0):
        inner = e.elementwise(r, _gate(e, recurred, 2, hidden), "PROD")
    else:
        again = _recur(e, d, e.elementwise(r, state, "PROD"))
        inner = _gate(e, again, 2, hidden)
    h = g(_clipped(e, node, e.elementwise(_gate(e, step, 2, hidden), inner, "SUM")))
    kept = e.elementwise(z, e.elementwise(state, h, "SUB"), "PROD")
    return e.elementwise(h, kept, "SUM")


def _lstm(
    e: Emitter, node: Node, d: _Direction, step: Tensor, state: Tensor, cell: Tensor, hidden: int
) -> tuple[Tensor, Tensor]:
    """Gates i, o, f, c; peepholes i, o, f."""
    f, g, h = d.activations
    total = e.elementwise(step, _recur(e, d, state), "SUM")
    i, o, forget, c = (_gate(e, total, at, hidden) for at in range(4))
    if d.peepholes is not None:
        peeks = [e.out(e.network.add_slice(d.peepholes, [0, at * hidden], [1, hidden], [1, 1])) for at in range(3)]
        i = e.elementwise(i, e.elementwise(peeks[0], cell, "PROD"), "SUM")
        forget = e.elementwise(forget, e.elementwise(peeks[2], cell, "PROD"), "SUM")
    opened = f(_clipped(e, node, i))
    if node.int_attr("input_forget", 0):
        kept = e.elementwise(e.scalar_like(1, opened), opened, "SUB")
    else:
        kept = f(_clipped(e, node, forget))
    memory = e.elementwise(
        e.elementwise(kept, cell, "PROD"), e.elementwise(opened, g(_clipped(e, node, c)), "PROD"), "SUM"
    )
    if d.peepholes is not None:
        o = e.elementwise(o, e.elementwise(peeks[1], memory, "PROD"), "SUM")
    return e.elementwise(f(_clipped(e, node, o)), h(memory), "PROD"), memory
