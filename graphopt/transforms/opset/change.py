"""One node on its way to a newer opset: what an adapter is told, and what it answers.

An adapter looks and decides while the model still is what it was, and answers with an edit that is made once all nodes have one. So a
model is raised as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import Attribute, AttributeKind, AttributeValue, Node, Value
from graphopt.rewriting import Rewriter

__all__ = ["ADAPTERS", "Adapter", "Change", "Edit", "RefusedError", "adapter", "integers", "move_ints"]

#: Makes a node mean at the new opset what it meant at the old one; the model imports the new one by then.
Edit = Callable[[Rewriter], None]


class RefusedError(Exception):
    """A node can't be raised.

    Attributes:
        newest: the newest opset that it can have.
    """

    def __init__(self, reason: str, newest: int) -> None:
        super().__init__(reason)
        self.newest = newest


@dataclass(frozen=True, slots=True)
class Change:
    """A node, and the opsets that it goes from and to."""

    node: Node
    old: int
    new: int

    def crosses(self, version: int) -> bool:
        """Whether a version of the operator comes between."""
        return self.old < version <= self.new

    def stated(self, name: str) -> Attribute | None:
        """An attribute that the node states."""
        return self.node.attributes.get(name)

    def value(self, name: str) -> AttributeValue:
        """What an attribute is at the old opset, by default too; ``None`` for a reference to one of the function."""
        return self.node.attr(name)

    def refuse(self, version: int, reason: str) -> RefusedError:
        """The error to raise: why the change of an operator at ``version`` can't be made up for."""
        return RefusedError(reason, version - 1)


Adapter = Callable[[Change], "Edit | None"]


@dataclass(frozen=True, slots=True)
class _Entry:
    adapt: Adapter
    versions: frozenset[int]


#: By operator: its adapter, and the versions that it makes up for.
ADAPTERS: Final[dict[str, _Entry]] = {}


def adapter(*op_types: str, versions: tuple[int, ...]) -> Callable[[Adapter], Adapter]:
    """Make a function the adapter of operators.

    Args:
        op_types: the operators.
        versions: those of their versions that mean something else than the one before.
    """

    def add(function: Adapter) -> Adapter:
        for op_type in op_types:
            ADAPTERS[op_type] = _Entry(function, frozenset(versions))
        return function

    return add


# -- attributes that became inputs ------------------------------------------------------------------------------------------------


def integers(rw: Rewriter, attribute: Attribute, *, scalar: bool = False) -> Value:
    """What an integer attribute says, as a value: a list with an axis of its own, one number with one too unless ``scalar``.

    A reference to an attribute of the function becomes a Constant that refers to it.
    """
    if not attribute.ref:
        return rw.constant(np.array(attribute.value, np.int64).reshape(() if scalar else (-1,)))
    if attribute.kind is AttributeKind.INTS:
        return rw.new("Constant", value_ints=attribute)
    number = rw.new("Constant", value_int=attribute)
    return number if scalar else rw.new("Reshape", number, np.array([1], np.int64))


def move_ints(change: Change, moves: dict[str, int], *, keep_empty: bool = False) -> Edit | None:
    """The edit that makes inputs of integer attributes.

    Args:
        change: of which node.
        moves: position of the input by name of the attribute. One that is not stated stays away.
        keep_empty: whether an empty list is said too; else it means the same as none.
    """
    found = {name: item for name in moves if (item := change.stated(name)) is not None}
    if not found:
        return None
    node = change.node

    def edit(rw: Rewriter) -> None:
        for name, attribute in found.items():
            rw.set_attribute(node, name, None)
            if attribute.ref or attribute.value != () or keep_empty:
                rw.set_input(node, moves[name], integers(rw, attribute))

    return edit
