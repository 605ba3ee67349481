"""Functions that are called with tensors of several types and sizes, while the file states those of one call."""

from __future__ import annotations

import numpy as np
import onnx.parser
from onnx import helper

import graphopt
from tests.regressions.held import assert_kept


def test_stated_types_inside_a_function():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        main (float[2,3] x, double[4,3] z) => (float[A,B] y, double[C,D] w) { y = local.F(x) w = local.F(z) }
        <domain: "local", opset_import: ["" : 21]> F (x) => (y) {
            s = Shape(x) a = Reshape(x, s) c = CastLike(a, x) t = Constant<value_ints=[2, 3]>() u = Expand(c, s) y = Neg(u)
        }"""
    )
    infos = [helper.make_tensor_value_info(name, 1, [2, 3]) for name in ("x", "a", "c", "u", "y")]
    model.functions[0].value_info.extend(infos)
    assert_kept(model, {"x": np.ones((2, 3), np.float32), "z": np.ones((4, 3))})
    kept = graphopt.optimize(model, pipeline="canonicalize,fold-shapes", check=False).proto.functions[0].node
    assert [node.op_type for node in kept if node.op_type != "Constant"] == [
        "Shape",
        "Reshape",
        "CastLike",
        "Expand",
        "Neg",
    ]
