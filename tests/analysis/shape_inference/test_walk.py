"""The walk over a model: functions, subgraphs, statements of the file, names that inference makes up, types after edits."""

from __future__ import annotations

import onnx.parser
from onnx import TensorProto, helper

from graphopt.analysis.shape_inference import SymbolicTypes, from_roles
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import DType, OpSchema, Parameter, SymbolicDim, TensorType, fresh_dim
from graphopt.serde import emit_model, lift_model
from tests.analysis.shape_inference.inferred import inferred, types_in
from tests.regressions.held import parse


def test_a_function_is_inferred_for_each_call():
    model = lift_model(
        onnx.parser.parse_model(
            """<ir_version: 9, opset_import: ["": 18, "local": 1]>
            main (float[n,4] x, float[6,4] w) => (float[a,b] y, float[c,d] z) {
                y = local.flip <times=2> (x) z = local.flip <times=3> (w)
            }
            <domain: "local", opset_import: ["": 18]>
            flip <times> (v) => (r) {
                t = Transpose(v) k = Constant<value_int: int = @times>() u = Unsqueeze(k, a) a = Constant<value_ints=[0]>()
                r = Neg(t)
            }""".replace(" u = Unsqueeze(k, a) a = Constant<value_ints=[0]>()", "")
        )
    )
    OnnxTypes().infer_model(model)
    assert ["float[4, n]", "float[4, 6]"] == [str(value.type) for value in model.graph.outputs]
    body = next(iter(model.functions.values())).graph
    assert all(value.type is None for node in body.nodes for value in node.outputs)


def test_numbers_go_into_a_function():
    model = lift_model(
        onnx.parser.parse_model("""<ir_version: 9, opset_import: ["": 18, "local": 1]>
            main (float[n,4] x) => (float[a,b] y) { s = Shape(x) y = local.fill(s) }
            <domain: "local", opset_import: ["": 18]>
            fill (shape) => (r) { r = ConstantOfShape(shape) }""")
    )
    OnnxTypes().infer_model(model)
    assert ["float[n, 4]"] == [str(value.type) for value in model.graph.outputs]


def test_branches_say_together_what_both_say():
    text = """main (float[n,4] x, bool c) => (float[a,b] y) {
        y = If(c) <then_branch = t () => (float[p,q] r) { r = Neg(x) },
                   else_branch = e () => (float[p,q] u) { u = Concat<axis=1>(x, x) }>
    }"""
    assert "float[n, ?]" == str(inferred(text).graph.outputs[0].type)


def test_symbols_of_a_body_do_not_leave_it():
    """What NonZero finds in a branch has a name there; outside nobody knows it, not even where both branches use the same names."""
    text = """main (float[n] x, bool c) => (float[a,b] y) {
        y = If(c) <then_branch = t () => (int64[p,q] r) { r = NonZero(x) },
                   else_branch = e () => (int64[p,q] r) { r = NonZero(x) }>
        z = Neg(y) w = Add(y, y)
    }"""
    model = inferred(text)
    branches = [graph for node in model.graph.nodes for graph in node.subgraphs]
    inside = [(graph.outputs[0].shape or ())[1] for graph in branches]
    outside = model.graph.outputs[0].shape
    assert outside is not None
    assert 1 == outside[0]
    assert isinstance(outside[1], SymbolicDim)
    assert outside[1].is_generated
    assert outside[1] not in inside
    assert inside[0] != inside[1]


def test_what_is_not_known_is_one_symbol_where_it_is_one_size():
    model = inferred("main (float[n] x) => (int64[a,b] y) { i = NonZero(x) y = Add(i, i) }")
    first, second = (node.output for node in model.graph.nodes)
    assert first.shape == second.shape


def test_made_up_names_are_not_written():
    model = lift_model(parse("main (float[n] x) => (int64[a,b] y) { y = NonZero(x) }"))
    for value in model.graph.outputs:
        value.origin = None
    model.graph.origin = None
    OnnxTypes().infer_model(model)
    (output,) = emit_model(model).graph.output
    assert "dim { dim_value: 1 } dim { }" == " ".join(str(output.type.tensor_type.shape).split())
    assert "int64[1, ?]" == str(model.graph.outputs[0].type)


def test_names_of_the_file_are_never_taken_for_made_up_ones():
    """A dimension of the file that is spelt like a made-up name has no name."""
    made_up = fresh_dim().name
    model = parse("main (float[n] x) => (float[n] y) { y = Neg(x) }")
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.shape.dim[0].dim_param = made_up
    ir = lift_model(model)
    assert ir.graph.inputs[0].shape == (None,)
    OnnxTypes().infer_model(ir)
    assert model.graph.input[0] == emit_model(ir).graph.input[0]


def test_a_loop_that_never_stops_early_stacks_as_often_as_it_runs():
    text = """main (float[n,4] x, float start) => (float[a,b] y) {{
        trips = Constant<value_int = {trips}>()
        y, z = Loop(trips, , x) <body = b (int64 i, bool c, float[p,q] v) => (bool d, float[p,q] w, float[r,s] g)
            {{ d = Identity(c) w = Neg(v) g = Neg(v) }}>
        o = Neg(z)
    }}"""
    model = inferred(text.format(trips=3))
    assert ["float[n, 4]", "float[3, n, 4]"] == [
        str(v.type) for n in model.graph.nodes if n.op == "Loop" for v in n.outputs
    ]
    model = inferred(text.format(trips=0))
    assert ["float[n, 4]", "float[0, ?, 4]"] == [
        str(v.type) for n in model.graph.nodes if n.op == "Loop" for v in n.outputs
    ]


def test_a_scan_goes_over_one_axis():
    text = """main (float[s,b,4] x, float[b,4] h) => (float[a,b] y) {
        y, z = Scan<num_scan_inputs=1, body = b (float[p,q] v, float[p,q] e) => (float[p,q] w, float[p,q] g)
            { w = Add(v, e) g = Relu(w) }>(h, x)
        o = Neg(z)
    }"""
    (node, _) = inferred(text).graph.nodes
    assert ["float[b, 4]", "float[s, ?, 4]"] == [str(value.type) for value in node.outputs]
    assert ["float[b, 4]", "float[b, 4]"] == [str(value.type) for value in node.subgraphs[0].inputs]


def test_statements_count_only_beside_operators_without_inference():
    def stated(inputs: str, op: str) -> str:
        model = parse(f"main ({inputs}) => (float[a] y) {{ v = {op} y = Neg(v) }}")
        model.graph.value_info.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, [2, 8]))
        ir = lift_model(model)
        OnnxTypes().infer_model(ir)
        return str(next(iter(ir.graph.nodes)).output.type)

    assert "float[2, 8]" == stated("float[2,4] x", "Some.Thing(x)")
    assert "float[?, ?]" == stated("float[n,4] x", "Some.Thing(x)")
    assert "float[2, 4]" == stated("float[2,4] x", "Relu(x)")
    assert "float[*]" == stated("float[k] x", "Col2Im(x, x, x)")


def test_axes_by_name_give_shapes():
    formal = Parameter("X", False, False, frozenset(), "T")
    result = Parameter("Y", False, False, frozenset(), "T")
    schema = OpSchema("mine", "Swap", 1, (formal,), (result,), {}, 1, 1, 1, 1, True, False, False)
    more = {"mine::Swap": from_roles(schema, {"X": ("batch", "...", "last"), "Y": ("last", "...", "batch")})}
    model = lift_model(parse("main (float[n,3,h,4] x) => (float[a] y) { y = mine.Swap(x) }"))
    SymbolicTypes(more=more).infer_model(model)
    assert "float[4, 3, h, n]" == str(model.graph.outputs[0].type)
    model = lift_model(parse("main (float[4] x) => (float[a] y) { y = mine.Swap(x) }"))
    SymbolicTypes(more=more).infer_model(model)
    assert "float[*]" == str(model.graph.outputs[0].type)


def test_a_model_that_contradicts_itself_keeps_what_it_says_of_its_outputs():
    model = lift_model(parse("main (int32[2] x) => (float[2] y) { y = Neg(x) }"))
    OnnxTypes().infer_model(model)
    assert TensorType(DType.FLOAT, (2,)) == model.graph.outputs[0].type


def test_sizes_below_the_least_negative_are_not_believed_of_convolutions():
    """The size after two convolutions is no longer seen to be positive from its expression, but it is a size."""
    body = "c = Conv<strides=[2]>(x, k) d = Conv(c, k) e = Slice(d, a, m, t) y = Add(d, e)"
    found = types_in(
        body,
        "float[1,1,n] x, float[1,1,3] k",
        initializers="int64[1] a = {0}, int64[1] m = {1000000000000}, int64[1] t = {2}",
    )
    assert "float[1, 1, (n+1)//2-3]" == found


def test_optional_and_sequence_types_are_left_to_onnx():
    assert "seq(float[n, 4])" == types_in("y = SequenceConstruct(x, x)", "float[n,4] x")
    assert "bool[]" == types_in("s = Optional(x) y = OptionalHasElement(s)", "float[n,4] x")
