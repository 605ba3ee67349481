"""Ranks that a file states of inner values.

A generated model showed it: Squeeze without axes gives another rank when another size of the input is 1, and what the file states was true
for the inputs at export only.
"""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.regressions.held import assert_kept, parse


def test_rank_after_a_squeeze_of_all():
    model = parse(
        "main (int64[A,B,C] x) => (int64[] y) { a = Squeeze(x) b = Unsqueeze<axes=[0]>(a) y = Unsqueeze<axes=[1]>(b) }",
        opset=11,
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.value_info.append(helper.make_tensor_value_info("b", 7, [1]))
    assert_kept(model, {"x": np.full((1, 1, 1), 3)}, {"x": np.full((2, 1, 1), 3)})
