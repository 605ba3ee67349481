"""Symbolic shape inference: types of a whole model in one walk, of single nodes after edits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from graphopt.analysis.integer_ops import EVALUATORS
from graphopt.analysis.shape_inference.control_flow import BODIES
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction
from graphopt.analysis.shape_inference.registry import SHAPE_FUNCTIONS
from graphopt.analysis.shape_inference.walk import BROKEN, NodeRules, Walk
from graphopt.analysis.shape_values import ShapeValues
from graphopt.ir import (
    Model,
    Node,
    SymbolicDim,
    TensorType,
    Type,
    collector_paused,
    fresh_dim,
    lower_bound,
    upper_bound,
)
from graphopt.ir.model import FunctionKey

__all__ = ["SymbolicTypes"]

logger = logging.getLogger(__name__)


class SymbolicTypes:
    """Finds types, with sizes that are numbers or expressions over the names of the model's dynamic sizes.

    Each size that is not known gets a symbol of its own, which is equal to no other and never written to a file. A size that two values
    certainly share is one expression in both. Implements :class:`graphopt.passes.ModelTypes`.

    Args:
        rules: for operators that no shape function is for.
        more: shape functions of other operators, by ``domain::Name``.
    """

    def __init__(self, rules: NodeRules | None = None, more: Mapping[str, ShapeFunction] | None = None) -> None:
        self._rules = rules
        self._table = {**more, **SHAPE_FUNCTIONS} if more else SHAPE_FUNCTIONS
        self._values = ShapeValues()
        self._facts = Facts(self._values)
        self._functions: Mapping[FunctionKey, object] = {}

    def infer_model(self, model: Model) -> int:
        """Set the types of values, subgraphs included. What can't be inferred keeps its element type only."""
        self._facts = Facts(self._values)
        self._functions = model.functions
        static = all(
            isinstance(value.type, TensorType) and value.type.static_shape is not None for value in model.graph.inputs
        )
        for function in model.functions.values():  # what a file states of these may be true for one call only
            for inner in function.graph.walk_graphs():
                for value in inner.values():
                    if value.const is None:
                        value.type = None
        changed = self._walk(model, static=static)
        doubts = (self._facts.doubts | self._values.doubts) & self._facts.positive
        if doubts:  # what a later node proved would have said more of an earlier one
            for value in model.graph.inputs:
                value.type = _not_empty(value.type, doubts)
            changed += self._walk(model, static=static)
        return changed

    def _walk(self, model: Model, *, static: bool) -> int:
        """Infer the types of the main graph, with what is known already of sizes that are not zero."""
        self._values = ShapeValues()
        self._facts = Facts(self._values, self._facts.positive)
        walk = Walk(self._table, self._facts, self._rules, model.functions, static=static)
        with collector_paused():
            walk.walk(model.graph)
        return walk.changed

    def infer_node(self, node: Node) -> Sequence[Type | None]:
        """Types of a node's outputs from those of its inputs; ``None`` where nothing can be said."""
        function = self._table.get(node.op)
        if node.has_references or node.op in BODIES or (node.domain, node.op_type, node.overload) in self._functions:
            return [None] * len(node.outputs)
        if function is None:
            found = [None] * len(node.outputs) if self._rules is None else self._rules.infer_node(node)
        else:
            try:
                found = function(node, self._facts)
            except BROKEN as err:
                logger.debug("types of %s: %r", node, err)
                found = [None] * len(node.outputs)
        return [_with_symbols(item) for item in found]

    def learn_numbers(self, node: Node) -> bool:
        """Whether more is known of the integers that a node gives than when they were last asked for."""
        if node.op not in EVALUATORS:
            return False
        learned = [self._values.refresh(value) for value in node.outputs]
        return True in learned


def _not_empty(given: Type | None, names: AbstractSet[str]) -> Type | None:
    """The type of an input with sizes of these names that are at least 1: a run in which one is zero fails."""
    if type(given) is not TensorType or given.shape is None:
        return given
    shape = tuple(
        SymbolicDim(dim.name, 1, upper_bound(dim))
        if isinstance(dim, SymbolicDim) and dim.name in names and dim.name is not None and not lower_bound(dim)
        else dim
        for dim in given.shape
    )
    return TensorType(given.dtype, shape)


def _with_symbols(found: Type | None) -> Type | None:
    if type(found) is not TensorType or found.shape is None or None not in found.shape:
        return found
    return TensorType(found.dtype, tuple(fresh_dim() if dim is None else dim for dim in found.shape))
