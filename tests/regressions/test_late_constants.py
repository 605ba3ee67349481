"""What a fusion makes constant is used by the rules that ran before it, in one run of a level."""

from __future__ import annotations

import numpy as np

import graphopt
from tests.transforms.harness import model


def test_a_zero_that_is_free_to_be_folded_late_is_dropped() -> None:
    """Two layers of a ConvNeXt share zeros; their reshaped copy is folded when the bias is gone, and then the sum is one too many."""
    rng = np.random.default_rng(0)
    proto = model(
        "c = Conv(x, w, zeros) r = Reshape(zeros, shape) s = Relu(c) t = Add(s, r) y = Conv(t, v)",
        "float[1,3,5,5] x",
        opset=17,
        initializers={
            "w": rng.normal(size=(640, 3, 1, 1)).astype(np.float32),
            "v": rng.normal(size=(4, 640, 1, 1)).astype(np.float32),
            "zeros": np.zeros(640, np.float32),
            "shape": np.array([1, 640, 1, 1], np.int64),
        },
    )
    result = graphopt.optimize(proto)
    assert {"Conv": 2, "Relu": 1} == dict(result.report.ops_after)
