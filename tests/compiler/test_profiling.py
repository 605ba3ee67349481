"""A profile of real runs: kernels, shares, nodes of the original, and what optimizing would change."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import graphopt
from graphopt.compiler.profiling import profile
from graphopt.data import digits_model
from graphopt.errors import ExecutionError
from graphopt.runtime.profiling import Profile


def hardswish_between_convolutions() -> ModelProto:
    """Two convolutions with hardswish spelt out between them, as Paddle exports it."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(16, 16, 3, 3)),
        "v": rng.normal(size=(16, 16, 1, 1)),
        "three": np.array(3.0),
        "zero": np.array(0.0),
        "six": np.array(6.0),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["c", "three"], ["a"], "add"),
        helper.make_node("Clip", ["a", "zero", "six"], ["l"], "clip"),
        helper.make_node("Mul", ["c", "l"], ["m"], "mul"),
        helper.make_node("Div", ["m", "six"], ["h"], "div"),
        helper.make_node("Conv", ["h", "v"], ["y"], "conv2"),
    ]
    image = [1, 16, 32, 32]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, image)],
        [helper.make_tensor_value_info("y", 1, image)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@functools.cache
def spelt() -> Profile:
    return profile(hardswish_between_convolutions(), runs=5)


def test_shares_add_up_and_the_timeline_is_of_one_run() -> None:
    """Kernels are sorted; every span points to one."""
    found = spelt()
    assert (5, 1, "onnxruntime") == (found.runs, found.threads, found.backend)
    assert pytest.approx(1) == sum(kernel.share for kernel in found.kernels)
    assert pytest.approx(1) == sum(group.share for group in found.by_pattern)
    assert pytest.approx(1) == sum(group.share for group in found.by_op)
    assert sorted((kernel.seconds for kernel in found.kernels), reverse=True) == [k.seconds for k in found.kernels]
    assert {span.kernel for span in found.timeline} == set(range(len(found.kernels)))
    assert found.wall_seconds > 0 < found.profiled_seconds


def test_spelt_out_hardswish_and_its_rule_are_named() -> None:
    """The nodes are told as what they are together, and so is what would make them one."""
    found = spelt()
    nodes = {name for kernel in found.kernels for name in kernel.nodes}
    assert {"conv1", "add", "clip", "mul", "div", "conv2"} == nodes
    group = next(group for group in found.by_pattern if group.name == "hardswish spelt out")
    assert "fuse-hard-swish" in [advice.rule for advice in group.advice]
    assert not any(advice.pass_name == "deduplicate-constants" for advice in group.advice)


@pytest.mark.parametrize("ir_version", [8, 10])
def test_what_graphopt_made_is_led_back_to_the_original(tmp_path: Path, ir_version: int) -> None:
    """Lineage is in memory, and in files that have a place for it; nothing is left that would change the hardswish."""
    source = hardswish_between_convolutions()
    source.ir_version = ir_version
    made = graphopt.optimize(source, check=False)
    made.save(tmp_path / "made.onnx")
    found = profile(made if ir_version < 10 else tmp_path / "made.onnx", runs=3)
    names = {name for kernel in found.kernels for name in (*kernel.nodes, *kernel.origins)}
    assert {"conv1", "clip", "mul", "conv2"} <= names
    assert not [group for group in found.by_pattern if group.name == "hardswish spelt out"]


def test_what_the_runtime_fuses_itself_is_no_advice() -> None:
    """Conv and Relu of the digits model are one kernel already."""
    found = profile(digits_model(), runs=2, inputs={"image": np.zeros((1, 1, 8, 8), np.float32)})
    convolutions = [kernel for kernel in found.kernels if kernel.pattern == "convolution"]
    assert convolutions
    assert not any(advice.rule == "fold-batch-norm" for kernel in convolutions for advice in kernel.advice)
    quiet = profile(digits_model(), runs=2, sizes={"batch": 3}, advise=False)
    assert not any(group.advice or group.remark for group in quiet.by_pattern)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"runs": 0}, "runs is 0, expected 1 or more"),
        ({"threads": 0}, "threads is 0, expected 1 or more"),
        ({"inputs": {"picture": np.zeros(3)}}, "image"),
        ({"sizes": {"width": 3}}, "no dynamic size 'width'"),
    ],
)
def test_what_can_not_be_profiled(arguments: dict[str, object], said: str) -> None:
    """One line that says why."""
    with pytest.raises(ExecutionError, match=said):
        profile(digits_model(), **arguments)  # type: ignore[arg-type]  # on purpose


def test_branches_are_profiled_without_being_counted_twice() -> None:
    """A kernel inside an If lies one deeper."""
    text = """<ir_version: 8, opset_import: ["": 17]> g (bool c, float[64,64] x) => (float[64,64] y) {
      y = If (c) <then_branch = t () => (float[64,64] a) { a = MatMul(x, x) }, else_branch = e () => (float[64,64] b) { b = Neg(x) }>
    }"""
    feeds = {"c": np.array(True), "x": np.ones((64, 64), np.float32)}
    found = profile(onnx.parser.parse_model(text), runs=3, inputs=feeds)
    assert {"If", "MatMul"} == {kernel.op for kernel in found.kernels}
    assert {0, 1} == {span.depth for span in found.timeline}
    assert pytest.approx(1) == sum(kernel.share for kernel in found.kernels)
