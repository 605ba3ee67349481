"""The pass that spells out operators on integers, for targets that have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.rewriting import Rule
from graphopt.transforms.decompose.integers.nbits import SpellOutNbits
from graphopt.transforms.decompose.integers.operators import (
    SpellOutStoredConcat,
    SpellOutStoredOperator,
    SpellOutStoredProduct,
)
from graphopt.transforms.decompose.integers.products import (
    SpellOutDynamicQuantize,
    SpellOutIntegerConv,
    SpellOutIntegerMatmul,
)
from graphopt.transforms.decompose.spelling import DecomposePass
from graphopt.transforms.quantization.static.float_dynamic import SpellOutDynamicLstm

__all__ = ["DecomposeIntegers"]


@dataclass(frozen=True)
class DecomposeIntegers(DecomposePass):
    """Spell out operators on integers: by floats that hold them, or between QuantizeLinear and DequantizeLinear.

    Weights stay stored. Needs types; idempotent. Numerics: lossy, by one step of a result that is quantized.
    """

    name: ClassVar[str] = "decompose-integers"
    rules: ClassVar[tuple[Rule, ...]] = (
        SpellOutStoredOperator(),
        SpellOutStoredProduct(),
        SpellOutStoredConcat(),
        SpellOutIntegerMatmul(),
        SpellOutIntegerConv(),
        SpellOutDynamicQuantize(),
        SpellOutDynamicLstm(),
        SpellOutNbits(),
    )
