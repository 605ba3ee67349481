"""Which nodes always give equal outputs for equal inputs, as far as anybody knows."""

from __future__ import annotations

from graphopt.ir import Graph, Model, Node, find_schema

__all__ = ["Purity"]

_Op = tuple[str, str, str]


class Purity:
    """Purity of operators and functions in a model or function, each looked up once.

    Random operators are not pure, nor is Dropout, which is random while training. An operator that nobody registered a schema for is
    not known to be. A function is pure when all its nodes are.

    Args:
        graph: the outermost graph, inside its model or function.
    """

    def __init__(self, graph: Graph) -> None:
        owner = graph.owner
        self._opsets = {} if owner is None else owner.opset_imports
        self._functions = owner.functions if isinstance(owner, Model) else {}
        self._known: dict[_Op, bool] = {}

    def of(self, node: Node) -> bool:
        """Whether the operator of a node is pure; its subgraphs are not looked at."""
        op = node.domain, node.op_type, node.overload
        known = self._known.get(op)
        if known is None:
            known = self._known[op] = self._find(op)
        return known

    def of_all(self, node: Node) -> bool:
        """Whether a node and all nodes of its subgraphs are pure."""
        return self.of(node) and all(self.of(inner) for graph in node.subgraphs for inner in graph.walk())

    def _find(self, op: _Op) -> bool:
        """Look at an operator, or at all that a function calls, directly or not."""
        met = {op}
        todo = [(op, self._opsets)]
        while todo:
            op, opsets = todo.pop()
            function = self._functions.get(op)
            if function is None:
                if not _is_pure_operator(op, opsets):
                    return False
                continue
            called = {(node.domain, node.op_type, node.overload) for node in function.graph.walk()} - met
            met |= called
            todo.extend((inner, function.opset_imports) for inner in called)
        return True


def _is_pure_operator(op: _Op, opsets: dict[str, int]) -> bool:
    domain, op_type, overload = op
    version = opsets.get(domain)
    schema = None if version is None else find_schema(domain, op_type, version)
    return schema is not None and not overload and schema.deterministic and (domain, op_type) != ("", "Dropout")
