"""How weights become integers for products that are dynamic on their other side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphopt.ir import Array, DType, Node, Quantization
from graphopt.rewriting import NoMatch
from graphopt.transforms.quantization.dynamic.gain import dynamic_gain
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.parameters import quantized, weight_quantization

__all__ = ["Int8Weights"]

#: One byte each; what MatMulInteger and DynamicQuantizeLSTM take.
_BYTES: Final = frozenset({DType.INT8, DType.UINT8})


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """Which layers, and how their weights are stored.

    Attributes:
        selection: layers to work on.
        per_channel: whether each output channel has a scale of its own.
        symmetric: whether the zero point is 0.
        reduce_range: whether weights keep to 7 of 8 bits.
        least_gain: layers that are estimated to gain less stay as they are, unless nothing is known of them.
    """

    selection: Selection = field(default_factory=Selection)
    per_channel: bool = True
    symmetric: bool = True
    reduce_range: bool = False
    least_gain: float = 0.0

    def refusal(self, node: Node) -> NoMatch | None:
        """Why a layer is left as it is whatever it is like, ``None`` if it is not."""
        if not self.selection.admits(node):
            return NoMatch("%r is excluded", layer_name(node))
        gain = dynamic_gain(node) if self.least_gain > 0 else None
        if gain is not None and gain < self.least_gain:
            return NoMatch("it is estimated to be %.2f times as fast", gain)
        return None

    def stored(
        self, weights: Array, axis: int, *, known: Quantization | None = None, symmetric: bool | None = None
    ) -> tuple[Array, Quantization] | NoMatch:
        """A float32 matrix as integers and their parameters, of one scale or one for each place along ``axis``.

        Args:
            weights: the matrix.
            axis: of the output channels.
            known: parameters that the weight has already (from GPTQ, say), kept where integer products have a kernel for them.
            symmetric: instead of what this says.
        """
        if not np.isfinite(weights).all():
            return NoMatch("weights have NaN or infinities")
        if known is not None and known.dtype in _BYTES and not known.block and known.axis in (None, axis):
            return quantized(weights, known), known
        symmetric = self.symmetric if symmetric is None else symmetric
        how = weight_quantization(
            weights,
            DType.INT8,
            axis=axis if self.per_channel else None,
            symmetric=symmetric,
            reduce_range=self.reduce_range,
        )
        return quantized(weights, how, symmetric=symmetric, reduce_range=self.reduce_range), how
