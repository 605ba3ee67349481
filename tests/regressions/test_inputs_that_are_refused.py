"""ONNX Runtime refused all inputs that the check made up, and the reference evaluator, which looks at no shapes, was asked instead.

The weights of an RNN came in as an input of unknown sizes. The reference evaluator took 8 rows of weights for one hidden number, gave 8
back, and six right rewrites were left out because the result said 1, as the attribute does.
"""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.errors import VerificationError
from graphopt.verify import expect
from tests.regressions.held import parse

MODEL = """main (float[?, ?, ?] w) => (float[?, ?, ?] z) <
  float[1, 6, 2] x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[1, 1, 1] r = {0.5}, int64[3] ones = {1, 1, 1}
> {
  a, y = RNN <hidden_size = 1> (x, w, r)
  s = Shape (y)
  t = Mul (s, ones)
  z = Expand (y, t)
}"""
WEIGHTS = np.array([[[0.5, -1]]], np.float32)


def test_nothing_is_said_about_inputs_that_onnx_runtime_refuses():
    found = expect(parse(MODEL))
    assert not found.samples
    assert "Input W must have shape {1,1,2}" in found.reason


def test_no_rewrite_is_left_out():
    result = graphopt.optimize(parse(MODEL), inputs={"w": WEIGHTS})
    assert result.report.verdict is not None
    assert ("ok", ()) == (result.report.verdict.status, tuple(result.report.skipped))
    with pytest.raises(VerificationError, match="bring some"):
        graphopt.optimize(parse(MODEL))
