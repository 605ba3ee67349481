from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType, GraphBuilder, Model
from graphopt.passes import PassContext
from graphopt.rewriting import Applications
from graphopt.transforms.constant_folding import FoldConstants
from tests.transforms.whole_graph import Outcome, context, optimize, parse

X = {"x": np.array([[-1.5, 0.0, 2.0]], np.float32)}


def f32(items: object) -> npt.NDArray[np.float32]:
    return np.array(items, np.float32)


class Watched:
    """An executor that counts runs and refuses operators."""

    def __init__(self, *refused: str) -> None:
        self.inner = context().executor
        self.refused = refused
        self.runs = 0
        self.nodes: list[int] = []

    def run(self, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        self.nodes.append(len(model.graph.nodes))
        for node in model.graph.walk():
            if node.op in self.refused:
                raise ExecutionError(f"no kernel for {node.op}")
        assert self.inner is not None
        return self.inner.run(model, feeds)


def graph(
    body: str, constants: str = "", *, inputs: str = "float[1, 3] x", outputs: str = "float[1, 3] y", opset: int = 17
) -> str:
    return f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        g ({inputs}) => ({outputs}) {f"<{constants}>" if constants else ""} {{ {body} }}"""


def fold(text: str, feeds: Any = None, step: FoldConstants | None = None, **arrays: Any) -> Outcome:
    """Fold a model from text with more constants; ``feeds`` are one input unless given."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend([numpy_helper.from_array(np.asarray(item), name) for name, item in arrays.items()])
    return optimize(model, step or FoldConstants(), X if feeds is None else feeds)


def watched(text: str, *refused: str, **arrays: Any) -> tuple[Outcome, Watched]:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend([numpy_helper.from_array(np.asarray(item), name) for name, item in arrays.items()])
    ctx = context()
    ctx.executor = executor = Watched(*refused)
    return optimize(model, FoldConstants(), X, ctx=ctx, twice=False), executor


def test_float_regions_are_computed_in_one_run():
    body = "a = Exp (w)  b = Sqrt (a)  c = Sin (v)  d = Mul (x, b)  y = Add (d, c)"
    found, executor = watched(graph(body), w=f32([1, 2, 3]), v=f32([4, 5, 6]))
    assert ["Mul", "Add"] == found.ops
    assert {"nodes": 2, "runs": 1} == dict(found.result.stats)
    assert [3] == executor.nodes
    assert {"b", "c"} == set(found.constants)


def test_integers_and_moved_data_need_no_executor():
    body = """
        s = Shape (w)  one = Gather (s, i)  more = Add (one, one)  t = Unsqueeze (more, i0)  u = Concat <axis = 0> (i0, t)
        v = Expand (x, s2)  m = Transpose <perm = [1, 0]> (w)  y = Add (v, m)"""
    text = graph(body, "int64 i = {1}, int64[1] i0 = {0}, int64[2] s2 = {1, 3}", outputs="float[1, 3] y, int64[2] u")
    found, executor = watched(text, w=np.ones((3, 1), np.float32))
    assert ["Identity", "Expand", "Add"] == found.ops
    assert 0 == executor.runs
    assert "runs" not in found.result.stats


def test_a_folded_graph_output_keeps_its_name():
    found = fold(graph("y = Add (x, w)  z = Neg (w)", outputs="float[1, 3] y, float[3] z"), w=f32([1, 2, 3]))
    assert ["Add", "Identity"] == found.ops
    assert ["y", "z"] == [value.name for value in found.model.graph.outputs]


def test_a_result_with_several_users_is_one_constant():
    found = fold(graph("a = Neg (w)  b = Mul (x, a)  c = Add (b, a)  d = Exp (a)  y = Add (c, d)"), w=f32([1, 2, 3]))
    assert ["Mul", "Add", "Add"] == found.ops
    assert {"a", "d"} == set(found.constants)


def test_nothing_constant_means_nothing_done():
    assert not fold(graph("y = Add (x, w)"), w=f32([1, 2, 3])).result.changed


@pytest.mark.parametrize("ir_version", [3, 8])
def test_default_of_an_input_is_no_constant_since_ir_version_4(ir_version):
    model = onnx.parser.parse_model(graph("a = Neg (w)  y = Add (x, a)", inputs="float[1, 3] x, float[3] w", opset=9))
    model.graph.initializer.append(numpy_helper.from_array(f32([1, 2, 3]), "w"))
    model.ir_version = ir_version
    found = optimize(model, FoldConstants(), X)
    assert (["Add"] if ir_version == 3 else ["Neg", "Add"]) == found.ops


@pytest.mark.parametrize(
    "node",
    [
        "RandomNormalLike <seed = 1.0> (w)",
        "RandomUniform <shape = [3], seed = 1.0> ()",
        "Bernoulli (w)",
        "Multinomial <seed = 1.0, dtype = 7> (w2)",
        "Dropout (w, half, true)",
        "Dropout (w)",
    ],
)
def test_random_operators_stay(node):
    body = f"a = {node}  b = Cast <to = 1> (a)  c = ReduceMax <keepdims = 0> (b)  y = Add (x, c)"
    model = onnx.parser.parse_model(graph(body, "float half = {0.5}, bool true = {1}"))
    arrays: dict[str, Any] = {"w": f32([0.5, 0.5, 0.5]), "w2": f32([[0.5, 0.5]])}
    model.graph.initializer.extend([numpy_helper.from_array(item, name) for name, item in arrays.items()])
    assert not optimize(model, FoldConstants()).result.changed


def test_unknown_operators_and_calls_of_functions_stay():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "my": 1, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}> {
            a = my.Thing (w)  b = f.act (w)  c = Neg (w)  y = Sum (x, a, b, c)
        }
        <domain: "f", opset_import: ["": 17]>
        act (a) => (b) { b = Relu (a) }""")
    assert ["my::Thing", "f::act", "Sum"] == optimize(model, FoldConstants()).ops


def test_quantized_weights_stay_quantized():
    body = "q = QuantizeLinear (w, s, z)  d = DequantizeLinear (q, s, z)  y = MatMul (x, d)"
    weights = np.linspace(-1, 1, 900, dtype=np.float32).reshape(3, 300)
    found = fold(graph(body, "float s = {0.01}, int8 z = {0}", outputs="float[1, 300] y"), w=weights)
    assert ["DequantizeLinear", "MatMul"] == found.ops
    assert np.int8 == found.constants["q"].dtype


# -- growth -------------------------------------------------------------------------------------------------------------------------


def test_generators_keep_what_they_are_made_of_and_their_shape_is_folded():
    body = """
        s = Concat <axis = 0> (a, b)  w = ConstantOfShape (s)  n = ReduceSum <keepdims = 0> (w)
        z = MatMul (x, w)  y = Add (z, n)"""
    text = graph(body, "int64[1] a = {3}, int64[1] b = {100}", outputs="float[1, 100] y")
    found, executor = watched(text)
    assert ["ConstantOfShape", "MatMul", "Add"] == found.ops
    assert [3, 100] == found.constants["s"].tolist()
    assert 0 == found.constants["n"]
    assert 1 == executor.runs


@pytest.mark.parametrize(
    "node",
    [
        "ConstantOfShape (s)",
        "Expand (w, s)",
        "Tile (w, s)",
        "Cast <to = 1> (w8)",
        "Range (zero, k, one)",
        "OneHot (i, k, v)",
        "Pad (w, p)",
    ],
)
def test_results_that_take_more_bytes_stay(node):
    constants = (
        "int64[2] s = {1, 3000}, int64[4] p = {0, 0, 0, 3000}, int64 zero = {0}, int64 one = {1}, int64 k = {3000}"
    )
    text = graph(
        f"a = {node}  b = Cast <to = 1> (a)  c = ReduceSum <keepdims = 0> (b)  d = Mul (x, c)  e = Identity (a)  y = Relu (d)",
        constants,
    )
    text = text.replace(
        "float[1, 3] y", "float[1, 3] y, float[q, r] e" if "Range" not in node else "float[1, 3] y, int64[q] e"
    )
    model = onnx.parser.parse_model(text)
    for info in model.graph.output[1:]:
        info.CopyFrom(onnx.ValueInfoProto(name="e"))
    arrays: dict[str, Any] = {
        "w": np.ones((1, 1), np.float32),
        "w8": np.ones((60, 60), np.int8),
        "i": np.arange(60),
        "v": f32([0, 1]),
    }
    model.graph.initializer.extend([numpy_helper.from_array(item, name) for name, item in arrays.items()])
    found = optimize(model, FoldConstants(), X)
    assert node.split()[0] in found.ops
    assert "ReduceSum" not in found.ops
    assert found.proto.ByteSize() <= model.ByteSize()


def test_integer_weights_behind_cast_and_mul_do_not_grow():
    weights = np.arange(900, dtype=np.int32).astype(np.int8).reshape(3, 300)
    body = "f = Cast <to = 1> (w)  g = Mul (f, s)  y = MatMul (x, g)"
    assert not fold(graph(body, "float s = {0.01}", outputs="float[1, 300] y"), w=weights).result.changed


def test_a_weight_that_only_moves_is_folded():
    weights = np.arange(900, dtype=np.float32).reshape(300, 3)
    found = fold(graph("t = Transpose (w)  y = MatMul (x, t)", outputs="float[1, 300] y"), w=weights)
    assert ["MatMul"] == found.ops
    assert ["t"] == list(found.constants)


def test_a_weight_that_others_read_too_is_not_copied():
    weights = np.arange(900, dtype=np.float32).reshape(300, 3)
    body = "t = Transpose (w)  a = MatMul (x, t)  y = MatMul (a, w)"
    assert not fold(graph(body), w=weights).result.changed


def test_a_weight_that_two_results_share_is_not_copied():
    weights = np.arange(900, dtype=np.float32).reshape(300, 3)
    body = "t = Transpose (w)  a = MatMul (x, t)  u = Neg (w)  y = MatMul (a, u)"
    assert not fold(graph(body), w=weights).result.changed


def test_parts_of_a_weight_take_its_place():
    weights = np.arange(900, dtype=np.float32).reshape(3, 300)
    body = "a, b = Split <axis = 1> (w)  c = MatMul (x, a)  d = MatMul (x, b)  y = Add (c, d)"
    found = fold(graph(body, outputs="float[1, 150] y", opset=13), w=weights)
    assert ["MatMul", "MatMul", "Add"] == found.ops


def test_a_result_used_twice_frees_what_both_uses_needed():
    weights = np.arange(900, dtype=np.float32).reshape(3, 300)
    body = "a = Neg (w)  b = Exp (w)  c = Mul (a, b)  d = Mul (c, c)  y = MatMul (x, d)"
    assert ["MatMul"] == fold(graph(body, outputs="float[1, 300] y"), w=weights).ops


def test_growth_is_allowed_when_asked_for_up_to_a_share_of_the_model():
    text = graph(
        "a = MatMul (x, big)  e = ConstantOfShape (s)  y = Add (a, e)", "int64[1] s = {100}", outputs="float[1, 100] y"
    )
    for rows, step, count in [
        (3000, FoldConstants(), 1),
        (3000, FoldConstants(max_growth=10), 0),
        (3, FoldConstants(), 0),
    ]:
        feeds = {"x": np.ones((1, rows), np.float32)}
        found = fold(
            text.replace("x)", "x)").replace("[1, 3] x", f"[1, {rows}] x"),
            feeds,
            step,
            big=np.ones((rows, 100), np.float32),
        )
        assert count == found.result.stats.get("nodes", 0)


def test_all_results_that_would_grow_are_folded_or_none():
    parts = "".join(f"e{i} = ConstantOfShape (s{i})  a{i + 1} = Add (a{i}, e{i})  " for i in range(9))
    sizes = ", ".join(f"int64[1] s{i} = {{100}}" for i in range(9))
    text = graph(f"a0 = MatMul (x, big)  {parts} y = Relu (a9)", sizes, outputs="float[1, 100] y").replace(
        "[1, 3] x", "[1, 3000] x"
    )
    found = fold(text, {"x": np.ones((1, 3000), np.float32)}, big=np.ones((3000, 100), np.float32))
    assert not found.result.changed


def test_large_results_are_never_computed():
    body = "a = ConstantOfShape (s)  b = ReduceMean <keepdims = 0> (a)  y = Add (x, b)"
    text = graph(body, "int64[3] s = {100000, 100000, 100}")
    ctx = context()
    ctx.executor = executor = Watched()
    assert not optimize(parse(text), FoldConstants(), ctx=ctx).result.changed
    assert 0 == executor.runs
    medium = graph(body, "int64[1] s = {10000}")
    assert not fold(medium, step=FoldConstants(max_bytes=39999)).result.changed
    assert fold(medium, step=FoldConstants(max_bytes=40000)).result.changed


def test_fills_stay_made_however_much_the_model_may_grow():
    body = "a = ConstantOfShape (s)  b = {}  y = Add (x, b)"
    joined = graph(body.format("Concat <axis = 0> (a, c)"), "int64[1] s = {99}, float[1] c = {2}", inputs="float[n] x")
    lone = graph(body.format("Neg (a)"), "int64[1] s = {99}", inputs="float[n] x")

    def folded(text: str, feeds: int, max_fill: int) -> list[str]:
        step = FoldConstants(max_growth=1 << 20, max_share=0, max_fill=max_fill)
        found = fold(text.replace("float[1, 3] y", "float[m] y"), {"x": np.ones(feeds, np.float32)}, step=step)
        return [node.op for node in found.model.graph.nodes]

    assert ["Add"] == folded(joined, 100, 0), "what follows a fill is folded as it was"
    plain = lone.replace("b = Neg (a)  ", "").replace("Add (x, b)", "Add (x, a)")
    assert ["Add"] == folded(plain, 99, 1 << 20)
    assert ["ConstantOfShape", "Add"] == folded(plain, 99, 395)


def test_without_float_math_only_data_and_integers_are_folded():
    body = "a = Neg (w)  b = Transpose (w)  c = Add (i, i)  d = Cast <to = 1> (c)  e = Add (a, b)  f = Add (e, d)  y = Add (x, f)"
    model = parse(graph(body, "int64[3] i = {1, 2, 3}, float[3] w = {1, 2, 3}"))
    ctx = context()
    ctx.executor = executor = Watched()
    assert ["Neg", "Add", "Add", "Add"] == optimize(model, FoldConstants(float_math=False), X, ctx=ctx).ops
    assert 0 == executor.runs
    assert ["Neg", "Add", "Add", "Add"] == optimize(model, FoldConstants(), X, ctx=context(executor=False)).ops


# -- what an executor can't run -----------------------------------------------------------------------------------------------------


def test_an_operator_that_can_not_be_run_only_loses_itself():
    body = "a = Exp (w)  b = Sin (a)  c = Cos (b)  d = Neg (v)  e = Mul (x, c)  y = Add (e, d)"
    found, executor = watched(graph(body), "Sin", w=f32([1, 2, 3]), v=f32([4, 5, 6]))
    assert ["Sin", "Cos", "Mul", "Add"] == found.ops
    assert {"a", "d"} == set(found.constants)
    assert executor.runs <= 8
    assert 1 == found.result.stats["refused"]


def test_many_operators_that_can_not_be_run_cost_few_runs():
    b = GraphBuilder(opset=17)
    total = b.input("x", DType.FLOAT, [3])
    for index in range(200):
        weights = np.array([index, 1, 2], np.float32)
        total = b.op("Add", total, b.op("Sin" if index % 2 else "Exp", b.graph.add_constant(weights, "w")))
    b.output(total, "y")
    model = b.build()
    ctx = context()
    ctx.executor = executor = Watched("Sin")
    ctx.types.infer_model(model)
    stats = FoldConstants().run(model.graph, ctx).stats
    assert {"nodes": 100, "refused": 100} == {name: count for name, count in stats.items() if name != "runs"}
    assert executor.runs < 20


# -- values that are not plain float tensors ----------------------------------------------------------------------------------------


def test_strings_empty_tensors_and_nans():
    body = """
        t = Concat <axis = 0> (s, s)  u = Slice (t, one, three)
        e = Sqrt (empty)  n = Sqrt (minus)  f = Concat <axis = 0> (e, n)  y = Add (x, f)"""
    text = graph(body, "int64[1] one = {1}, int64[1] three = {3}", outputs="float[1, 3] y, string[2] u")
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a", "bc"], object), "s"))
    arrays: dict[str, Any] = {"empty": np.zeros(0, np.float32), "minus": f32([-1, 4, 9])}
    model.graph.initializer.extend([numpy_helper.from_array(item, name) for name, item in arrays.items()])
    found = optimize(model, FoldConstants(), X)
    assert ["Identity", "Add"] == found.ops
    assert np.isnan(found.constants["f"][0])


def test_results_of_narrow_types():
    body = "a = Cast <to = 16> (w)  c = Cast <to = 1> (a)  h = Cast <to = 10> (w)  i = Cast <to = 1> (h)  d = Add (c, i)  y = Add (x, d)"
    assert ["Add"] == fold(graph(body), w=f32([1.1, 2.2, 3.3])).ops


def test_what_a_sparse_constant_feeds_stays_when_it_would_be_larger():
    model = onnx.parser.parse_model(graph("a = Neg (w)  y = Add (x, a)").replace("[1, 3]", "[1, 3000]"))
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(f32([5]), "w"), numpy_helper.from_array(np.array([1]), "w_i"), [3000]
    )
    model.graph.sparse_initializer.append(sparse)
    assert not optimize(model, FoldConstants(), {"x": np.ones((1, 3000), np.float32)}).result.changed


def test_constant_nodes_are_read_where_they_stand():
    body = "w = Constant <value_floats = [1.0, 2.0, 3.0]> ()  a = Neg (w)  y = Add (x, a)"
    assert ["Add"] == fold(graph(body)).ops


def test_sequences_inside_the_region():
    body = "s = SequenceConstruct (w, v)  c = ConcatFromSequence <axis = 0> (s)  y = Add (x, c)"
    assert ["Add"] == fold(graph(body), w=f32([1]), v=f32([2, 3])).ops
    body = "s = SequenceConstruct (w, v)  n = SequenceLength (s)  y = Relu (x)"
    model = onnx.parser.parse_model(graph(body, outputs="float[1, 3] y, seq(float[1]) s, int64 n"))
    model.graph.initializer.extend([numpy_helper.from_array(f32([1]), name) for name in "wv"])
    assert ["SequenceConstruct", "Identity", "Relu"] == optimize(model, FoldConstants(), X).ops


def test_operators_with_a_broadcast_attribute_are_run():
    text = graph(
        "a = Add <broadcast = 1, axis = 0> (w, v)  y = Mul (x, a)",
        inputs="float[2, 3] x",
        outputs="float[2, 3] y",
        opset=6,
    )
    model = onnx.parser.parse_model(text)
    arrays: dict[str, Any] = {"w": np.ones((2, 3), np.float32), "v": f32([1, 2])}
    model.graph.initializer.extend([numpy_helper.from_array(item, name) for name, item in arrays.items()])
    assert optimize(model, FoldConstants()).result.stats.get("nodes", 0) in (0, 1)


# -- subgraphs and functions --------------------------------------------------------------------------------------------------------


def test_subgraphs_are_folded_with_captured_constants():
    body = """
        k = Exp (w)
        y = If (c) <
            then_branch = t () => (float[1, 3] p) { a = Neg (k)  p = Add (x, a) },
            else_branch = f () => (float[1, 3] q) <float[3] u = {1, 2, 3}> { b = Exp (u)  q = Mul (x, b) }
        >"""
    feeds = X | {"c": np.array(True)}
    found = fold(graph(body, inputs="float[1, 3] x, bool c"), feeds, w=f32([1, 2, 3]))
    assert {"nodes": 2, "runs": 1} == dict(found.result.stats)
    (branch,) = (node for node in found.model.graph.nodes)
    assert [["Add"], ["Mul"]] == [[node.op for node in inner.nodes] for inner in branch.subgraphs]


def test_a_branch_that_gives_out_a_constant_keeps_a_node_for_it():
    body = """
        y = If (c) <
            then_branch = t () => (float[3] p) { p = Neg (w) },
            else_branch = f () => (float[3] q) { q = Exp (w) }
        >"""
    feeds = {"c": np.array(True)}
    found = fold(graph(body, inputs="bool c", outputs="float[3] y"), feeds, w=f32([1, 2, 3]))
    (branch,) = (node for node in found.model.graph.nodes)
    assert [["Identity"], ["Identity"]] == [[node.op for node in inner.nodes] for inner in branch.subgraphs]


def test_values_of_a_loop_body_are_no_constants():
    body = """
        y = Loop (n, , x) <body = l (int64 i, bool k, float[1, 3] v) => (bool k2, float[1, 3] o) {
            k2 = Identity (k)  a = Exp (w)  f = Cast <to = 1> (i)  b = Add (v, a)  o = Add (b, f)
        }>"""
    found = fold(graph(body, "int64 n = {3}, float[3] w = {1, 2, 3}"))
    assert {"nodes": 1, "runs": 1} == dict(found.result.stats)


def test_control_flow_with_constant_inputs_is_folded_as_a_whole():
    body = """
        w = Loop (n, , v) <body = l (int64 i, bool k, float[3] s) => (bool k2, float[3] o) {
            k2 = Identity (k)  f = Cast <to = 1> (i)  b = Add (s, f)  o = Mul (b, u)
        }>
        z = If (c) <
            then_branch = t () => (float[3] p) { p = Neg (w) },
            else_branch = e () => (float[3] q) { q = Exp (w) }
        >
        y = Add (x, z)"""
    found = fold(graph(body, "int64 n = {3}, float[3] v = {1, 2, 3}, float[3] u = {1, 2, 1}, bool c = {1}"))
    assert ["Add"] == found.ops


def test_control_flow_that_captures_a_value_or_draws_numbers_stays():
    for inner in ("p = Add (x, w)", "r = RandomNormalLike (w)  p = Add (r, w)"):
        body = f"""
            z = If (c) <
                then_branch = t () => (float[1, 3] p) {{ {inner} }},
                else_branch = e () => (float[1, 3] q) {{ q = Add (w, w) }}
            >
            y = Add (x, z)"""
        model = onnx.parser.parse_model(graph(body, "float[1, 3] w = {1, 2, 3}, bool c = {1}"))
        found = optimize(model, FoldConstants())
        assert ["If", "Add"] == found.ops


def test_bodies_of_functions_are_folded_and_references_stay():
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17, "f": 1]>
        g (float[1, 3] x) => (float[1, 3] y) { y = f.act <p = 0.5> (x) }
        <domain: "f", opset_import: ["": 17]>
        act <p> (x) => (y) {
            c = Constant <value_floats = [1.0, 2.0, 3.0]> ()
            r = Constant <value_float: float = @p> ()
            n = Neg (c)
            e = Elu <alpha: float = @p> (n)
            s = Mul (n, r)
            t = Add (e, s)
            y = Add (x, t)
        }""")
    found = optimize(model, FoldConstants(), X)
    (function,) = found.model.functions.values()
    assert ["Constant", "Elu", "Mul", "Add", "Add"] == [node.op for node in function.graph.nodes]


# -- the way it is applied ----------------------------------------------------------------------------------------------------------


def test_sites_are_skipped_and_limited():
    text = graph("a = Neg (w)  b = Exp (w)  c = Add (x, a)  y = Add (c, b)", "float[3] w = {1, 2, 3}")
    ctx = context(applications=Applications(skip=[("fold-constants", "a")]))
    assert ["Neg", "Add", "Add"] == optimize(parse(text), FoldConstants(), X, ctx=ctx).ops
    ctx = context(applications=Applications(limit=1))
    assert 1 == optimize(parse(text), FoldConstants(), X, ctx=ctx).result.stats["nodes"]
    assert ["fold-constants"] == [item.rule for item in ctx.applications.log]


def test_types_of_folded_values_are_known():
    found = fold(graph("a = Exp (w)  y = Add (x, a)"), w=f32([1, 2, 3]))
    (value,) = found.model.graph.initializers()
    assert "float[3]" == str(value.type)


def test_a_chain_of_ten_thousand_constant_nodes_is_one_run():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2])
    value = b.graph.add_constant(f32([0.5, 1]), "w")
    for _ in range(10_000):
        value = b.op("Tanh", value)
    b.output(b.op("Add", x, value), "y")
    model = b.build()
    ctx = context()
    ctx.executor = executor = Watched()
    ctx.types.infer_model(model)
    assert {"nodes": 1, "runs": 1} == dict(FoldConstants().run(model.graph, ctx).stats)
    assert [10_000] == executor.nodes
    assert ["Add"] == [node.op for node in model.graph.nodes]


def test_a_chain_of_results_that_are_all_too_large_takes_bounded_work():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, [2000])
    value = b.op("Cast", b.graph.add_constant(np.ones(2000, np.int8), "w"), to=1)
    total = x
    for _ in range(3_000):
        value = b.op("Neg", value)
        total = b.op("Add", total, value)
    b.output(total, "y")
    model = b.build()
    ctx = PassContext(executor=Watched(), types=context().types)
    ctx.types.infer_model(model)
    assert not FoldConstants().run(model.graph, ctx).changed
