"""What ONNX Runtime's profiler wrote, read; kernels mapped back to nodes; nodes told by kind of work."""

from __future__ import annotations

import onnx
import pytest
from onnx.parser import parse_model

from graphopt.runtime.profiling import Advice, Kernel, group_by
from graphopt.runtime.profiling_nodes import match_kernels
from graphopt.runtime.profiling_ort import KernelNode, RawProfile, median_run, read_events
from graphopt.runtime.profiling_patterns import kind_of, spelt_patterns
from graphopt.serde import lift_model


def node_event(name: str, start: int, length: int, op: str = "Add") -> dict[str, object]:
    details = {"op_name": op, "output_type_shape": [{"float": [2, 3]}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": length, "args": details}


def run_event(start: int, length: int) -> dict[str, object]:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": length}


def test_events_of_runs_are_told_apart_and_what_ran_inside_is_not_counted_twice() -> None:
    """A kernel of a branch lies inside of its If; session events and fences are no kernels."""
    events = [
        run_event(100, 100),
        node_event("if", 110, 50, "If"),
        node_event("inner", 120, 30),
        node_event("last", 170, 20),
        {"cat": "Node", "name": "if_fence_before", "ts": 105, "dur": 0},
        run_event(300, 50),
        node_event("last", 310, 30),
    ]
    first, second = read_events(events)
    assert [("if", 20, 0), ("inner", 30, 1), ("last", 20, 0)] == [
        (event.name, round(event.own * 1e6), event.depth) for event in first
    ]
    assert (50, 10) == (round(first[0].seconds * 1e6), round(first[0].start * 1e6))
    assert ["last"] == [event.name for event in second]
    assert "float[2,3]" == second[0].shape
    assert 1 == median_run(RawProfile((first, second), (1e-4, 1e-4)))


MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4,8,8] x, float[4,4,1,1] w, float[4,4,1,1] v) => (float[1,4,8,8] y)
<float three = {3}, float zero = {0}, float six = {6}> {
  c = Conv(x, w)
  a = Add(c, three) l = Clip(a, zero, six) m = Mul(c, l) h = Div(m, six)
  r = Conv(h, v) y = Relu(r)
}"""


def lifted(text: str = MODEL):
    proto = parse_model(text)
    return lift_model(proto)


def test_kernels_stand_for_what_is_between_them() -> None:
    """Names of values, lent names, and reorders that are there for a neighbour."""
    kernels = [
        KernelNode("c_nchwc", "com.microsoft.nchwc::Conv", ("t0", "w0"), ("t1",)),
        KernelNode("out", "com.microsoft.nchwc::ReorderOutput", ("t1",), ("c",)),
        KernelNode("hs", "HardSwish", ("c",), ("h",)),
        KernelNode("in", "com.microsoft.nchwc::ReorderInput", ("h",), ("t2",)),
        KernelNode("y_nchwc", "com.microsoft.nchwc::Conv", ("t2", "v0"), ("t3",)),
        KernelNode("out2", "com.microsoft.nchwc::ReorderOutput", ("t3",), ("y",)),
    ]
    standing, beside = match_kernels(kernels, lifted())
    names = {name: sorted(node.output.name for node in nodes) for name, nodes in standing.items() if nodes}
    assert {"c_nchwc": ["c"], "hs": ["a", "h", "l", "m"], "y_nchwc": ["r", "y"]} == names
    assert ["a", "h", "l", "m"] == sorted(node.output.name for node in beside["out"])
    assert ["a", "h", "l", "m"] == sorted(node.output.name for node in beside["in"])


def test_activation_in_a_kernel_takes_the_nodes_behind_it() -> None:
    """ONNX Runtime names such a kernel after the convolution."""
    kernels = [
        KernelNode("c_nchwc", "com.microsoft.nchwc::Conv", ("t0",), ("t1",), activation="HardSwish"),
        KernelNode("y_nchwc", "com.microsoft.nchwc::Conv", ("t1",), ("t3",), activation="Relu"),
    ]
    standing, _ = match_kernels(kernels, lifted())
    assert ["a", "c", "h", "l", "m"] == sorted(node.output.name for node in standing["c_nchwc"])
    assert ["r", "y"] == sorted(node.output.name for node in standing["y_nchwc"])


@pytest.mark.parametrize(
    ("body", "anchor", "kind"),
    [
        ("a = Add(x, three) l = Clip(a, zero, six) m = Mul(x, l) y = Div(m, six)", "l", "hardswish spelt out"),
        ("a = Div(x, six) e = Erf(a) o = Add(e, three) m = Mul(x, o) y = Mul(m, six)", "e", "gelu spelt out"),
        ("s = Sigmoid(x) y = Mul(x, s)", "s", "silu spelt out"),
        ("s = Sigmoid(x) y = Mul(s, six)", "s", "activation"),
        ("l = Clip(x, zero, six) y = Neg(l)", "l", "activation"),
        (
            "u = ReduceMean(x) d = Sub(x, u) q = Mul(d, d) v = ReduceMean(q) e = Add(v, three) s = Sqrt(e) y = Div(d, s)",
            "d",
            "normalization spelt out",
        ),
        (
            "k = Transpose<perm=[0,1,3,2]>(x) p = MatMul(x, k) s = Softmax(p) y = MatMul(s, x)",
            "p",
            "attention spelt out",
        ),
        ("s = Softmax(x) y = Neg(s)", "s", "softmax"),
    ],
)
def test_kinds_of_work(body: str, anchor: str, kind: str) -> None:
    """What one operator could do is told by the pattern; the rest by the operator."""
    text = (
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,4,8,8] x) => (float[1,4,8,8] y) '
        f"<float three = {{3}}, float zero = {{0}}, float six = {{6}}> {{ {body} }}"
    )
    onnx.checker.check_model(parse_model(text))
    model = lifted(text)
    node = next(node for node in model.graph.nodes if node.output.name == anchor)
    assert kind == kind_of(node.op, [node], spelt_patterns(model))


def test_kernels_that_the_runtime_fused_are_what_they_are() -> None:
    """A kernel of several nodes is no longer spelt out."""
    model = lifted()
    nodes = [node for node in model.graph.nodes if node.output.name in "almh"]
    assert "activation" == kind_of("HardSwish", nodes, spelt_patterns(model))
    assert "layout change" == kind_of("com.microsoft.nchwc::ReorderInput", nodes, spelt_patterns(model))


def test_groups_add_up_and_name_the_advice_for_most_time_first() -> None:
    """A remark stands where no rewrite would help."""
    first, second = Advice("a", "p", "O2"), Advice("b", "q", "O3")
    kernels = [
        Kernel("1", "Add", 2.0, 0.5, 1, "elementwise", advice=(first,)),
        Kernel("2", "Add", 1.5, 0.375, 1, "elementwise", advice=(second,)),
        Kernel("3", "Conv", 0.5, 0.125, 1, "convolution"),
    ]
    groups = group_by(kernels, lambda kernel: kernel.pattern, lambda name: f"about {name}")
    assert [("elementwise", 3.5, 2, (first, second), ""), ("convolution", 0.5, 1, (), "about convolution")] == [
        (group.name, group.seconds, group.kernels, group.advice, group.remark) for group in groups
    ]
    assert "a (p, O2)" == str(first)
