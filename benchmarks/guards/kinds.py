"""Sorts guards of bodies by what they are about, from the words in them."""

from __future__ import annotations

import ast

from benchmarks.guards.conditions import Part

__all__ = ["KINDS", "kind_of"]

#: Kind to words that tell it, the first that fits wins; "type narrowing" is told by the form.
_WORDS = {
    "opset": ("opset", "version"),
    "use": ("single_use", "is_graph_output", "graph_outputs", "use_count", "is_used", "users", "_uses"),
    "scope": (".graph is", "has_references", ".domain", ".home is", ".ref"),
    "constant": ("is_constant", ".const ", "constant_ints", "array()", "const."),
    "attribute": ("attr(", "attributes", "ints_attr", "_attr("),
    "element type": ("dtype", "_FLOATS"),
    "shape": ("shape", "rank", "size", "axis", "axes", "dim", "len("),
    "operator": (".op ", ".op_type", "before"),
}
KINDS = (*_WORDS, "numbers", "name", "input", "type narrowing")


def kind_of(part: Part) -> str:
    """Return one of `KINDS`."""
    if _narrows(part.node):
        return "type narrowing"
    text = f"{part.what} "
    return next((kind for kind, words in _WORDS.items() if any(word in text for word in words)), "numbers")


def _narrows(condition: ast.expr) -> bool:
    """Whether a condition is one that a type checker asks for: without it the next line fails."""
    match condition:
        case ast.Call(func=ast.Name(id="isinstance")):
            return True
        case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
        case _:
            return False
