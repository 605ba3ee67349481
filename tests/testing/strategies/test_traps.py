"""What ends the process, tests and all, is not run: the lowest integer divided by -1, and Split into parts that have no output.

Found when models ended the run of pytest: one for drop-neutral-operand (Div of int64, a wild input, a constant with a -1 in it), and a near
miss of eliminate-concat-of-split (two outputs, ``num_outputs = 1``).
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx.parser import parse_model

from graphopt.testing.strategies.traps import may_trap

LOWEST = {"x": np.array([np.iinfo(np.int64).min], np.int64)}
CALM = {"x": np.array([-5], np.int64)}
BRANCH = "() => (int64[1] p) { p = Div(x, x) }"


def model(nodes, constants="", kind="int64", opset=17):
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({kind}[1] x) => ({kind}[1] y) <{constants}> {{ {nodes} }}'
    return parse_model(text)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ("y = Div(x, c)", "int64[1] c = {-1}"),
        ("y = Mod(x, c)", "int64[1] c = {-1}"),
        ("c = Constant<value_int = -1>() y = Div(x, c)", ""),
        ("c = Neg(x) y = Div(x, c)", ""),
        (f"t = Constant<value = bool {{1}}>() y = If(t) <then_branch = a {BRANCH}, else_branch = b {BRANCH}>", ""),
    ],
)
def test_divisions_by_what_may_be_minus_one_are_told(nodes, constants):
    assert may_trap(model(nodes, constants), [LOWEST])
    assert may_trap(model(nodes, constants), [CALM, LOWEST])
    assert not may_trap(model(nodes, constants), [CALM])


@pytest.mark.parametrize(
    ("nodes", "constants", "kind"),
    [
        ("y = Mul(x, c)", "int64[1] c = {-1}", "int64"),
        ("y = Div(x, c)", "int64[1] c = {-2}", "int64"),
        ("y = Div(x, c)", "float[1] c = {-1}", "float"),
        ("y = Div(x, x)", "", "float"),
        ("y = Div(x, x)", "", "uint32"),
    ],
)
def test_other_divisions_are_run(nodes, constants, kind):
    huge = {"x": np.full([1], 3e9, {"int64": np.int64, "float": np.float32, "uint32": np.uint32}[kind])}
    assert not may_trap(model(nodes, constants, kind), [huge])


def test_what_a_caller_may_override_may_be_minus_one():
    found = model("y = Div(x, c)", "int64[1] c = {2}")
    assert not may_trap(found, [LOWEST])
    found.graph.input.add().CopyFrom(found.graph.input[0])
    found.graph.input[1].name = "c"
    assert may_trap(found, [LOWEST])


def test_casts_of_infinity_are_the_lowest_integer():
    found = model("i = Cast<to = 7>(x) j = Neg(i) k = Div(i, j) y = Cast<to = 1>(k)", kind="float")
    assert may_trap(found, [{"x": np.array([np.inf], np.float32)}])
    assert not may_trap(found, [{"x": np.array([2.5], np.float32)}])


@pytest.mark.parametrize(("parts", "outputs", "traps"), [(1, "y, z", True), (3, "y, z", True), (2, "y, z", False)])
def test_splits_have_as_many_parts_as_outputs(parts, outputs, traps):
    assert traps == may_trap(model(f"{outputs} = Split<axis = 0, num_outputs = {parts}>(x)", opset=20), [CALM])
