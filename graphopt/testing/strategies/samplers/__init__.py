"""All samplers, by operator of the default domain."""

from __future__ import annotations

from typing import Final

from graphopt.testing.strategies.sampler import Sampler
from graphopt.testing.strategies.samplers import (
    elementwise,
    linear,
    movement,
    normalization,
    pooling,
    quantization,
    reduction,
    sequence_models,
    shape,
)

__all__ = ["FAMILIES", "SAMPLERS"]

#: Operators that belong together, by name of the family.
FAMILIES: Final[dict[str, dict[str, Sampler]]] = {
    "elementwise": elementwise.TABLE.by_op,
    "movement": movement.TABLE.by_op,
    "reduction": reduction.TABLE.by_op,
    "linear": linear.TABLE.by_op,
    "normalization": normalization.TABLE.by_op,
    "pooling": pooling.TABLE.by_op,
    "quantization": quantization.TABLE.by_op,
    "shape": shape.TABLE.by_op,
    "sequence models": sequence_models.TABLE.by_op,
}
SAMPLERS: Final[dict[str, Sampler]] = {op: sampler for family in FAMILIES.values() for op, sampler in family.items()}
