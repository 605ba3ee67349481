"""Functions that have the name of a standard operator: ONNX Runtime runs the operator, so nothing may be inlined."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from tests.regressions.held import assert_kept


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_calls_of_a_function_named_relu(domain):
    op = f"{domain}.Relu" if domain else "Relu"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> main (float[2] x) => (float[2] y) {{ a = {op}(x) y = {op}(a) }}
        <domain: "{domain}", opset_import: ["" : 17]> Relu (x) => (y) {{ o = Constant<value_float=1.0>() y = Add(x, o) }}"""
    )
    assert_kept(model, {"x": np.array([-1, 2], np.float32)})
