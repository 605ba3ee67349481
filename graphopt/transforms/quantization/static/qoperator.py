"""Q/DQ models in the older form: operators that take and give integers.

ONNX Runtime gains by one of them, the product with a bias that gives floats; the others are for runtimes that don't know Q/DQ. Touches
weights: no. Needs types. Numerics: lossy (within one step of each result).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.errors import PipelineError
from graphopt.rewriting import Rule
from graphopt.transforms.fusion.kernel_pass import KernelPass
from graphopt.transforms.quantization.static.integer_operators import (
    UseQgemm,
    UseQlinearAdd,
    UseQlinearConv,
    UseQlinearMatmul,
    UseQlinearMul,
)
from graphopt.transforms.quantization.static.integer_products import UseMatmulIntegerToFloat

__all__ = ["FuseIntegerProducts", "QdqToQoperator"]

_RULES: Final[dict[str, Rule]] = {
    "Conv": UseQlinearConv(),
    "MatMul": UseQlinearMatmul(),
    "Gemm": UseQgemm(),
    "Add": UseQlinearAdd(),
    "Mul": UseQlinearMul(),
}


@dataclass(frozen=True)
class FuseIntegerProducts(KernelPass):
    """Make one operator of a product of stored integers that gives floats, and its bias, where the target has it."""

    name: ClassVar[str] = "fuse-integer-products"
    rules: ClassVar[tuple[Rule, ...]] = (UseMatmulIntegerToFloat(),)


@dataclass(frozen=True)
class QdqToQoperator(KernelPass):
    """Make operators that take and give integers of those between DequantizeLinear and QuantizeLinear, as far as the target has them.

    Attributes:
        ops: only these operators, of Conv, MatMul, Gemm, Add and Mul; all by default.
    """

    name: ClassVar[str] = "qdq-to-qoperator"
    rules: ClassVar[tuple[Rule, ...]] = tuple(_RULES.values())
    ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [item for item in self.ops if item not in _RULES]
        if unknown:
            raise PipelineError(f"{self.name}: ops has {unknown[0]!r}, expected some of {', '.join(_RULES)}")

    def active_rules(self) -> tuple[Rule, ...]:
        """The rules for the chosen operators."""
        return tuple(rule for op, rule in _RULES.items() if not self.ops or op in self.ops)
