"""Attributes that refer to one of the surrounding function, on the way from an input.

A generated model showed it: where the check looks for good inputs it follows what becomes of them, into functions too, and asked a Flatten
there for its axis, which only a call of the function states. The command ended as a bug.
"""

from __future__ import annotations

import numpy as np
from onnx.parser import parse_model

import graphopt


def test_a_model_whose_function_has_a_referring_attribute_is_checked():
    model = parse_model(
        """<ir_version: 8, opset_import: ["": 17, "local": 1]>
        main (float[2,3] x) => (float[?,?] y) { y = local.F<knob: int = 0>(x) }
        <domain: "local", opset_import: ["": 17]> F<knob>(a) => (b) { b = Flatten<axis: int = @knob>(a) }"""
    )
    result = graphopt.optimize(model)
    verdict = result.report.verdict
    assert verdict is not None
    assert verdict.ok
    with graphopt.Session(result) as session:
        y = session.run({"x": np.zeros((2, 3), np.float32)})["y"]
    assert isinstance(y, np.ndarray)
    assert (1, 6) == y.shape
