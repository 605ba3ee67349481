"""MaxPool with indices that nobody reads.

A generated model showed it: ONNX Runtime has one kernel with and one without indices, and they take NaN and negative infinity otherwise,
so dropping the output changes numbers.
"""

from __future__ import annotations

import numpy as np

from tests.regressions.held import assert_kept, parse


def test_unread_indices_stay():
    model = parse("main (float[1,1,6] x) => (float[A,B,C] y) { y, i = MaxPool<kernel_shape=[2]>(x) }")
    x = np.array([np.nan, 1, -np.inf, -np.inf, 2, np.nan], np.float32).reshape(1, 1, 6)
    assert_kept(model, {"x": x}, levels=["O1"])
