"""Which nodes of a graph compute on integers: layers that multiply by weights, and what stands between them.

Layers come first. Then whatever moves, joins, pools or maps numbers is added where integers are there already or are wanted behind it,
until nothing changes, and groups of such nodes that wait for each other: an operator between floats stays one, so that no island of
integers costs two conversions for nothing. Results of a product go on as floats where the runtime gives them without another rounding,
unless all who read them want integers.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.ir import Graph, Node, Value, constant_of
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.static.chains import Chain, chain_of
from graphopt.transforms.quantization.static.eligibility import why_not
from graphopt.transforms.quantization.static.roles import COMPUTING, JOINING, MAPPING, data_inputs, data_outputs

__all__ = ["Placement"]


class Placement:
    """The nodes of a graph that compute on integers.

    Args:
        graph: a main graph; subgraphs stay as they are.
        scheme: what the runtime has kernels for.
        selection: layers to work on; other nodes follow unless they are excluded.
        refused: reasons by layer, for nodes that turned out not to be possible.

    Attributes:
        integer: nodes on integers, each with its layer.
        absorbed: nodes that vanish in the layer of another one.
        reasons: why the others stay.
    """

    def __init__(
        self, graph: Graph, scheme: QuantizationScheme, selection: Selection, refused: Mapping[str, str]
    ) -> None:
        self.scheme = scheme
        self._graph = graph
        self.integer: dict[Node, Chain] = {}
        self.absorbed: dict[Node, Node] = {}
        self.reasons: dict[Node, str] = {}
        self._open: list[Node] = []
        self._firm: frozenset[Node] | None = None

        for node in graph.nodes:
            reason = self._why_not(node, selection, refused)
            if reason is not None:
                self.reasons[node] = reason
            elif node.op in COMPUTING:
                self._add(node)
            else:
                self._open.append(node)
        self._grow()
        if self._assume():
            self._grow()
        for node in self._open:
            self.reasons[node] = "nothing around it is on integers"

    def _why_not(self, node: Node, selection: Selection, refused: Mapping[str, str]) -> str | None:
        reason = why_not(node, self.scheme) or refused.get(layer_name(node))
        if reason is not None:
            return reason
        given = data_outputs(node) if self.passes(node) else [chain_of(node, self.scheme).tail]
        if not any(value.is_used for value in given):
            return "nobody reads what it gives"
        excluded = Selection(exclude=selection.exclude)
        return None if (selection if node.op in COMPUTING else excluded).admits(node) else "left out as asked"

    # -- growing --------------------------------------------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        chain = Chain(node.output) if self.passes(node) else chain_of(node, self.scheme)
        self.integer[node] = chain
        for item in chain.absorbed:
            self.absorbed[item] = node

    def _grow(self) -> None:
        forward = True
        idle = 0
        while idle < 2:  # a sweep in each direction has found nothing
            left: list[Node] = []
            for node in self._open if forward else reversed(self._open):
                if node in self.absorbed:
                    continue
                if self._joins(node):
                    self._add(node)
                else:
                    left.append(node)
            idle = 0 if len(left) < len(self._open) else idle + 1
            self._open = left if forward else left[::-1]
            forward = not forward

    def _assume(self) -> bool:
        """Take in at once what stands between integers but waits for each other: a gate, say, whose result is read by its own branch.

        All are assumed to be on integers; then those go that would not be by the others. What goes on as floats from products counts as
        floats meanwhile, and a node that only moves or pools is no reason to map numbers, so that nothing holds itself up.
        """
        self._firm = frozenset(self.integer)
        assumed = [node for node in self._open if node not in self.absorbed]
        for node in assumed:
            if node not in self.absorbed:
                self._add(node)
        kept = [node for node in assumed if node in self.integer]
        forward, idle = True, 0
        while idle < 2:
            holding = [node for node in (kept if forward else reversed(kept)) if self._holds(node) or self._drop(node)]
            idle = 0 if len(holding) < len(kept) else idle + 1
            kept = holding if forward else holding[::-1]
            forward = not forward
        self._firm = None
        self._open = [node for node in assumed if node not in self.integer and node not in self.absorbed]
        return bool(kept)

    def _drop(self, node: Node) -> bool:
        for item in self.integer.pop(node).absorbed:
            del self.absorbed[item]
        return False

    def _holds(self, node: Node) -> bool:
        there = [self.is_there(value) for value in self.inputs(node) if constant_of(value) is None]
        if node.op in JOINING and not self.passes(node):
            return any(there) and ((all(there) and len(there) > 1) or self._has_reader(self.integer[node].tail))
        if not all(there):
            return False
        return node.op not in MAPPING or any(
            user.op in JOINING or user.op in COMPUTING
            for user in self.integer[node].tail.users
            if self._is_read(user, self.integer[node].tail)
        )

    def _joins(self, node: Node) -> bool:
        read = [value for value in self.inputs(node) if constant_of(value) is None]
        there = [self.is_there(value) for value in read]
        behind = data_outputs(node) if self.passes(node) else [chain_of(node, self.scheme).tail]
        if self.passes(node) and node.op != "Concat":
            alone = all(self._is_read(user, value) or user is node for value in read for user in value.users)
            return all(there) or (
                alone and not any(value.is_graph_output for value in read) and all(map(self.is_wanted, behind))
            )
        if node.op in JOINING:
            return any(there) and ((all(there) and len(there) > 1) or any(map(self._has_reader, behind)))
        return all(there) and (node.op not in MAPPING or any(map(self._has_reader, behind)))

    # -- asking ---------------------------------------------------------------------------------------------------------------

    def passes(self, node: Node) -> bool:
        """Whether input and output of a node share one scale."""
        return node.op in self.scheme.passing_ops

    def inputs(self, node: Node) -> list[Value]:
        """The values that a node reads as integers, weights and biases apart."""
        return [value for position in data_inputs(node) if (value := node.input_at(position)) is not None]

    def is_there(self, value: Value) -> bool:
        """Whether a value comes as integers."""
        producer = value.producer
        if producer is None:
            return False
        root = self.absorbed.get(producer, producer)
        chain = self.integer.get(root)
        if chain is None or (chain.tail is not value and not self.passes(root)):
            return False
        return self.gives_integers(root)

    def gives_integers(self, node: Node) -> bool:
        """Whether the result of a node on integers is quantized."""
        if node.op not in self.scheme.float_output_ops:
            return True
        tail = self.integer[node].tail
        if self._firm is not None and not self._firm.issuperset(tail.users):
            return False
        return self.is_wanted(tail)

    def is_wanted(self, value: Value) -> bool:
        """Whether all who read a value read integers."""
        return (
            value.use_count > 0
            and not value.is_graph_output
            and all(self._is_read(user, value) for user in value.users)
        )

    def _has_reader(self, value: Value) -> bool:
        return any(self._is_read(user, value) for user in value.users)

    def _is_read(self, user: Node, value: Value) -> bool:
        """Whether a node reads a value as integers, and nothing else of it."""
        if user not in self.integer:
            return False
        places = set(data_inputs(user))
        return all(at in places for at, read in enumerate(user.inputs) if read is value)

    def in_order(self) -> list[tuple[Node, Chain]]:
        """The nodes on integers with their layers, as they stand in the graph."""
        return [(node, self.integer[node]) for node in self._graph.nodes if node in self.integer]
