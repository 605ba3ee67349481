"""Weight-only quantization: weights are stored as integers of 8 or 4 bits, arithmetic stays in floats."""

from __future__ import annotations

from graphopt.transforms.quantization.weight_only.balancing import balanced
from graphopt.transforms.quantization.weight_only.gain import weight_only_gain
from graphopt.transforms.quantization.weight_only.pack_matmul_nbits import PackMatmulNbits
from graphopt.transforms.quantization.weight_only.quantize_weights import QuantizeWeights
from graphopt.transforms.quantization.weight_only.round_weights import RoundWeights
from graphopt.transforms.quantization.weight_only.rounding import rounded_weights

__all__ = ["PackMatmulNbits", "QuantizeWeights", "RoundWeights", "balanced", "rounded_weights", "weight_only_gain"]
