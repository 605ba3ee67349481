"""A drawn model is shown as text, wherever it is shown."""

from __future__ import annotations

import numpy as np
from hypothesis.vendor.pretty import pretty
from onnx.parser import parse_model

from graphopt.testing import GeneratedModel

TEXT = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'


def test_examples_are_shown_as_onnx_text():
    model = GeneratedModel(parse_model(TEXT), ({"x": np.zeros(3, np.float32)},), change="opset 17")
    for shown in (repr(model), pretty(model)):
        assert "y = Relu (x)" in shown
        assert "feeds[0]: x float32[3]" in shown
        assert "change: opset 17" in shown
        assert "GraphProto(" not in shown


def test_each_lift_is_another_one():
    model = GeneratedModel(parse_model(TEXT))
    assert model.ir is not model.ir
    assert 17 == model.opset
    assert not model.is_wild
