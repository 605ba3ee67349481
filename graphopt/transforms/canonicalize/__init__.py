"""Canonical forms: nodes that do nothing go, chains become one node. One worklist applies all rules, so that each enables the others.

``canonicalize`` has the rules that keep every bit, ``canonicalize-algebra`` those that keep the algebra only. Rules live in one file a
family. Touch weights: constants that are merged. Need types: rules about shapes do not apply without. Idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.passes import RewritePass
from graphopt.rewriting import Rule
from graphopt.transforms.canonicalize import (
    casts,
    clips,
    concats,
    conditions,
    constant_chains,
    expands,
    identities,
    kept_axes,
    merged_reductions,
    moved_casts,
    negations,
    neutral,
    pads,
    pools,
    reductions,
    reshapes,
    scatters,
    sequences,
    slices,
    transposes,
    true_conditions,
    unary,
)
from graphopt.transforms.movement import ALGEBRA_RULES as MOVEMENT_ALGEBRA_RULES
from graphopt.transforms.movement import RULES as MOVEMENT_RULES

__all__ = ["Canonicalize", "CanonicalizeAlgebra"]


@dataclass(frozen=True)
class Canonicalize(RewritePass):
    """Remove what does nothing and merge chains of casts, shapes, slices, clips and integer constants, open sequences. Exact."""

    name: ClassVar[str] = "canonicalize"
    rules: ClassVar[tuple[Rule, ...]] = (
        *identities.RULES,
        *casts.RULES,
        *moved_casts.RULES,
        *unary.RULES,
        *negations.RULES,
        *transposes.RULES,
        *reshapes.RULES,
        *slices.RULES,
        *pads.RULES,
        *concats.RULES,
        *expands.RULES,
        *reductions.RULES,
        *kept_axes.RULES,
        *conditions.RULES,
        *true_conditions.RULES,
        *clips.RULES,
        *neutral.RULES,
        *constant_chains.RULES,
        *sequences.RULES,
        *scatters.RULES,
        *MOVEMENT_RULES,
    )


@dataclass(frozen=True)
class CanonicalizeAlgebra(RewritePass):
    """Remove added zeros, pooling and sums of single elements, merge chains of float constants. Re-associates."""

    name: ClassVar[str] = "canonicalize-algebra"
    rules: ClassVar[tuple[Rule, ...]] = (
        *neutral.ALGEBRA_RULES,
        *constant_chains.ALGEBRA_RULES,
        *pools.ALGEBRA_RULES,
        *reductions.ALGEBRA_RULES,
        *merged_reductions.ALGEBRA_RULES,
        *MOVEMENT_ALGEBRA_RULES,
    )
