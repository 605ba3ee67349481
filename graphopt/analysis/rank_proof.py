"""Proofs that a value can't have a rank, because every run in which it had would fail.

The rank is assumed and followed downwards, through operators that tell the rank of their result, through what is computed from ranks
(``Size(Shape(x)) == 2``), and into branches that such a condition chooses, until an operator is reached that takes no tensor of
such a rank: a recurrent layer, a convolution, a Gemm or a Transpose. Sound: what is not understood ends the search without a proof.
Source: the operators' definitions, https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from graphopt.ir import Graph, Node, Value, constant_of, integer_of

__all__ = ["fails_with_rank"]

_MOST_STEPS: Final = 256
#: Operators whose result has the rank of their first input.
_SAME_RANK: Final = frozenset(
    {"Abs", "Cast", "Ceil", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu",
     "Log", "LogSoftmax", "Mish", "Neg", "Not", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softmax", "Softplus", "Sqrt", "Tanh"}
)  # fmt: skip
_CONVOLUTIONS: Final = frozenset({"Conv", "ConvTranspose"})
_RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})


def fails_with_rank(value: Value, rank: int) -> bool:
    """Whether each run in which a value has this rank is proved to end in an error.

    Args:
        value: a tensor.
        rank: the rank that it is assumed to have.
    """
    return _Assumption(value, rank).fails()


class _Assumption:
    """What follows from a value having a rank."""

    def __init__(self, value: Value, rank: int) -> None:
        self._ranks: dict[Value, int] = {value: rank}
        self._shapes_of: dict[Value, int] = {}  # a tensor that is the shape of one of this rank
        self._numbers: dict[Value, int] = {}
        self._todo: list[Value] = [value]

    def fails(self) -> bool:
        """Follow the assumption until it contradicts something, or nothing more follows."""
        steps = 0
        while self._todo:
            value = self._todo.pop()
            for user, index in list(value._uses):
                steps += 1
                if steps > _MOST_STEPS:
                    return False
                if self._runs(user) and self._refutes(user, index):
                    return True
        return False

    def _runs(self, node: Node) -> bool:
        """Whether a node is computed in each run, as far as the assumption tells."""
        graph = node.graph
        while graph is not None and graph.parent is not None:
            holder = graph.parent
            if holder.op != "If" or self._chosen(holder) is not graph:
                return False
            graph = holder.graph
        return graph is not None and any(output.is_used or output.is_graph_output for output in node.outputs)

    def _chosen(self, node: Node) -> Graph | None:
        """The branch of an If that the assumption chooses."""
        condition = node.input_at(0)
        number = None if condition is None else self._number(condition)
        attribute = None if number is None else node.attributes.get("then_branch" if number else "else_branch")
        return None if attribute is None or attribute.ref else cast(Graph, attribute.value)

    def _refutes(self, node: Node, index: int) -> bool:
        """Whether a node can't take what is assumed of its input; else what is known of its output is noted."""
        if node.op == "If" and index == 0:
            self._enter(node)
            return False
        value = node.inputs[index]
        rank = None if value is None else self._ranks.get(value)
        if rank is not None and index == 0:
            if self._refuses(node, rank):
                return True
            self._note_rank(node, rank)
        self._note_number(node)
        return False

    @staticmethod
    def _refuses(node: Node, rank: int) -> bool:
        if node.op in _RECURRENT:
            return rank != 3
        if node.op in _CONVOLUTIONS:
            weight = node.input_at(1)
            return weight is not None and weight.is_constant and weight.rank not in (None, rank)
        if node.op == "Gemm":
            return rank > 2
        if node.op == "Transpose":
            perm = node.ints_attr("perm")
            return perm is not None and len(perm) != rank
        return False

    def _note_rank(self, node: Node, rank: int) -> None:
        if node.op in _SAME_RANK:
            self._set_rank(node.output, rank)
        elif node.op in ("Unsqueeze", "Squeeze"):
            count = _count_of_axes(node)
            if count is not None:
                self._set_rank(node.output, rank + count if node.op == "Unsqueeze" else rank - count)
        elif node.op == "Shape" and not node.attributes:
            self._shapes_of[node.output] = rank
            self._todo.append(node.output)
        for output in _branch_outputs(node.inputs[0]):
            self._set_rank(output, rank)

    def _set_rank(self, value: Value, rank: int) -> None:
        if value in self._ranks or rank < 0:
            return
        self._ranks[value] = rank
        self._todo.append(value)
        for output in _branch_outputs(value):
            self._give_out(output, value)

    def _give_out(self, output: Value, value: Value) -> None:
        """A branch gives a value out; it is what the If gives if the branch is the chosen one."""
        holder = output.producer
        graph = value.home
        if holder is not None and self._chosen(holder) is graph:
            self._set_rank(output, self._ranks[value])

    def _enter(self, node: Node) -> None:
        """A condition is known now: what the chosen branch gives out is what the If gives."""
        graph = self._chosen(node)
        if graph is None:
            return
        for output, inner in zip(node.outputs, graph.outputs, strict=True):
            if inner in self._ranks:
                self._set_rank(output, self._ranks[inner])
        # What was found at nodes inside before the condition was known has to be looked at again.
        self._todo.extend(value for value in self._ranks if any(user.graph is graph for user, _ in value._uses))

    def _note_number(self, node: Node) -> None:
        if len(node.outputs) != 1 or node.output in self._numbers:
            return
        found: int | None = None
        inputs = [None if value is None else self._number(value) for value in node.inputs]
        if node.op == "Size" and node.inputs[0] in self._shapes_of:
            found = self._shapes_of[node.inputs[0]]
        elif node.op == "Equal" and None not in inputs:
            found = int(inputs[0] == inputs[1])
        elif node.op == "Not" and None not in inputs:
            found = int(not inputs[0])
        elif node.op in ("Identity", "Cast", "Squeeze", "Unsqueeze") and inputs[0] is not None:
            found = inputs[0]
        if found is not None:
            self._numbers[node.output] = found
            self._todo.append(node.output)

    def _number(self, value: Value) -> int | None:
        known = self._numbers.get(value)
        return integer_of(value) if known is None else known


def _count_of_axes(node: Node) -> int | None:
    axes = node.ints_attr("axes")
    if axes is not None:
        return len(axes)
    constant = constant_of(node.input_at(1))
    return None if constant is None else constant.size


def _branch_outputs(value: Value | None) -> Iterator[Value]:
    """The outputs of the If whose branch gives a value out."""
    graph = None if value is None else value.home
    holder = None if graph is None else graph.parent
    if graph is None or holder is None or holder.op != "If":
        return
    for output, inner in zip(holder.outputs, graph.outputs, strict=False):
        if inner is value:
            yield output
