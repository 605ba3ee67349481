"""Takes quantization out of a model: floats everywhere, weights as what their integers stand for.

For models that came quantized, to be quantized again in another way or to run where integers don't pay. What was lost when it was
quantized stays lost, but nothing is rounded twice. Needs types. Main graph, subgraphs and functions. Numerics: lossy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.passes import RewritePass
from graphopt.rewriting import Rule
from graphopt.transforms.quantization.static.float_dynamic import SpellOutDynamicLstm, SpellOutDynamicProduct
from graphopt.transforms.quantization.static.float_operators import SpellOutIntegerOperator, SpellOutIntegerProduct
from graphopt.transforms.quantization.static.float_pairs import DecodeConstant, DequantizeEarlier, DropRoundTrip
from graphopt.transforms.quantization.static.scaled_integers import DecodeScaledIntegers

__all__ = ["Dequantize"]


@dataclass(frozen=True)
class Dequantize(RewritePass):
    """Make floats of everything that is stored or computed on integers: Q/DQ, QOperator and dynamic forms."""

    name: ClassVar[str] = "dequantize"
    rules: ClassVar[tuple[Rule, ...]] = (
        SpellOutIntegerOperator(),
        SpellOutIntegerProduct(),
        SpellOutDynamicProduct(),
        SpellOutDynamicLstm(),
        DropRoundTrip(),
        DecodeConstant(),
        DequantizeEarlier(),
        DecodeScaledIntegers(),
    )
