"""Statements about inner values from before the inputs were made dynamic.

Generated models showed it: ONNX Runtime gives two values one piece of memory when the file states equal shapes, and fails when the shapes
are not equal. An original with stale statements may run all the same, by luck, and its result, with other values beside each other, not.
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import graphopt
from tests.regressions.held import assert_kept, parse


def model():
    proto = parse(
        """main (uint32[2,N] x) => (uint32[A,B] y, uint32[A,B] z, uint32[A,B] w) <uint32 k = {3}, int64[1] s = {2}> {
            a = Split<axis=0>(x, s) b = Clip(x) y = Add(b, b) z = Div(a, k) w = Add(a, z)
        }""",
        opset=13,
    )
    proto.graph.value_info.extend(helper.make_tensor_value_info(name, 12, [2, 0]) for name in ("a", "b"))
    return proto


def test_memory_planned_by_stale_statements():
    assert_kept(model(), {"x": np.ones((2, 1), np.uint32)}, {"x": np.ones((2, 4), np.uint32)})


def test_only_confirmed_sizes_stay_stated():
    result = graphopt.optimize(model(), level="O1", check=False).proto
    (stated,) = [info.type.tensor_type.shape for info in result.graph.value_info if info.name == "b"]
    assert ["dim_value", None] == [dim.WhichOneof("value") for dim in stated.dim]


@pytest.mark.parametrize("sizes", ["2", "N"])
def test_statements_about_operators_that_nobody_infers(sizes):
    """They are all that is known, but their numbers may be left over, too."""
    proto = parse(f"main (float[{sizes}] x) => (int64[1] z) {{ a = com.microsoft.Gelu(x) z = Shape(a) }}", opset=21)
    proto.opset_import.add(domain="com.microsoft", version=1)
    proto.graph.value_info.append(helper.make_tensor_value_info("a", 1, [2]))
    feeds = [{"x": np.ones(size, np.float32)} for size in ((2,) if sizes == "2" else (2, 5))]
    assert_kept(proto, *feeds)
    ops = [node.op_type for node in graphopt.optimize(proto, check=False).proto.graph.node]
    assert (["Identity"] if sizes == "2" else ["Gelu", "Shape"]) == ops
