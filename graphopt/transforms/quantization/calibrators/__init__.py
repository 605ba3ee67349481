"""What finds the range of a tensor from data: extremes, averages, percentiles, and the best of what a histogram allows.

Import from here, not from the modules inside. May import everything up to ``graphopt.passes``.
"""

from __future__ import annotations

from graphopt.transforms.quantization.calibrators.auto import Auto
from graphopt.transforms.quantization.calibrators.entropy import Entropy
from graphopt.transforms.quantization.calibrators.histogram import Histogram
from graphopt.transforms.quantization.calibrators.min_max import MinMax
from graphopt.transforms.quantization.calibrators.moving_average import MovingAverage
from graphopt.transforms.quantization.calibrators.mse import MeanSquaredError
from graphopt.transforms.quantization.calibrators.percentile import Percentile

__all__ = ["Auto", "Entropy", "Histogram", "MeanSquaredError", "MinMax", "MovingAverage", "Percentile"]
