"""Reduction of strength: cheaper operators in the place of dear ones, and constants inside the weights beside them.

One pass, ``reduce-strength``; rules live in one file a family. Touches weights. Needs types; rules about shapes do not apply without.
Idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.passes import RewritePass
from graphopt.rewriting import Rule
from graphopt.transforms.strength import (
    batched_products,
    box_filters,
    common_factors,
    global_pools,
    parallel_convs,
    pointwise_convs,
    powers,
    product_chains,
    reshaped_gemms,
    scalar_factors,
    shared_factors,
    softmax,
    tables,
    zero_biases,
)

__all__ = ["ReduceStrength"]


@dataclass(frozen=True)
class ReduceStrength(RewritePass):
    """Move factors into weights, collect them, drop what products and convolutions do in vain. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "reduce-strength"
    rules: ClassVar[tuple[Rule, ...]] = (
        *scalar_factors.RULES,
        *zero_biases.RULES,
        *batched_products.RULES,
        *common_factors.RULES,
        *box_filters.RULES,
        *shared_factors.RULES,
        *powers.RULES,
        *product_chains.RULES,
        *reshaped_gemms.RULES,
        *softmax.RULES,
        *tables.RULES,
        *parallel_convs.RULES,
        *pointwise_convs.RULES,
        *global_pools.RULES,
    )
