"""Where the error between two models starts, and how it grows: both are evaluated at values that correspond, in bounded memory.

Import from here, not from the modules inside. May import everything up to ``graphopt.runtime``; models run in a child process, so this
process loads no runtime.
"""

from __future__ import annotations

from graphopt.verify.attribution.comparison import LayerOptions, compare_layers
from graphopt.verify.attribution.result import Layer, LayerComparison, LayerError, Start, Step

__all__ = ["Layer", "LayerComparison", "LayerError", "LayerOptions", "Start", "Step", "compare_layers"]
