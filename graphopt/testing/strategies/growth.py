"""Grows a graph: one node of an operator after the other, each with operands that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from graphopt.testing.strategies.ask import Ask, Demand, Form, Wish
from graphopt.testing.strategies.kernels import computed_types
from graphopt.testing.strategies.plugin_operators import add_plugin_node
from graphopt.testing.strategies.samplers import FAMILIES, SAMPLERS
from graphopt.testing.strategies.scope import RefusedError, Scope, usable_schema

__all__ = ["add_node", "families_at", "grow", "operators_at"]

_TRIES: Final = 3
#: How often nodes are drawn of each family, the simplest first.
_SHARES: Final = {
    "elementwise": 6,
    "movement": 6,
    "linear": 3,
    "reduction": 2,
    "normalization": 2,
    "pooling": 2,
    "quantization": 2,
    "shape": 2,
    "sequence models": 1,
}


@lru_cache(maxsize=64)
def operators_at(opset: int) -> tuple[str, ...]:
    """Operators that have a sampler, exist at an opset, and that ONNX Runtime runs there; in alphabetical order."""
    return tuple(sorted(op for op in SAMPLERS if _runs_at(op, opset)))


@lru_cache(maxsize=64)
def families_at(opset: int) -> dict[str, tuple[str, ...]]:
    """The same by family, the simplest family first; families that have none are left out."""
    known = set(operators_at(opset))
    found = {name: tuple(op for op in table if op in known) for name, table in FAMILIES.items()}
    return {name: ops for name, ops in found.items() if ops}


def _runs_at(op: str, opset: int) -> bool:
    schema = usable_schema(op, opset)
    return schema is not None and (not schema.inputs or bool(computed_types(op, opset, 0)))


def add_node(
    scope: Scope,
    op: str,
    *,
    given: Mapping[int, str] | None = None,
    forms: Mapping[int, Form] | None = None,
    wish: Wish | None = None,
    plain: float = 0.15,
    demands: Mapping[int, Demand] | None = None,
    limit: int | None = None,
    adjust: Callable[[Ask], None] | None = None,
    tries: int = _TRIES,
) -> list[str]:
    """Add a node.

    Args:
        scope: where.
        op: the operator; of an installed plugin as ``domain::Name``.
        given: names of operands that are decided, by position.
        forms: where other operands must come from, by position.
        wish: what the first operand should be like.
        plain: chance that a drawn operand is one number throughout.
        demands: what drawn operands must be besides, by position.
        limit: first position of an operand that must be absent.
        adjust: is told what was drawn and may change it.
        tries: how often to draw anew when ONNX Runtime refuses.

    Returns:
        Names of its outputs.

    Raises:
        RefusedError: if no such node is found.
    """
    if "::" in op:
        fixed = frozenset(index for index, form in (forms or {}).items() if form != "input")
        return add_plugin_node(scope, op, given=given, constant=fixed)
    schema, sampler = usable_schema(op, scope.world.opset), SAMPLERS.get(op)
    if schema is None or sampler is None:
        raise RefusedError(f"{op}: unknown at opset {scope.world.opset}")
    reason: RefusedError | None = None
    for _ in range(tries):
        ask = Ask(scope, op, schema, given or {}, forms or {}, wish or Wish(), plain, demands or {}, limit)
        try:
            outputs = sampler.make(ask)
            if adjust is not None:
                adjust(ask)
            named = [True] * outputs if isinstance(outputs, int) else list(outputs or [True])
            return scope.node(op, ask.operands, outputs=named[: schema.max_outputs], attributes=ask.attributes)
        except RefusedError as err:
            reason = err
    assert reason is not None, "at least one try was made"
    raise reason


def grow(scope: Scope, nodes: int, *, ops: Sequence[str] | None = None, favourite: str = "") -> None:
    """Add up to so many nodes; those that are refused leave nothing behind that is read.

    Args:
        scope: the graph.
        nodes: how many.
        ops: operators to choose from; all that run at the opset when ``None``.
        favourite: a family that most nodes come from.
    """
    families = families_at(scope.world.opset)
    for _ in range(nodes):
        if ops is not None:
            op = scope.choices.of(ops)
        else:
            family = (
                favourite if favourite in families and scope.choices.chance(0.6) else scope.choices.of(list(families))
            )
            op = scope.choices.of(families[family])
        try:
            add_node(scope, op)
        except RefusedError:
            continue
