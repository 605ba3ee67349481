"""A metric of a user."""

from __future__ import annotations

import numpy as np

__all__ = ["mean_error"]


class MeanError:
    """Mean absolute difference from the reference."""

    smaller_is_better = True

    def __call__(self, outputs, expected):
        return float(np.mean([np.abs(outputs[name] - expected[name]).mean() for name in outputs]))


mean_error = MeanError()
