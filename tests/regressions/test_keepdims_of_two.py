"""ReduceMin with ``keepdims = 2`` drops axes in ONNX Runtime, which keeps them for 1 only; eliminate-reduction took anything but 0 for 1.

A near miss of eliminate-reduction showed it: any other integer is one of the values that a schema allows.
"""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.testing import assert_equivalent, assert_no_rewrite
from tests.regressions.held import assert_kept, parse

X = np.arange(6, dtype=np.int64).reshape(3, 1, 2)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("op", ["ReduceMin", "ReduceMax", "ReduceSum", "ReduceMean"])
def test_nothing_is_said_about_keepdims_of_two(op, opset):
    by_input = opset >= 18 or op == "ReduceSum"
    axes = ("", ", a") if by_input else (", axes = [1]", "")
    kind = "float" if op == "ReduceMean" else "int64"
    model = parse(f"main ({kind}[3, 1, 2] x) => ({kind}[?, ?] y) <int64[1] a = {{1}}> "
                  f"{{ y = {op} <keepdims = 2{axes[0]}> (x{axes[1]}) }}", opset=opset)  # fmt: skip
    for name in ("canonicalize", "canonicalize-algebra"):
        assert_no_rewrite(name, model, because="keepdims is 2" if (op == "ReduceMean") == (name[-1] == "a") else "")
    assert_kept(model, {"x": X.astype(np.float32 if op == "ReduceMean" else np.int64)})


@pytest.mark.parametrize("flag", [0, 1, 2])
def test_constants_are_reduced_as_onnx_runtime_does(flag):
    shape = "[1, 2]" if flag == 1 else "[2]"
    model = parse(f"main () => (int64{shape} y) <int64[3, 2] x = {{1, 2, 3, 4, 5, 6}}, int64[1] a = {{0}}> "
                  f"{{ y = ReduceSum <keepdims = {flag}> (x, a) }}", opset=17)  # fmt: skip
    assert assert_equivalent("fold-constants", model).changed
