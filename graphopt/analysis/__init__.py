"""Questions about a graph: lazy, read-only, right while the graph is rewritten or cached by its version."""

from __future__ import annotations

from graphopt.analysis.index_grids import IndexGrid, IndexGrids
from graphopt.analysis.integers import Integers
from graphopt.analysis.rank_proof import fails_with_rank
from graphopt.analysis.shape_values import ShapeValues

__all__ = ["IndexGrid", "IndexGrids", "Integers", "ShapeValues", "fails_with_rank"]
