"""Pieces of graph that models in the wild have, and that node by node hardly ever come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphopt.testing.strategies.motifs import blocks, functions, shapes, subgraphs
from graphopt.testing.strategies.scope import RefusedError, Scope

__all__ = ["grow_motifs"]

_MOTIFS: Final[list[tuple[Callable[[Scope], object], int]]] = [
    *blocks.MOTIFS,
    *shapes.MOTIFS,
    *subgraphs.MOTIFS,
    *functions.MOTIFS,
]


def grow_motifs(scope: Scope) -> None:
    """Add one piece, or as much of it as ONNX Runtime runs."""
    try:
        scope.choices.weighted(_MOTIFS)(scope)
    except RefusedError:
        return
