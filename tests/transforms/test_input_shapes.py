"""Sizes of inputs that a user states: what they make of a model, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.builtin_plugin import builtin_plugins
from graphopt.errors import PipelineError
from graphopt.passes import PassContext, PassManager, Pipeline
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.input_shapes import SetInputShapes
from graphopt.transforms.input_sizes import InputSizes, parse_dim, parse_shape
from graphopt.transforms.resolved_sizes import resolve
from tests.transforms.harness import model, run


def applied(proto, shapes=None, dims=None):
    """The model with these sizes, types inferred."""
    ir = lift_model(proto)
    types = OnnxTypes()
    report = PassManager([SetInputShapes(shapes or {}, dims or {})]).run(ir, PassContext(types=types))
    types.infer_model(ir)
    after = emit_model(ir, lineage=False)
    onnx.checker.check_model(after)
    return report, after


def dims_of(values):
    shapes = [value.type.tensor_type.shape.dim for value in values]
    return [[d.dim_param or (d.dim_value if d.HasField("dim_value") else None) for d in dims] for dims in shapes]


TWO = model("y = Add (x, z)", "float[batch,3,seq] x, float[batch,1,seq] z", "float[batch,3,seq] y")


@pytest.mark.parametrize(
    ("shapes", "dims", "expected"),
    [
        ({}, {"batch": 2}, [[2, 3, "seq"], [2, 1, "seq"], [2, 3, "seq"]]),
        ({}, {"batch": 2, "seq": 7}, [[2, 3, 7], [2, 1, 7], [2, 3, 7]]),
        ({"x": (2, 3, 7)}, {}, [[2, 3, 7], [2, 1, 7], [2, 3, 7]]),
        ({"x": ("n", 3, "seq")}, {}, [["n", 3, "seq"], ["n", 1, "seq"], ["n", 3, "seq"]]),
        ({"x": ("n", 3, "seq")}, {"n": 4}, [[4, 3, "seq"], [4, 1, "seq"], [4, 3, "seq"]]),
        ({"x": ("n", 3, 5), "z": ("n", 1, 5)}, {"batch": 4}, [[4, 3, 5], [4, 1, 5], [4, 3, 5]]),
        ({}, {"seq": "1..512"}, [["batch", 3, "seq"], ["batch", 1, "seq"], ["batch", 3, "seq"]]),
        (
            {},
            {
                "seq": "8..8",
                "batch": "2..",
            },
            [["batch", 3, 8], ["batch", 1, 8], ["batch", 3, 8]],
        ),
        ({"x": ("batch", "1..3", "seq")}, {"batch": 0}, [[0, 3, "seq"], [0, 1, "seq"], [0, 3, "seq"]]),
    ],
)
def test_a_statement_about_one_axis_is_about_all_of_its_name(shapes, dims, expected):
    _report, after = applied(TWO, shapes, dims)
    assert expected == dims_of([*after.graph.input, *after.graph.output])


def test_axes_without_a_name_are_their_own():
    proto = model("y = Concat <axis = 1> (x, z)", "float[?,2] x, float[?,2] z", "float[a,4] y")
    _report, after = applied(proto, {"x": (3, 2)})
    assert [[3, 2], [None, 2]] == dims_of(after.graph.input)
    _report, after = applied(proto, {"z": ("n", 2)}, {"x.0": 3})
    assert [[3, 2], ["n", 2]] == dims_of(after.graph.input)


def test_an_input_of_unknown_rank_gets_one():
    proto = model("y = Neg (x)", "float[*] x", "float[*] y")
    _report, after = applied(proto, {"x": ("n", 3)})
    assert [["n", 3]] == dims_of(after.graph.input)


def test_a_dimension_that_is_an_expression_follows():
    proto = model("y = Concat <axis = 0> (x, z)", "float[past] x, float[new] z", "float[t] y")
    proto.graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info("m", 1, ["past + new", "2 * past"]))
    proto.graph.node.append(onnx.helper.make_node("Identity", ["m"], ["w"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("w", 1, ["past + new", "2 * past"]))
    _report, after = applied(proto, dims={"past": 4, "new": 1})
    assert [[4], [1], [5, 8]] == dims_of(after.graph.input)
    with pytest.raises(
        PipelineError,
        match=r"dimension 'past \+ new', from what is stated of the others, is 5, but dimension .* says 6",
    ):
        applied(proto, dims={"past": 4, "new": 1, "past + new": 6})


def test_what_a_file_says_of_inner_values_is_found_anew():
    """A statement that was left over from other sizes must not be believed once everything is fixed."""
    proto = model("m = d.Unknown (x) y = Relu (m)", "float[batch,3] x", "float[batch,3] y", imports=', "d" : 1')
    proto.graph.value_info.add().CopyFrom(onnx.helper.make_tensor_value_info("m", 1, [1, 3]))
    ir = lift_model(proto)
    types = OnnxTypes()
    PassManager([SetInputShapes({}, {"batch": 4})]).run(ir, PassContext(types=types))
    types.infer_model(ir)
    assert all(value.shape is None or 1 not in value.shape for node in ir.graph.nodes for value in node.outputs)


def test_in_subgraphs_too():
    body = "y = If (c) <then_branch = t () => (float[batch] p) { p = Neg (x) }, else_branch = f () => (float[batch] q) { q = Abs (x) }>"
    _report, after = applied(model(body, "float[batch] x, bool c", "float[batch] y"), dims={"batch": 5})
    assert [[5]] == dims_of(after.graph.output)
    assert [[5]] == dims_of(after.graph.node[0].attribute[0].g.output)
    feeds = {"x": np.arange(5, dtype=np.float32), "c": np.array(True)}
    np.testing.assert_array_equal(-feeds["x"], run(after, feeds)[0])


def test_nothing_stated_or_nothing_new_is_no_change():
    assert not applied(TWO)[0].changed
    assert not applied(TWO, {"x": ("batch", 3, "seq")}, {"seq": "1..9"})[0].changed
    report, _after = applied(TWO, dims={"seq": 9})
    assert {"axes": 2} == dict(report.stats)


def test_limits_go_by_the_names_in_the_result():
    ir = lift_model(TWO)
    assert {"seq": (1, 512)} == resolve(InputSizes({}, {"seq": "1..512"}), ir).limits
    assert {"s": (4, 8)} == resolve(InputSizes({"x": ("batch", 3, "s")}, {"seq": "4..", "s": "..8"}), ir).limits
    assert {} == resolve(InputSizes({}, {"seq": "3..3"}), ir).limits


@pytest.mark.parametrize(
    ("shapes", "dims", "message"),
    [
        (
            {},
            {"bach": 1},
            r"no input has a dimension 'bach'; did you mean 'batch'\? dimensions that can be set: batch, seq",
        ),
        ({}, {"x": 1}, "no input has a dimension 'x'; dimensions that can be set: batch, seq"),
        ({}, {"batch": -1}, "dimension 'batch': size -1 is negative; expected 0 to 2147483647"),
        ({}, {"batch": 1 << 31}, "dimension 'batch': size 2147483648 is too large; expected 0 to 2147483647"),
        ({}, {"seq": "9..3"}, "dimension 'seq': range '9..3' begins above its end; expected 3..9"),
        ({}, {"seq": "-1..3"}, "dimension 'seq': size -1 is negative"),
        ({"y": (1,)}, {}, "the model has no input 'y'; inputs: 'x', 'z'"),
        ({"x": (1, 3)}, {}, r"input 'x': shape 1,3 has 2 axes, expected 3 as in float\[batch, 3, seq\]"),
        ({"x": ()}, {}, "input 'x': shape no axes has 0 axes, expected 3"),
        (
            {"x": (1, 4, 8)},
            {},
            r"axis 1 of input 'x' is 4, expected 3: the model fixes it in float\[batch, 3, seq\]; state 3, or",
        ),
        ({"x": (1, "c", 8)}, {}, "axis 1 of input 'x' is c, expected 3"),
        ({"x": (1, "4..9", 8)}, {}, "axis 1 of input 'x' is 4..9, expected 3"),
        (
            {"x": (1, 3, 8)},
            {"batch": 2},
            "dimension 'batch' is 2, but axis 0 of input 'x' says 1, and both are",
        ),
        ({"x": (1, 3, 8), "z": (2, 1, 8)}, {}, "axis 0 of input 'z' is 2, but axis 0 of input 'x' says 1"),
        (
            {"x": ("n", 3, 8), "z": ("m", 1, 8)},
            {},
            "axis 0 of input 'z' is called 'm', and 'n' in another statement; state one name",
        ),
        ({"x": ("seq", 3, "n")}, {}, "dimension 'batch' is called 'seq', which is called 'n'; state the last name"),
        (
            {"x": (1, 3, 8)},
            {"seq": "9..12"},
            "axis 2 of input 'x' is 8, outside of 9..12 that dimension 'seq' says; state one of them",
        ),
        ({"x": (1, 3, "1..4")}, {"seq": "9.."}, "dimension 'seq' has no size that axis 2 of input 'x' allows"),
        ({}, {"batch": "9" * 30}, "dimension 'batch': size 9+ is too large"),
    ],
)
def test_what_can_not_be_meant(shapes, dims, message):
    with pytest.raises(PipelineError, match=message):
        applied(TWO, shapes, dims)


def test_only_tensors_have_shapes_and_defaults_keep_theirs():
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (seq(float[n]) s, float[m] d) => (float[k] y) <float[2] d = {1, 2}>
        { zero = Constant <value_int = 0> () a = SequenceAt (s, zero) y = Add (a, d) }""")
    with pytest.raises(PipelineError, match=r"input 's' is seq\(.*\), which has no shape of its own; leave it out"):
        applied(proto, {"s": (1,)})
    with pytest.raises(
        PipelineError, match=r"input 'd' is stated to be float\[3\], but its default has shape \[2\]; leave it out"
    ):
        applied(proto, {"d": (3,)})


# -- text -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch=1", ("batch", 1)),
        ("a=b=2", ("a=b", 2)),
        ("seq=1..512", ("seq", "1..512")),
        ("seq=1..", ("seq", "1..")),
        ("seq= ..8", ("seq", "..8")),
        ("n=-3", ("n", -3)),
    ],
)
def test_dimensions_as_text(text, expected):
    assert expected == parse_dim(text)


@pytest.mark.parametrize(
    "text",
    ["", "batch", "=1", "batch=", "batch=x", "batch=1.5", "batch=..", "batch=1...3", "batch=1,2", "n=1.." + "9" * 5000],
)
def test_dimensions_that_are_not_understood(text):
    with pytest.raises(
        PipelineError, match=r"is not understood; expected NAME=SIZE or NAME=FIRST\.\.LAST, such as batch=1"
    ):
        parse_dim(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:1,3,224", ("x", (1, 3, 224))),
        ("x:batch, 3 ,1..9", ("x", ("batch", 3, "1..9"))),
        ("input:0:1,2", ("input:0", (1, 2))),
        ("x:", ("x", ())),
        ("x:-1", ("x", (-1,))),
    ],
)
def test_shapes_as_text(text, expected):
    assert expected == parse_shape(text)


@pytest.mark.parametrize("text", ["", "x", ":1", "x:1,,2", "x:1.5", "x:a b", "x:?", "x:1,", "x:a=1"])
def test_shapes_that_are_not_understood(text):
    with pytest.raises(
        PipelineError, match=r"is not understood; expected INPUT:SIZE,SIZE,\.\.\. of numbers, names and ranges"
    ):
        parse_shape(text)


def test_the_pass_has_a_text_of_its_own():
    text = 'set-input-shapes{shapes={input:0=[batch,3,"1..9"]},dims={batch=1,"my dim"="2.."}}'
    passes = builtin_plugins(discover=False).passes
    made = Pipeline.from_text(text, passes)
    assert text == made.to_text()
    [item] = made.passes()
    assert isinstance(item, SetInputShapes)
    assert InputSizes({"input:0": ("batch", 3, "1..9")}, {"batch": 1, "my dim": "2.."}) == item.sizes
