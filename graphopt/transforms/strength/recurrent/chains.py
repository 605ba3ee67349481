"""Finds steps of one recurrent cell that follow one another, and proves that all have the same weights.

What a step gets from the step before it tells its hidden state from its input. In the first step, a constant hidden state is often folded
into the bias already: it was zero exactly if that left the bias of the other steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphopt.ir import Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.strength.recurrent.affine import Matrix, Source, taken
from graphopt.transforms.strength.recurrent.cells import Cell, Gate, read_gru, read_lstm

__all__ = ["Chain", "Step", "chain_to", "read_cell"]

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Step:
    """A cell with its operands told apart.

    Attributes:
        cell: the cell.
        x: its input.
        before: the hidden state before; ``None`` for a zero that was folded.
        weights: of the input, [inputs, hidden] for each gate.
        recurrent: of the hidden state, [hidden, hidden] for each gate; ``None`` where it was folded.
    """

    cell: Cell
    x: Source
    before: Value | None
    weights: tuple[Matrix, ...]
    recurrent: tuple[Matrix, ...] | None


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps in order, the last of which has all weights."""

    steps: tuple[Step, ...]

    @property
    def last(self) -> Step:
        """The step whose weights are those of all."""
        return self.steps[-1]

    @property
    def nodes(self) -> frozenset[Node]:
        """All nodes of all steps."""
        return frozenset[Node]().union(*(step.cell.nodes for step in self.steps))


def read_cell(node: Node | None) -> Cell | None:
    """The cell whose hidden state a node gives."""
    if node is None or node.op not in ("Mul", "Add") or len(node.inputs) != 2 or node.output.rank != 2:
        return None
    return read_lstm(node) if node.op == "Mul" else read_gru(node)


def chain_to(cell: Cell) -> Chain | NoMatch:
    """The longest chain that ends in a cell; why it is not packed, if a later step goes on with it."""
    step = next(_told_apart(cell), None)
    if step is None:
        return NoMatch("its gates do not read one input and one hidden state")
    for later in _later(cell):
        if any(_is_same(earlier, following) for following in _told_apart(later) for earlier in _earlier(following)):
            return NoMatch("a later step of the same cell reads it")
    found: list[Step] = []
    for candidate in _told_apart(cell):
        steps = [candidate]
        while (earlier := next((item for item in _earlier(steps[0]) if _is_same(item, steps[0])), None)) is not None:
            steps.insert(0, earlier)
        if len(steps) > len(found):
            found = steps
    return Chain(tuple(found)) if found[-1].recurrent is not None else NoMatch("its hidden state is folded")


def _earlier(step: Step) -> Iterator[Step]:
    """The cell that gives a step its states, with its operands told apart in each way that is possible."""
    before = step.before
    cell = None if before is None else read_cell(before.producer)
    if before is None or cell is None or cell.op != step.cell.op or cell.hidden is not before:
        return
    if cell.op == "LSTM" and cell.state is not step.cell.state_before:
        return
    yield from _told_apart(cell)


def _later(cell: Cell) -> Iterator[Cell]:
    """Cells that may go on with what a cell gives."""
    start, path = (cell.hidden, ("Mul", "Add")) if cell.state is None else (cell.state, ("Mul", "Add", "Tanh", "Mul"))
    values = [start]
    if cell.state is None:  # through a difference, too
        values += [user.output for user in start.users if user.op == "Sub" and user.outputs]
    for op in path:
        values = [user.output for value in values for user in value.users if user.op == op and user.outputs]
    for value in dict.fromkeys(values):
        found = read_cell(value.producer)
        if found is not None and found.op == cell.op and found.hidden is not cell.hidden:
            yield found


def _told_apart(cell: Cell) -> Iterator[Step]:
    """A cell as a step: for an LSTM each operand may be the hidden state."""
    if cell.op == "GRU":
        candidates: list[Value | None] = [cell.before]
    else:
        candidates = [source.whole for source in cell.gates[0].total.terms if source.whole is not None]
        candidates = [*reversed(candidates), None]
    for before in candidates:
        step = _step(cell, before)
        if step is not None:
            yield step


def _step(cell: Cell, before: Value | None) -> Step | None:
    hidden = None if before is None else taken(before)
    inputs = [source for source in cell.gates[0].total.terms if source != hidden]
    if len(inputs) != 1:
        return None
    x = inputs[0]
    weights: list[Matrix] = []
    recurrent: list[Matrix | None] = []
    for place, gate in enumerate(cell.gates):
        state = Source(cell.reset) if cell.reset is not None and place == len(cell.gates) - 1 else hidden
        own, inner = dict(gate.total.terms), None if gate.inner is None else dict(gate.inner.terms)
        weight = own.pop(x, None)
        found = None if state is None else (own if inner is None else inner).pop(state, None)
        if weight is None or own or inner:
            return None
        weights.append(weight)
        recurrent.append(found)
    width = cell.gates[0].total.width
    known = [matrix for matrix in recurrent if matrix is not None]
    if any(gate.total.width != width for gate in cell.gates) or any(_height(matrix) != width for matrix in known):
        return None
    is_folded = before is None or before.is_constant
    if len(known) == len(recurrent):
        return Step(cell, x, before, tuple(weights), tuple(known))
    return Step(cell, x, before, tuple(weights), None) if is_folded else None


def _height(matrix: Matrix) -> int:
    return matrix.rows[1] - matrix.rows[0]


def _is_same(earlier: Step, later: Step) -> bool:
    """Whether both steps compute the same function of input and states."""
    if earlier.cell.op != later.cell.op or _keys(earlier.weights) != _keys(later.weights) or later.recurrent is None:
        return False
    if earlier.recurrent is not None and _keys(earlier.recurrent) != _keys(later.recurrent):
        return False
    is_folded = earlier.recurrent is None
    if is_folded and earlier.before is not None and not _is_zero(earlier.before):
        return False
    pairs = zip(earlier.cell.gates, later.cell.gates, strict=True)
    return all(_is_same_gate(one, other, is_folded=is_folded) for one, other in pairs)


def _is_same_gate(one: Gate, other: Gate, *, is_folded: bool) -> bool:
    """Whether two gates add the same; what was folded was rounded in another order."""
    if one.is_negative != other.is_negative or (one.inner is None) != (other.inner is None):
        return False
    for mine, theirs in ((one.total, other.total), (one.inner, other.inner)):
        if mine is None or theirs is None or mine.row_keys == theirs.row_keys:
            continue
        left, right = mine.bias(), theirs.bias()
        if not is_folded or not np.allclose(left, right, rtol=_ROUNDING, atol=_ROUNDING * np.abs(right).max(initial=0)):
            return False
    return True


def _is_zero(value: Value) -> bool:
    array = value.array()
    return array is not None and not np.any(array)


def _keys(matrices: tuple[Matrix, ...]) -> list[tuple[object, ...]]:
    return [matrix.key for matrix in matrices]
