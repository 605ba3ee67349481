"""Edits that turn a model at which a rule applies into one at which it should not, or differently: one thing each, as other models have it.

They know operators by their schemas and graphs by what they can be, and nothing of the rule: a guard that a rule forgets is no part of
its pattern either. What an edit makes may not run; whoever calls it tries that out.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.testing.strategies.edits.constants import number, size
from graphopt.testing.strategies.edits.declarations import dropped_output, unknown_rank, unknown_sizes
from graphopt.testing.strategies.edits.meaning import attribute, operator, opset
from graphopt.testing.strategies.edits.origins import (
    constant_node,
    dequantized,
    dynamic,
    frozen,
    function_attribute,
    overridable,
    twin,
)
from graphopt.testing.strategies.edits.places import captured, looped, referring
from graphopt.testing.strategies.edits.readers import graph_output, other_output, second_user
from graphopt.testing.strategies.edits.subject import Edit, Subject
from graphopt.testing.strategies.edits.wiring import beside, further_input, inserted, rewired, stacked, swapped

__all__ = ["EDITS", "Edit", "Subject"]

#: All edits by name, with how often each is drawn.
EDITS: Mapping[str, tuple[Edit, int]] = {
    "second user": (second_user, 5),
    "graph output": (graph_output, 5),
    "dynamic constant": (dynamic, 4),
    "overridable constant": (overridable, 4),
    "constant input": (frozen, 2),
    "constant node": (constant_node, 2),
    "function attribute": (function_attribute, 1),
    "twin": (twin, 1),
    "dequantized": (dequantized, 2),
    "attribute": (attribute, 6),
    "operator": (operator, 3),
    "unknown sizes": (unknown_sizes, 4),
    "unknown rank": (unknown_rank, 2),
    "number": (number, 6),
    "size": (size, 3),
    "rewired": (rewired, 3),
    "swapped": (swapped, 2),
    "inserted": (inserted, 2),
    "stacked": (stacked, 2),
    "twice": (beside, 1),
    "further input": (further_input, 2),
    "further output": (other_output, 2),
    "dropped output": (dropped_output, 1),
    "captured": (captured, 1),
    "looped": (looped, 3),
    "reference": (referring, 6),
    "opset": (opset, 3),
}
