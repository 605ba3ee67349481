"""Rules that move data movement: transpositions, slices, splits and reshapes past each other, where that leaves fewer nodes. Exact.

The pass ``canonicalize`` applies them together with its own, in one worklist. Need types; rules about shapes do not apply without.
"""

from __future__ import annotations

from graphopt.rewriting import Rule
from graphopt.transforms.movement import (
    absorbed_transposes,
    blocks,
    composed_gathers,
    concat_parts,
    expansions,
    gathers,
    joined_transposes,
    joined_unary,
    looked_up_tables,
    neighbours,
    rearranged,
    reshaped_elementwise,
    reshaped_transposes,
    shape_parts,
    single_elements,
    splits,
    transposed_trees,
)

__all__ = ["ALGEBRA_RULES", "RULES"]

RULES: tuple[Rule, ...] = (
    *reshaped_transposes.RULES,
    *reshaped_elementwise.RULES,
    *single_elements.RULES,
    *splits.RULES,
    *gathers.RULES,
    *looked_up_tables.RULES,
    *concat_parts.RULES,
    *expansions.RULES,
    *blocks.RULES,
    *shape_parts.RULES,
    *rearranged.RULES,
    *transposed_trees.RULES,
    *joined_transposes.RULES,
    *neighbours.RULES,
    *composed_gathers.RULES,
    *joined_unary.RULES,
)
#: Rules that re-associate, for the pass ``canonicalize-algebra``.
ALGEBRA_RULES: tuple[Rule, ...] = (
    *transposed_trees.ALGEBRA_RULES,
    *absorbed_transposes.ALGEBRA_RULES,
    *joined_unary.ALGEBRA_RULES,
)
