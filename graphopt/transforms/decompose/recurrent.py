"""Spells out recurrent layers step by step, for targets that lack them: the inverse of ``fuse-recurrent-cells``.

``LSTM``, ``GRU`` and ``RNN`` over few steps, in either direction or both, with constant weights. The products of the input are computed for
all steps at once, ``x @ W + b``; each step adds ``h @ R``. States that are absent are zeros, and add nothing to the first step. Touches
weights. Numerics: re-associates. Source: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html, onnx__RNN.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from graphopt.ir import Array, DType, Node, Value
from graphopt.rewriting import NoMatch, Replacement, Rewriter, Rule
from graphopt.transforms.decompose.spelling import DecomposePass, Spelling, SpellOut

__all__ = ["DecomposeRecurrent", "SpellOutRecurrent"]

#: Gates of the operators, and the activations that they have by default.
_ACTIVATIONS: Final = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
_KNOWN: Final = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softsign": "Softsign", "softplus": "Softplus"}
_DIRECTIONS: Final = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a layer.

    Attributes:
        weights: [inputs, gates * hidden].
        recurrent: [hidden, gates * hidden].
        bias: [gates * hidden], of the input.
        recurrent_bias: [gates * hidden], of the state.
        peepholes: [3 * hidden], ``None`` without.
        activations: operators.
        is_reverse: whether it goes from the end.
    """

    weights: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Array
    peepholes: Array | None
    activations: tuple[str, ...]
    is_reverse: bool


@dataclass(frozen=True)
class SpellOutRecurrent(SpellOut):
    """LSTM(x, w, r) -> Split(Gather(x @ w + b) + h @ r), gates and states for each step, GRU and RNN likewise.

    Attributes:
        max_steps: longer sequences stay.
    """

    name: ClassVar[str] = "spell-out-recurrent"
    roots: ClassVar[tuple[str, ...]] = ("LSTM", "GRU", "RNN")
    min_opset: ClassVar[int] = 7
    dtypes: ClassVar[frozenset[DType]] = frozenset({DType.FLOAT, DType.DOUBLE, DType.FLOAT16})
    max_steps: int = 16

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """All outputs."""
        x = node.input_at(0)
        dtype, shape = (None, None) if x is None else (x.dtype, x.shape)
        if x is None or dtype is None or dtype not in self.dtypes or (rw.graph.opset() or 0) < self.min_opset:
            return NoMatch("the element type is %s, or the opset older than %d", dtype, self.min_opset)
        steps = shape[0] if shape is not None and len(shape) == 3 else None
        if not isinstance(steps, int) or not 1 <= steps <= self.max_steps:
            return NoMatch("it has %s steps, expected 1 to %d", steps, self.max_steps)
        if node.input_at(4) is not None or node.attr("layout", 0) != 0 or node.int_attr("input_forget", 0):
            return NoMatch("sequences have lengths of their own, the batch is first, or gates are coupled")
        directions = _read(node)
        if isinstance(directions, NoMatch):
            return directions
        make = Spelling(rw, dtype)
        found = [
            _Unrolled(make, node, direction, place, steps, len(directions)).run(x)
            for place, direction in enumerate(directions)
        ]
        hidden = [states for states, _ in found]
        results = [_every(make, hidden, directions), _last(make, [states[-1] for states in hidden])]
        if node.op == "LSTM":
            results.append(_last(make, [cell for _, cell in found if cell is not None]))
        return results[: len(node.outputs)]


def _read(node: Node) -> tuple[_Direction, ...] | NoMatch:
    """Constants and attributes by direction."""
    arrays = [None if (value := node.input_at(place)) is None else value.array() for place in (1, 2, 3, 7)]
    weights, recurrent, bias, peepholes = arrays
    absent = [node.input_at(place) is None for place in (1, 2, 3, 7)]
    if (
        weights is None
        or recurrent is None
        or any(array is None and not gone for array, gone in zip(arrays, absent, strict=True))
    ):
        return NoMatch("weights are not constant")
    if node.attributes.keys() & {"clip", "activation_alpha", "activation_beta"}:
        return NoMatch("gates are clipped, or activations have parameters")
    ways = _DIRECTIONS.get(node.str_attr("direction", "forward"))
    stated = node.attributes.get("activations")
    count, gates, hidden = len(_ACTIVATIONS[node.op]), _GATES[node.op], recurrent.shape[-1]
    names = stated.value if stated is not None and isinstance(stated.value, tuple) else _ACTIVATIONS[node.op] * 2
    if ways is None or len(names) < count * len(ways) or weights.ndim != 3 or recurrent.ndim != 3:
        return NoMatch("direction or activations are not known")
    operators = [_KNOWN.get(str(name).lower(), "") for name in names]
    if not all(operators[: count * len(ways)]) or not np.isfinite(recurrent.astype(np.float64)).all():
        return NoMatch("an activation is not known, or a weight not finite")
    if weights.shape[:2] != (len(ways), gates * hidden) or recurrent.shape[:2] != (len(ways), gates * hidden):
        return NoMatch("weights are %s and %s", weights.shape, recurrent.shape)
    zeros = np.zeros((len(ways), 2 * gates * hidden), weights.dtype)
    both = zeros if bias is None else bias
    return tuple(
        _Direction(
            np.ascontiguousarray(weights[place].T),
            np.ascontiguousarray(recurrent[place].T),
            both[place, : gates * hidden],
            both[place, gates * hidden :],
            None if peepholes is None else peepholes[place],
            tuple(operators[count * place : count * (place + 1)]),
            is_reverse,
        )
        for place, is_reverse in enumerate(ways)
    )


class _Unrolled:
    """Makes the steps of one direction."""

    def __init__(
        self, make: Spelling, node: Node, direction: _Direction, place: int, steps: int, directions: int
    ) -> None:
        self.make, self.node, self.direction = make, node, direction
        self.place, self.steps, self.directions = place, steps, directions
        self.width = direction.recurrent.shape[0]
        self.opset = make.rw.graph.opset() or 0
        self.is_behind = node.op == "GRU" and bool(node.int_attr("linear_before_reset", 0))

    def run(self, x: Value) -> tuple[list[Value], Value | None]:
        """The hidden states, first to last of what is read, and the last cell state."""
        make, direction = self.make, self.direction
        bias = direction.bias.astype(np.float64) + direction.recurrent_bias.astype(np.float64)
        if self.node.op == "GRU":  # the last gate's of the state is added where the state is
            bias[2 * self.width :] = direction.bias[2 * self.width :]
        products = make.of("MatMul", x, direction.weights)
        if bias.any():
            products = make.of("Add", products, bias.astype(make.dtype.numpy))
        hidden, cell = self._initial(5), self._initial(6) if self.node.op == "LSTM" else None
        states: list[Value] = []
        for step in range(self.steps):
            index = self.steps - 1 - step if direction.is_reverse else step
            own = make.of("Gather", products, np.array(index, np.int64), axis=0)
            match self.node.op:
                case "LSTM":
                    hidden, cell = self._lstm(own, hidden, cell)
                case "GRU":
                    hidden = self._gru(own, hidden)
                case _:
                    hidden = self._act(0, own if hidden is None else make.of("Add", own, self._product(hidden)))
            states.append(hidden)
        return states, cell

    def _initial(self, position: int) -> Value | None:
        """[batch, hidden] of one direction, ``None`` for zeros."""
        value = self.node.input_at(position)
        if value is None:
            return None
        return self.make.of("Gather", value, np.array(self.place, np.int64), axis=0)

    def _product(self, hidden: Value, gates: slice = slice(None)) -> Value:
        columns = slice((gates.start or 0) * self.width, None if gates.stop is None else gates.stop * self.width)
        return self.make.of("MatMul", hidden, np.ascontiguousarray(self.direction.recurrent[:, columns]))

    def _act(self, place: int, value: Value) -> Value:
        return self.make.of(self.direction.activations[place], value)

    def _parts(self, value: Value, count: int) -> list[Value]:
        rw = self.make.rw
        if self.opset >= 13:
            sizes = np.full(count, self.width, np.int64)
            return list(rw.new_node("Split", [value, sizes], outputs=count, attributes={"axis": 1}).outputs)
        attributes: dict[str, object] = {"axis": 1, "split": (self.width,) * count}
        return list(rw.new_node("Split", [value], outputs=count, attributes=attributes).outputs)

    def _lstm(self, own: Value, hidden: Value | None, cell: Value | None) -> tuple[Value, Value]:
        make, peepholes = self.make, self.direction.peepholes
        total = own if hidden is None else make.of("Add", own, self._product(hidden))
        entry, out, forget, candidate = self._parts(total, 4)
        places = {} if peepholes is None else dict(zip("iof", np.split(peepholes, 3), strict=True))

        def looking(gate: Value, which: str, at: Value | None) -> Value:
            return gate if at is None or not places else make.of("Add", gate, make.of("Mul", at, places[which]))

        new = make.of("Mul", self._act(0, looking(entry, "i", cell)), self._act(1, candidate))
        if cell is not None:
            new = make.of("Add", make.of("Mul", self._act(0, looking(forget, "f", cell)), cell), new)
        return make.of("Mul", self._act(0, looking(out, "o", new)), self._act(2, new)), new

    def _gru(self, own: Value, hidden: Value | None) -> Value:
        make, width = self.make, self.width
        bias = self.direction.recurrent_bias[2 * width :]
        update, reset, candidate = self._parts(own, 3)
        if hidden is not None and self.is_behind:
            first, second, inner = self._parts(self._product(hidden), 3)
            update, reset = make.of("Add", update, first), make.of("Add", reset, second)
            inner = make.of("Add", inner, bias) if bias.any() else inner
        elif hidden is not None:
            first, second = self._parts(self._product(hidden, slice(0, 2)), 2)
            update, reset = make.of("Add", update, first), make.of("Add", reset, second)
        update, reset = self._act(0, update), self._act(0, reset)
        if self.is_behind and hidden is not None:
            candidate = make.of("Add", candidate, make.of("Mul", reset, inner))
        elif self.is_behind and bias.any():
            candidate = make.of("Add", candidate, make.of("Mul", reset, bias))
        elif not self.is_behind:
            candidate = make.of("Add", candidate, bias) if bias.any() else candidate
            if hidden is not None:
                again = self._product(make.of("Mul", reset, hidden), slice(2, 3))
                candidate = make.of("Add", candidate, again)
        kept = make.of("Mul", make.of("Sub", 1.0, update), self._act(1, candidate))
        return kept if hidden is None else make.of("Add", kept, make.of("Mul", update, hidden))


def _wide(make: Spelling, value: Value, axes: tuple[int, ...]) -> Value:
    if (make.rw.graph.opset() or 0) >= 13:
        return make.of("Unsqueeze", value, np.array(axes, np.int64))
    return make.of("Unsqueeze", value, axes=axes)


def _joined(make: Spelling, values: list[Value], axis: int) -> Value:
    return values[0] if len(values) == 1 else make.of("Concat", *values, axis=axis)


def _every(make: Spelling, hidden: list[list[Value]], directions: tuple[_Direction, ...]) -> Value:
    """[steps, directions, batch, hidden]."""
    ordered = [states[::-1] if way.is_reverse else states for states, way in zip(hidden, directions, strict=True)]
    steps = [_joined(make, [_wide(make, state, (0, 1)) for state in at], 1) for at in zip(*ordered, strict=True)]
    return _joined(make, steps, 0)


def _last(make: Spelling, states: list[Value]) -> Value:
    """[directions, batch, hidden]."""
    return _joined(make, [_wide(make, state, (0,)) for state in states], 0)


@dataclass(frozen=True)
class DecomposeRecurrent(DecomposePass):
    """Spell out LSTM, GRU and RNN over few steps, for targets that lack them. Touches weights; re-associates; needs types; idempotent.

    Attributes:
        ops: operators to spell out, all that the pass knows when there are none.
        lacking: whether only those are spelled out that the target has no kernel for.
        max_steps: longer sequences stay.
    """

    name: ClassVar[str] = "decompose-recurrent"
    rules: ClassVar[tuple[Rule, ...]] = (SpellOutRecurrent(),)
    max_steps: Annotated[int, msgspec.Meta(ge=1)] = 16

    def active_rules(self) -> tuple[Rule, ...]:
        """The rule with the options of the pass."""
        return tuple(
            replace(rule, max_steps=self.max_steps) if isinstance(rule, SpellOutRecurrent) else rule
            for rule in self.rules
        )
