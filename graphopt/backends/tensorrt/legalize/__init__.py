"""Makes a model one that TensorRT's layers express; what is legal then is lowered node by node.

Operators of ONNX and of ``com.microsoft`` that have no layers are spelled out by passes of their own, in the order of ``LEGALIZE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from graphopt.backends.onnx.legalize import SplitConvActivation
from graphopt.backends.tensorrt.legalize.shifted import ShiftPair, ShiftWeights
from graphopt.passes import RewritePass

__all__ = ["LEGALIZE", "LegalizeTensorRt"]

#: What every model goes through before it is lowered.
LEGALIZE: Final = (
    "inline-functions,constants-to-initializers,raise-opset{to=17,strict=false},decompose-integers{lacking=true},decompose-attention{lacking=true},"
    "decompose-transformer-ops{lacking=true},"
    "fixpoint{max_rounds=4}(expand-function-ops{lacking=true},inline-functions,constants-to-initializers),"
    "fold-shapes,canonicalize,fold-constants{max_growth=2147483648,max_share=0,max_bytes=1073741824,max_fill=16384},simplify-if,eliminate-dead-code,legalize-tensorrt"
)


@dataclass(frozen=True)
class LegalizeTensorRt(RewritePass):
    """Store as int8 around 0 what is stored as uint8 around 128, and split graphopt's fused operators. Exact."""

    name: ClassVar[str] = "legalize-tensorrt"
    rules: ClassVar = (ShiftPair(), ShiftWeights(), SplitConvActivation())
