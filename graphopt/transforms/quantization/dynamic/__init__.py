"""Dynamic quantization: weights are stored as int8, activations are quantized as they come; no data is needed."""

from __future__ import annotations

from graphopt.transforms.quantization.dynamic.gain import dynamic_gain, product_gain
from graphopt.transforms.quantization.dynamic.quantize_dynamic import QuantizeDynamic
from graphopt.transforms.quantization.dynamic.refusal import why_not_dynamic
from graphopt.transforms.quantization.dynamic.split_outliers import SplitOutliers, outlying_columns

__all__ = ["QuantizeDynamic", "SplitOutliers", "dynamic_gain", "outlying_columns", "product_gain", "why_not_dynamic"]
