"""Reads one step of an LSTM or GRU that is spelled out by products, activations and arithmetic.

LSTM: ``c' = f * c + i * g`` and ``h' = o * Tanh(c')`` with ``i, f, o = Sigmoid(...)`` and ``g = Tanh(...)``. GRU: ``h' = (1 - z) * n +
z * h``, ``n + z * (h - n)`` or, with the other sign of ``z``, ``h + z * (n - h)``; ``n = Tanh(x @ W + (r * h) @ R + b)``, or with the reset
behind the product, ``Tanh(x @ W + b + r * (h @ R + b'))``. Source: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html;
Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; Cho et al., Learning Phrase Representations, 2014.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from graphopt.ir import Node, Value
from graphopt.transforms.strength.recurrent.affine import Affine, part_of, read_affine

__all__ = ["Cell", "Gate", "read_gru", "read_lstm"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What an activation is applied to.

    Attributes:
        total: of the input and the hidden state; of a GRU's last gate without what the hidden state adds.
        is_negative: whether the operator wants the opposite number.
        inner: what the reset gate of a GRU is multiplied with, where that is done behind the product.
    """

    total: Affine
    is_negative: bool = False
    inner: Affine | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One step.

    Attributes:
        op: ``LSTM`` or ``GRU``.
        hidden: the new hidden state.
        state: the new cell state of an LSTM.
        before: the hidden state before, of a GRU; an LSTM does not say which of its inputs it is.
        state_before: the cell state before.
        gates: in the operator's order: input, output, forget, cell; or update, reset, hidden.
        reset: the product of the reset gate and the hidden state, where that is done before the product with weights.
        nodes: all nodes of the step.
    """

    op: str
    hidden: Value
    state: Value | None
    before: Value | None
    state_before: Value | None
    gates: tuple[Gate, ...]
    reset: Value | None
    nodes: frozenset[Node]


def _made_by(value: Value | None, op: str) -> Node | None:
    node = None if value is None else value.producer
    return node if node is not None and node.op == op and not node.has_references else None


def _pairs(node: Node) -> Iterator[tuple[Value, Value]]:
    """Both operands, in either order."""
    left, right = node.inputs[0], node.inputs[1]
    if left is not None and right is not None:
        yield left, right
        yield right, left


def _activated(value: Value | None, op: str) -> Affine | None:
    """What an activation is applied to, before a Split into gates or behind it."""
    node = _made_by(value, op)
    if node is not None and node.inputs[0] is not None:
        found = read_affine(node.inputs[0])
        return None if found is None else replace(found, nodes=found.nodes | {node})
    part = None if value is None else value.producer
    columns = None if value is None or part is None or part.op not in ("Split", "Slice") else part_of(value)
    whole = None if columns is None or part is None else _activated(part.inputs[0], op)
    if whole is None or columns is None or part is None:
        return None
    return whole.columns(columns, part)


def read_lstm(root: Node) -> Cell | None:
    """The step whose hidden state a Mul gives."""
    for opened, squashed in _pairs(root):
        tanh = _made_by(squashed, "Tanh")
        total = None if tanh is None else _made_by(tanh.inputs[0], "Add")
        out = None if total is None else _activated(opened, "Sigmoid")
        if tanh is None or total is None or out is None:
            continue
        for kept, added in _pairs(total):
            keep, add = _made_by(kept, "Mul"), _made_by(added, "Mul")
            if keep is None or add is None:
                continue
            for forget, state in _pairs(keep):
                for entry, candidate in _pairs(add):
                    read = (
                        _activated(entry, "Sigmoid"),
                        out,
                        _activated(forget, "Sigmoid"),
                        _activated(candidate, "Tanh"),
                    )
                    gates = [gate for gate in read if gate is not None]
                    if len(gates) == len(read):
                        nodes = frozenset({root, tanh, total, keep, add}).union(*(gate.nodes for gate in gates))
                        made = tuple(Gate(gate) for gate in gates)
                        return Cell("LSTM", root.output, total.output, None, state, made, None, nodes)
    return None


def read_gru(root: Node) -> Cell | None:
    """The step whose hidden state an Add gives."""
    for mix in (_weighted, _moved):
        for found in mix(root):
            cell = _gru(root, *found)
            if cell is not None:
                return cell
    return None


@dataclass(frozen=True, slots=True)
class _Mix:
    """How a GRU mixes: the update gate's value, whether it weighs the candidate, the nodes in between."""

    gate: Value
    is_negative: bool
    nodes: frozenset[Node]


def _weighted(root: Node) -> Iterator[tuple[_Mix, Value, Value]]:
    """(1 - z) * n + z * h; which of both is the candidate is not known."""
    for one, other in _pairs(root):
        first, second = _made_by(one, "Mul"), _made_by(other, "Mul")
        if first is None or second is None:
            continue
        for less, inner in _pairs(first):
            rest = _made_by(less, "Sub")
            if rest is None or not _is_one(rest.inputs[0]):
                continue
            for gate, outer in _pairs(second):
                if rest.inputs[1] is gate:
                    nodes = frozenset({root, first, second, rest})
                    yield _Mix(gate, False, nodes), inner, outer
                    yield _Mix(gate, True, nodes), outer, inner


def _moved(root: Node) -> Iterator[tuple[_Mix, Value, Value]]:
    """Both ways to write it with a difference: n + z * (h - n), or h + z * (n - h)."""
    for start, way in _pairs(root):
        product = _made_by(way, "Mul")
        if product is None:
            continue
        for gate, step in _pairs(product):
            difference = _made_by(step, "Sub")
            if difference is None or difference.inputs[1] is not start or difference.inputs[0] is None:
                continue
            nodes = frozenset({root, product, difference})
            yield _Mix(gate, False, nodes), start, difference.inputs[0]
            yield _Mix(gate, True, nodes), difference.inputs[0], start


def _is_one(value: Value | None) -> bool:
    array = None if value is None else value.array()
    return array is not None and array.size == 1 and array.dtype == np.float32 and float(array.reshape(-1)[0]) == 1


def _gru(root: Node, mix: _Mix, candidate: Value, before: Value) -> Cell | None:
    update, total = _activated(mix.gate, "Sigmoid"), _activated(candidate, "Tanh")
    if update is None or total is None:
        return None
    for source, matrix in total.terms.items():
        product = None if source.axis is not None else _made_by(source.value, "Mul")
        if product is None:
            continue
        others = {key: item for key, item in total.terms.items() if key != source}
        for gate, inner in _pairs(product):
            reset = _activated(gate, "Sigmoid")
            recurrent = read_affine(inner) if matrix is None else None
            if reset is None or (matrix is None and recurrent is None) or (matrix is not None and inner is not before):
                continue
            nodes = mix.nodes | update.nodes | total.nodes | reset.nodes | {product}
            if recurrent is not None:
                hidden = Gate(replace(total, terms=others), inner=recurrent)
                nodes |= recurrent.nodes
            else:
                hidden = Gate(total)
            gates = (Gate(update, mix.is_negative), Gate(reset), hidden)
            return Cell(
                "GRU", root.output, None, before, None, gates, product.output if matrix is not None else None, nodes
            )
    return None
