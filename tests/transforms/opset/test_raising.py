"""What each operator becomes at a newer opset, to the bit, and what can't be raised."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Array
from graphopt.passes import PassContext, PassManager
from graphopt.rewriting import Applications
from graphopt.serde import emit_model, lift_model
from graphopt.target import KernelRange, KernelTable, Target
from graphopt.transforms.opset import RaiseOpset
from tests.transforms.harness import assert_same_bits, feeds_for, model, run, transform

X = "float[2,3,4] x"
IMAGE = "float[1,4,6,6] x"
AXES = {"a": np.array([2], np.int64)}


def raised(proto, to):
    """The model at opset ``to``, with the same bits in its outputs."""
    outcome = transform(proto, RaiseOpset(to))
    assert to == outcome.after.opset_import[0].version
    feeds = feeds_for(proto, {"n": 2, "c": 3})
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))
    return outcome


@pytest.mark.parametrize("to", [13, 18, 23])
@pytest.mark.parametrize(
    ("body", "inputs", "opset", "ops", "nodes"),
    [
        ("y = Relu (x)", X, 7, ["Relu"], 0),
        ("y = Squeeze <axes = [0]> (x)", "float[1,3] x", 11, ["Squeeze"], 1),
        ("y = Squeeze (x)", "float[1,3] x", 11, ["Squeeze"], 0),
        ("y = Unsqueeze <axes = [0, 2]> (x)", "float[2,3] x", 7, ["Unsqueeze"], 1),
        ("y = ReduceSum <axes = [1], keepdims = 0> (x)", X, 11, ["ReduceSum"], 1),
        ("y = ReduceMax <axes = [-1]> (x)", X, 12, ["ReduceMax"], None),
        ("y = ReduceMean (x)", X, 11, ["ReduceMean"], 0),
        ("y = Slice <starts = [1], ends = [3], axes = [2]> (x)", X, 9, ["Slice"], 1),
        ("y = Slice <starts = [0, -2], ends = [1, 100]> (x)", X, 7, ["Slice"], 1),
        ("y, i = TopK <k = 2> (x)", X, 9, ["TopK"], 1),
        ("y, z = Split <axis = 2, split = [1, 3]> (x)", X, 11, ["Split"], 1),
        ("y, z = Split <axis = 2> (x)", X, 11, ["Split"], None),
        ("y = Clip <min = 0.0, max = 6.0> (x)", X, 10, ["Clip"], 1),
        ("y = Clip <max = 1.5> (x)", X, 6 + 1, ["Clip"], 1),
        ("y = Clip (x)", X, 10, ["Clip"], 1),
        ("y = Pad <pads = [0, 1, 0, 0, 0, 2], value = 1.5> (x)", X, 10, ["Pad"], 1),
        ('y = Pad <mode = "reflect", pads = [0, 1, 0, 0, 0, 2]> (x)', X, 10, ["Pad"], 1),
        ("y = Dropout <ratio = 0.3> (x)", X, 10, ["Dropout"], 1),
        ("y, unused = Dropout (x)", X, 7, ["Dropout"], 1),
        ("y = Scatter <axis = 1> (x, i, u)", "float[2,3] x", 9, ["ScatterElements"], 1),
    ],
)
def test_operators_raised(body, inputs, opset, ops, nodes, to):
    constants: dict[str, Array] = {"i": np.array([[0], [2]], np.int64), "u": np.array([[9.0], [8.0]], np.float32)}
    used = {name: array for name, array in constants.items() if "Scatter " in body}
    outcome = raised(model(body, inputs, opset=opset, initializers=used), to)
    assert ops == outcome.ops
    if nodes is not None:
        assert {"opsets": 1, **({"nodes": nodes} if nodes else {})} == outcome.applied


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(
    ("shape", "axis", "to", "flattened"),
    [
        ("2,3", "", 13, False),
        ("2,3,4", "", 13, True),
        ("2,3,4", "<axis = 2>", 17, False),
        ("2,3,4", "<axis = -1>", 17, False),
        ("2,3,4", "<axis = -2>", 17, True),
        ("2,3,1,1", "<axis = 1>", 21, False),
        ("n,3,4", "<axis = 0>", 21, True),
        ("2,0,4", "<axis = 1>", 21, True),
        ("*", "<axis = 2>", 14, True),
    ],
)
def test_softmax_of_a_matrix(op_type, shape, axis, to, flattened):
    proto = model(f"y = {op_type} {axis} (x)", f"float[{shape}] x", opset=11)
    outcome = transform(proto, RaiseOpset(to))
    assert flattened == ("Flatten" in outcome.ops)
    feeds = {"x": np.random.default_rng(0).normal(size=[int(n) if n.isdigit() else 2 for n in shape.split(",")])}
    if shape == "*":
        feeds = {"x": np.random.default_rng(0).normal(size=(2, 3, 4))}
    feeds = {"x": feeds["x"].astype(np.float32)}
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


@pytest.mark.parametrize("to", [11, 13, 18, 23])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 1.5, 2.5], [1, 1, 0.5, 0.7]])
@pytest.mark.parametrize("opset", [7, 9, 10])
def test_resize_and_upsample(opset, scales, mode, to):
    if opset < 10 and min(scales) < 1:
        scales = [1, 1, 3, 1]
    if opset == 7:
        body = f'y = Upsample <mode = "{mode}", scales = [{", ".join(f"{number:.1f}" for number in scales)}]> (x)'
        proto = model(body, IMAGE, opset=7)
    else:
        op_type = "Upsample" if opset == 9 else "Resize"
        constants = {"s": np.array(scales, np.float32)}
        proto = model(
            f'y = {op_type} <mode = "{mode}"> (x, s)', IMAGE, "float[*] y", opset=opset, initializers=constants
        )
    outcome = raised(proto, to)
    assert ["Resize"] == outcome.ops
    assert "asymmetric" in str(outcome.after.graph.node[0])


@pytest.mark.parametrize("opset", [7, 8])
def test_upsample_stays_itself_until_opset_10(opset):
    proto = model("y = Upsample <scales = [1.0, 1.0, 2.0, 2.0]> (x)", IMAGE, opset=opset)
    assert ["Upsample"] == raised(proto, 9).ops
    assert ["Resize"] == raised(proto, 10).ops


def test_nearest_pixel_of_half_pixels():
    proto = model(
        'y = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, r, s)',
        IMAGE,
        opset=11,
        initializers={"r": np.zeros(0, np.float32), "s": np.array([1, 1, 1.7, 0.6], np.float32)},
    )
    outcome = raised(proto, 19)
    assert "round_prefer_ceil" in str(outcome.after.graph.node[0])
    assert "" == outcome.after.graph.node[0].input[1], "an empty roi is none"


def test_resize_to_sizes_has_no_empty_scales_any_more():
    constants: dict[str, Array] = {"e": np.zeros(0, np.float32), "s": np.array([1, 4, 9, 3], np.int64)}
    outcome = raised(model("y = Resize (x, e, e, s)", IMAGE, opset=11, initializers=constants), 19)
    assert ["x", "", "", "s"] == list(outcome.after.graph.node[0].input)


NUMBERS = {name: np.array([1, 2, 3, 4], np.float32) for name in ("s", "b", "m", "v")}


@pytest.mark.parametrize("to", [9, 13, 14, 15])
def test_batch_normalization_loses_spatial(to):
    proto = model("y = BatchNormalization <spatial = 1> (x, s, b, m, v)", IMAGE, opset=8, initializers=NUMBERS)
    outcome = raised(proto, to)
    assert [] == list(outcome.after.graph.node[0].attribute)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y, a = BatchNormalization (x, s, b, m, v)", "outputs of training.*; opset 13 is the newest for this model"),
        (
            "y = BatchNormalization <spatial = 0> (x, s, b, m, v)",
            "spatial=0.* has no later form; keep the model's opset",
        ),
    ],
)
def test_batch_normalization_that_computes_otherwise_is_refused(body, message):
    proto = model(body, IMAGE, opset=8 if "spatial" in body else 9, initializers=NUMBERS)
    with pytest.raises(UnsupportedOpError, match=message):
        transform(proto, RaiseOpset(15))


@pytest.mark.parametrize(("image", "constant"), [("1,4,6,6", True), ("n,c,6,6", True), ("1,4,6,6", False)])
def test_group_normalization_scales_channels(image, constant):
    given = {"s": np.array([2, -1], np.float32), "b": np.array([0, 1], np.float32)}
    proto = model(
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        f"float[{image}] x" + ("" if constant else ", float[2] s, float[2] b"),
        opset=20,
        initializers=given if constant else None,
    )
    outcome = transform(proto, RaiseOpset(23))
    assert ("Expand" in outcome.ops) == (not constant or "c" in image)
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 4, 6, 6)).astype(np.float32), **given}
    for a, b in zip(run(proto, feeds), run(outcome.after, feeds), strict=True):
        np.testing.assert_allclose(b.astype(np.float64), a.astype(np.float64), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", ["", "<axis = 2>", "<axis = -2, onesided = 1>"])
def test_dft_states_its_axis(axis):
    assert ["DFT"] == raised(model(f"y = DFT {axis} (x)", "float[1,4,5,1] x", opset=17), 20).ops


@pytest.mark.parametrize(("old", "new"), [("bilinear", "linear"), ("bicubic", "cubic"), ("nearest", "nearest")])
def test_modes_of_grid_sample(old, new):
    proto = model(f'y = GridSample <mode = "{old}"> (x, g)', f"{IMAGE}, float[1,2,2,2] g", opset=16)
    outcome = transform(proto, RaiseOpset(20))
    assert new == outcome.after.graph.node[0].attribute[0].s.decode()
    rng = np.random.default_rng(0)
    feeds = {
        "x": rng.normal(size=(1, 4, 6, 6)).astype(np.float32),
        "g": rng.uniform(-1, 1, (1, 2, 2, 2)).astype(np.float32),
    }
    assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


def test_roi_align_states_what_was_the_only_way():
    constants: dict[str, Array] = {"r": np.array([[0, 0, 3, 3]], np.float32), "i": np.array([0], np.int64)}
    outcome = raised(
        model("y = RoiAlign <output_height = 2, output_width = 2> (x, r, i)", IMAGE, opset=10, initializers=constants),
        16,
    )
    assert "output_half_pixel" in str(outcome.after.graph.node[0])


def test_scan_of_one_batch():
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["o"])],
        "body",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("s", "e")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("t", "o")],
    )
    node = helper.make_node("Scan", ["", "i", "x"], ["y", "z"], num_scan_inputs=1, directions=[1], body=body)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("i", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 2]),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=4)
    outcome = raised(proto, 21)
    assert ["Squeeze", "Squeeze", "Scan", "Unsqueeze", "Unsqueeze"] == outcome.ops
    assert ["Squeeze", "Squeeze", "Scan", "Unsqueeze", "Unsqueeze"] == raised(proto, 11).ops
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(UnsupportedOpError, match=r"only a batch of one has a later form; keep the model's opset"):
        transform(proto, RaiseOpset(9))


@pytest.mark.parametrize(
    ("shape", "refused"), [("n,3,4", False), ("2,n,4", False), ("n,m,4", True), ("n,0,4", True), ("*", True)]
)
def test_softmax_at_opset_13_where_reshape_takes_0_for_another_size(shape, refused):
    proto = model("y = Softmax <axis = 1> (x)", f"float[{shape}] x", opset=11)
    if refused:
        with pytest.raises(
            UnsupportedOpError, match=r"several sizes of its input may be 0.*: raise it to that; opset 12 is"
        ):
            transform(proto, RaiseOpset(13))
        return
    outcome = transform(proto, RaiseOpset(13))
    for size in (1, 3):
        feeds = {"x": np.ones([size if name == "n" else int(name) for name in shape.split(",")], np.float32)}
        assert_same_bits(run(proto, feeds), run(outcome.after, feeds))


# -- subgraphs, functions, other domains ------------------------------------------------------------------------------------


def test_nodes_in_subgraphs_are_raised_with_captured_values():
    proto = model(
        """
        z = If (c) <
            then_branch = t () => (float[2] p) { p = Squeeze <axes = [0]> (x) },
            else_branch = f () => (float[2] q) { s = Softmax <axis = 0> (x)  q = Squeeze (s) }
        >
        y = Identity (z)""",
        "float[1,2] x, bool c",
        opset=11,
    )
    outcome = raised(proto, 21)
    assert {"opsets": 1, "nodes": 2} == outcome.applied


def test_functions_are_raised_with_their_own_imports_and_references():
    proto = model(
        "y = d.F <axes = [0]> (x)",
        "float[1,3] x",
        opset=13,
        ir_version=8,
        imports=', "d" : 1',
        functions=""" <domain: "d", opset_import: ["" : 10]> F <axes> (u) => (w) {
            v = Squeeze <axes: ints = @axes> (u)
            m = Clip <min = 0.5> (v)
            w = Softmax <axis = 0> (m) }""",
    )
    ir = lift_model(proto)
    PassManager([RaiseOpset(17)]).run(ir, PassContext(types=OnnxTypes()))
    after = emit_model(ir)
    assert [17] == [item.version for item in after.opset_import if not item.domain]
    assert [17] == [item.version for item in after.functions[0].opset_import if not item.domain]
    onnx.checker.check_model(after)
    feeds = {"x": np.array([[1.0, -2.0, 3.0]], np.float32)}
    before = model(
        "v = Squeeze <axes = [0]> (x) m = Clip <min = 0.5> (v) y = Softmax <axis = 0> (m)", "float[1,3] x", opset=10
    )
    assert_same_bits(run(before, feeds), run(after, feeds))


def test_numbers_of_a_function_need_castlike():
    proto = model(
        "y = d.F (x)",
        "float[1,3] x",
        opset=13,
        ir_version=8,
        imports=', "d" : 1',
        functions=' <domain: "d", opset_import: ["" : 10]> F (u) => (w) { w = Clip <min = 0.5> (u) }',
    )
    with pytest.raises(
        UnsupportedOpError, match=r"can't be raised from opset 10 to 14: the element type of its input is not known"
    ):
        PassManager([RaiseOpset(14)]).run(lift_model(proto), PassContext(types=OnnxTypes()))


def test_operators_of_other_domains_stay():
    proto = model("y = com.microsoft.Gelu (x)", opset=11, imports=', "com.microsoft" : 1')
    outcome = transform(proto, RaiseOpset(20), target=Target(domains=frozenset({"com.microsoft"})))
    assert {"": 20, "com.microsoft": 1} == {item.domain: item.version for item in outcome.after.opset_import}


# -- never lower, refuse as a whole -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [7, 16, 17])
def test_a_model_is_never_lowered(to):
    outcome = transform(model("y = Relu (x)", opset=17), RaiseOpset(to))
    assert {} == outcome.applied
    assert 17 == outcome.after.opset_import[0].version


@pytest.mark.parametrize(
    ("body", "inputs", "opset", "to", "message"),
    [
        ("y = Relu (x)", X, 6, 13, "the model is of opset 6, and only opset 7 and later can be raised; convert it"),
        ("y = Relu (x)", X, 13, 99, "opset 99 is newer than opset"),
        (
            "n = Squeeze <axes = [0]> (x) m, y = Dropout (n)",
            "float[1,3] x",
            9,
            17,
            r"\(Dropout\) can't be raised from opset 9 to 17: output 'y' is used, and masks of another version are others; keep",
        ),
        (
            "y = Resize (x, s)",
            f"{IMAGE}, float[4] s",
            10,
            17,
            "to 17: its scales are not constant, and the nearest pixel depends on them; keep the model's opset",
        ),
        ("y = Erf (x)", "int32[2] x", 9, 17, "its newest version no longer takes int32; opset 12 is the newest"),
    ],
)
def test_what_cannot_be_raised_is_refused_and_the_model_as_it_was(body, inputs, opset, to, message):
    proto = model(body, inputs, opset=opset)
    ir = lift_model(proto)
    before = emit_model(ir)
    with pytest.raises(UnsupportedOpError, match=message):
        PassManager([RaiseOpset(to)]).run(ir, PassContext(types=OnnxTypes()))
    assert before == emit_model(ir)


def test_a_kernel_that_the_target_lost_is_a_reason_to_refuse():
    old = KernelTable({"GlobalLpPool": (KernelRange(2, 21, frozenset({"float"})),)})
    proto = model("y = GlobalLpPool (x)", IMAGE, opset=13)
    with pytest.raises(
        UnsupportedOpError, match="target 'chip' has no kernel for its version of opset 22; opset 21 is the newest"
    ):
        transform(proto, RaiseOpset(23), target=Target("chip", kernels=old))
    assert 21 == transform(proto, RaiseOpset(), target=Target("chip", kernels=old)).after.opset_import[0].version


def test_not_strict_leaves_the_model_at_its_opset():
    proto = model("n, y = Dropout (x)", opset=9)
    outcome = transform(proto, RaiseOpset(17, strict=False))
    assert 9 == outcome.after.opset_import[0].version


def test_without_an_opset_the_newest_that_all_nodes_can_have():
    proto = model("n, y = Dropout (x)", opset=7)
    assert 9 == transform(proto, RaiseOpset()).after.opset_import[0].version
    assert (
        20
        == transform(model("y = Relu (x)", opset=7), RaiseOpset(), target=Target(max_opset=20))
        .after.opset_import[0]
        .version
    )


def test_it_is_one_application_that_can_be_left_out():
    ir = lift_model(model("y = Squeeze <axes = [0]> (x)", "float[1,3] x", opset=11))
    ctx = PassContext(types=OnnxTypes(), applications=Applications(skip=[("raise-opset", "")]))
    assert not PassManager([RaiseOpset(17)]).run(ir, ctx).changed
    ctx = PassContext(types=OnnxTypes())
    PassManager([RaiseOpset(17)]).run(ir, ctx)
    assert ["raise-opset"] == [item.rule for item in ctx.applications.log]
