"""Makes a model one that TensorRT's layers express; what is legal then is lowered node by node.

Operators of ONNX and of ``com.microsoft`` that have no layers are spelled out by passes of their own, in the order of ``LEGALIZE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.backends.onnx.legalize import SplitConvActivation
from graphopt.backends.tensorrt.legalize.shifted import ShiftPair, ShiftWeights
from graphopt.ir import DType, Graph
from graphopt.passes import PassContext, PassResult, RewritePass

__all__ = ["LEGALIZE", "LegalizeTensorRt"]

#: What every model goes through before it is lowered.
LEGALIZE: Final = (
    "inline-functions,constants-to-initializers,raise-opset{to=17,strict=false},"
    "decompose-integers{lacking=true},decompose-attention{lacking=true},decompose-transformer-ops{lacking=true},"
    "fixpoint{max_rounds=4}(expand-function-ops{lacking=true},inline-functions,constants-to-initializers),"
    "fixpoint{max_rounds=8}(fold-shapes,canonicalize,"
    "fold-constants{max_growth=2147483648,max_share=0,max_bytes=1073741824,max_fill=16384},simplify-if),"
    "eliminate-dead-code,legalize-tensorrt"
)


#: Types that TensorRT lacks, and what their numbers are kept in, which does not hold all of them.
_DEMOTED: Final = {DType.DOUBLE: "float", DType.UINT64: "int64"}


@dataclass(frozen=True)
class LegalizeTensorRt(RewritePass):
    """Store as int8 around 0 what is stored as uint8 around 128, and split graphopt's fused operators. Exact.

    Doubles and uint64 stay what they are here; that they will be kept in narrower types is said as a warning.
    """

    name: ClassVar[str] = "legalize-tensorrt"
    rules: ClassVar = (ShiftPair(), ShiftWeights(), SplitConvActivation())

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Rewrite, then look at the types that are left."""
        result = super().run(graph, ctx)
        for dtype, kept in _DEMOTED.items():
            names = [value.name for value in graph.values() if value.dtype is dtype]
            if names:
                self.logger.warning(
                    "%d values of %s (%r first) are kept as %s: TensorRT has no %s",
                    len(names),
                    dtype,
                    names[0],
                    kept,
                    dtype,
                )
        return result
