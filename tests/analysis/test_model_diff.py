"""What is different between two models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnx.parser import parse_model

import graphopt
from graphopt.analysis.model_diff import ModelDiff, diff_models
from graphopt.data import digits_model
from graphopt.frontends.onnx import lift
from graphopt.ir import Model
from graphopt.testing.strategies.bulk import sampled_models

HEAD = '<ir_version: 10, opset_import: ["": 17, "local": 1]> '
CHAIN = HEAD + (
    "g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> "
    "{ [first] a = Relu(x) [second] b = Mul(a, w) [third] c = LeakyRelu <alpha = 0.5> (b) [fourth] y = Add(c, a) }"
)


def model(text: str) -> ModelProto:
    return parse_model(text)


def edited(edit: Callable[[ModelProto], object], text: str = CHAIN) -> ModelProto:
    proto = model(text)
    edit(proto)
    return proto


def diff(before: str | ModelProto, after: str | ModelProto) -> ModelDiff:
    one, other = (lift(model(item) if isinstance(item, str) else item) for item in (before, after))
    return diff_models(one, other)


def placed(found: ModelDiff) -> tuple[list[str], list[str]]:
    """Nodes of both models in a difference, those apart that are the same."""
    pairs = [*found.changed, *found.renamed]
    before = [str(pair.before) for pair in pairs] + [str(node) for group in found.groups for node in group.before]
    after = [str(pair.after) for pair in pairs] + [str(node) for group in found.groups for node in group.after]
    return before + [str(node) for node in found.removed], after + [str(node) for node in found.added]


def count(subject: Model) -> int:
    return sum(len(graph.nodes) for graph in subject.graphs())


def rename(proto: ModelProto) -> None:
    """Other names for all nodes and inner values."""
    kept = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for node in proto.graph.node:
        node.name = f"n_{node.name}"
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = name if name in kept or not name else f"v_{name}"
    for tensor in proto.graph.initializer:
        tensor.name = f"v_{tensor.name}"


def test_a_model_is_the_same_as_itself() -> None:
    """Nothing is listed."""
    found = diff(CHAIN, CHAIN)
    assert found.is_empty
    assert 4 == found.same


def test_order_of_nodes_means_nothing() -> None:
    """Independent nodes in another order are the same."""
    text = HEAD + "g (float[4] x) => (float[4] y) { [p] a = Relu(x) [q] b = Neg(x) [r] y = Add(a, b) }"

    def swap(proto: ModelProto) -> None:
        first, second = (onnx.NodeProto.FromString(node.SerializeToString()) for node in proto.graph.node[:2])
        proto.graph.node[0].CopyFrom(second)
        proto.graph.node[1].CopyFrom(first)

    assert diff(text, edited(swap, text)).is_empty


def test_other_names_everywhere_are_renamed_nodes() -> None:
    """Structure finds each counterpart."""
    found = diff(CHAIN, edited(rename))
    assert ["first -> n_first", "second -> n_second", "third -> n_third", "fourth -> n_fourth"] == [
        f"{pair.before.name} -> {pair.after.name}" for pair in found.renamed
    ]
    assert ((), (), (), (), 0) == (found.changed, found.groups, found.removed, found.added, found.same)


def test_a_renamed_model_with_one_other_attribute_has_one_changed_node() -> None:
    """Neighbours find what structure alone would lose behind the change."""

    def edit(proto: ModelProto) -> None:
        rename(proto)
        proto.graph.node[2].attribute[0].f = 0.25

    found = diff(CHAIN, edited(edit))
    [pair] = found.changed
    assert "attribute alpha: 0.5 -> 0.25" == str(pair.changes[0])
    assert ("third", "n_third", 1) == (pair.before.name, pair.after.name, len(pair.changes))
    assert 3 == len(found.renamed)


def test_another_operator_in_the_same_place_is_a_change() -> None:
    """With other names too."""

    def edit(proto: ModelProto) -> None:
        rename(proto)
        proto.graph.node[0].op_type = "Abs"

    found = diff(CHAIN, edited(edit))
    assert [["operator: Relu -> Abs"]] == [[str(change) for change in pair.changes] for pair in found.changed]
    assert (1, 1) == (found.operators["Relu"].removed, found.operators["Abs"].added)


def test_a_weight_that_differs_is_measured() -> None:
    """At the node that reads it, and among initializers."""

    def edit(proto: ModelProto) -> None:
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1, 2, 3, 4.5], np.float32), "w"))

    found = diff(CHAIN, edited(edit))
    [pair] = found.changed
    [change] = pair.changes
    assert ("second", "constant", "1", 0.5) == (pair.before.name, change.what, change.where, change.max_abs)
    assert ["w"] == [item.where for item in found.initializer_changes]
    assert "constant 1: other numbers (by up to 0.5)" == str(change)


def test_a_weight_of_another_shape_is_told_by_its_type() -> None:
    """No numbers are compared."""

    def edit(proto: ModelProto) -> None:
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([2], np.float32), "w"))

    [pair] = diff(CHAIN, edited(edit)).changed
    assert ("float[4]", "float[1]", None) == (pair.changes[0].before, pair.changes[0].after, pair.changes[0].max_abs)


def test_large_weights_are_measured_only_when_asked() -> None:
    """That they differ is told in any case."""
    text = HEAD + "g (float[600, 600] x) => (float[600, 600] y) { [n] y = Add(x, w) }"
    protos = []
    for number in (1.0, 3.0):
        proto = model(text)
        proto.graph.initializer.append(numpy_helper.from_array(np.full((600, 600), number, np.float32), "w"))
        protos.append(proto)
    found = [diff_models(lift(protos[0]), lift(protos[1]), numbers=numbers) for numbers in (False, True)]
    assert [None, 2.0] == [item.changed[0].changes[0].max_abs for item in found]


def test_an_input_that_is_rewired_is_told() -> None:
    """Which input, what it read and what it reads."""

    def edit(proto: ModelProto) -> None:
        proto.graph.node[3].input[1] = "b"

    [pair] = diff(CHAIN, edited(edit)).changed
    assert ["input 1: a -> b"] == [str(change) for change in pair.changes]


def test_nodes_fused_by_any_tool_are_found_between_the_values_that_stay() -> None:
    """Without lineage: a node that gives a known value stands for what lay before it."""
    before = HEAD + (
        "g (float[2, 3] x, float[3, 4] w, float[4] c) => (float[2, 4] y) { [m] p = MatMul(x, w) [a] q = Add(p, c) [r] y = Relu(q) }"
    )
    after = (
        HEAD
        + "g (float[2, 3] x, float[3, 4] w, float[4] c) => (float[2, 4] y) { [k] q = Gemm(x, w, c) [r] y = Relu(q) }"
    )
    found = diff(before, after)
    [group] = found.groups
    assert ("fused", ["m", "a"], ["k"]) == (
        group.kind,
        [node.name for node in group.before],
        [node.name for node in group.after],
    )
    assert (1, (), (), ()) == (found.same, found.changed, found.removed, found.added)


def test_lineage_in_the_file_is_believed() -> None:
    """One node that says that it came from two; names with commas included."""

    def edit(proto: ModelProto) -> None:
        proto.graph.node[2].name = "th,ird"

    def fuse(proto: ModelProto) -> None:
        del proto.graph.node[1:3]
        node = onnx.helper.make_node("Softplus", ["a"], ["c2"], "new")
        node.metadata_props.add(key="graphopt.lineage", value="second,th,ird")
        proto.graph.node.insert(1, node)
        proto.graph.node[2].input[0] = "c2"

    found = diff(edited(edit), edited(fuse))
    [group] = found.groups
    assert ("fused", ["second", "th,ird"]) == (group.kind, [node.name for node in group.before])
    assert ((), 2) == (found.changed, found.same)


def test_one_node_that_became_two_is_split() -> None:
    """Both say what they came from."""

    def split(proto: ModelProto) -> None:
        del proto.graph.node[2]
        made = [onnx.helper.make_node("Abs", ["b"], ["t"], "one"), onnx.helper.make_node("Neg", ["t"], ["c"], "two")]
        for place, node in enumerate(made):
            node.metadata_props.add(key="graphopt.lineage", value="third")
            proto.graph.node.insert(2 + place, node)

    [group] = diff(CHAIN, edited(split)).groups
    assert ("split", ["third"], ["one", "two"]) == (
        group.kind,
        [node.name for node in group.before],
        [node.name for node in group.after],
    )


def test_nodes_inside_subgraphs_and_functions_have_a_path() -> None:
    """A change inside an If branch, and one inside a function."""
    text = (
        HEAD
        + "g (bool c, float[4] x) => (float[4] y) { [call] z = local.f(x) [if] y = If (c) <"
        + "then_branch = t () => (float[4] u) { [inner] u = Relu(z) }, else_branch = e () => (float[4] v) { [other] v = Neg(z) }> }"
        + ' <opset_import: ["": 17], domain: "local"> f (p) => (q) { [body] q = Abs(p) }'
    )

    def edit(proto: ModelProto) -> None:
        proto.functions[0].node[0].op_type = "Exp"
        branch = next(item.g for item in proto.graph.node[1].attribute if item.name == "then_branch")
        branch.node[0].op_type = "Sigmoid"

    found = diff(text, edited(edit, text))
    assert {"if.then_branch": "inner", "function local::f": "body"} == {
        pair.before.graph: pair.before.name for pair in found.changed
    }
    assert 3 == found.same


def test_interface_opsets_and_functions_are_told() -> None:
    """What callers see, and what the file imports."""

    def edit(proto: ModelProto) -> None:
        proto.opset_import[0].version = 18
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 5
        proto.graph.output.append(onnx.ValueInfoProto(name="a"))

    found = diff(CHAIN, edited(edit))
    assert ("input 'x': float[4] -> float[5]", "output 'a' (None) added") == found.interface
    assert ("ai.onnx: 17 -> 18",) == found.opsets


def test_a_constant_node_that_became_an_initializer_says_so() -> None:
    """It is removed, with a note."""
    before = HEAD + "g (float[1] x) => (float[1] y) { [k] w = Constant <value = float[1] {2}> () [n] y = Mul(x, w) }"
    after = HEAD + "g (float[1] x) => (float[1] y) <float[1] w = {2}> { [n] y = Mul(x, w) }"
    found = diff(before, after)
    assert [("k", "its value is an initializer now")] == [(node.name, node.note) for node in found.removed]
    assert () == found.changed


def test_the_optimized_digits_model_is_told_by_lineage_and_by_names_alike() -> None:
    """In memory values say what they stand for, in a file of an old format names do."""
    result = graphopt.optimize(digits_model(), check=False)
    for other in (result, result.proto):
        found = graphopt.diff(digits_model(), other)
        convolutions = [group for group in found.groups if "Conv" == group.after[0].op]
        assert [{"Conv", "BatchNormalization"}] * 3 == [
            {node.op for node in group.before} - {"Div", "Constant"} for group in convolutions
        ]
        assert () == found.added
        assert (3, 0) == (found.operators["BatchNormalization"].before, found.operators["BatchNormalization"].after)


@pytest.mark.parametrize("seed", range(25))
def test_each_node_is_in_one_place(seed: int) -> None:
    """A generated model against itself, and against what the optimizer makes of it."""
    (drawn,) = sampled_models(1, seed=seed)
    proto = drawn.proto
    assert diff_models(lift(proto), lift(proto)).is_empty
    result = graphopt.optimize(proto, check=False)
    for other in (result.model, lift(result.proto)):
        found = diff_models(lift(proto), other)
        before, after = placed(found)
        assert (count(lift(proto)), count(other)) == (len(before) + found.same, len(after) + found.same)
        counts = found.operators.values()
        assert len(before) - len(after) == sum(item.before - item.after for item in counts)


def test_ten_thousand_renamed_nodes_are_matched_in_linear_work() -> None:
    """The middle one differs; all others are found from both sides."""
    proto = model(CHAIN)
    del proto.graph.node[:]
    names = ["x", *(f"v{place}" for place in range(9_999)), "y"]
    for place in range(10_000):
        proto.graph.node.add(op_type="Relu", input=[names[place]], output=[names[place + 1]], name=f"n{place}")

    other = ModelProto()
    other.CopyFrom(proto)
    rename(other)
    other.graph.node[5_000].op_type = "Abs"
    found = diff(proto, other)
    assert (["n5000"], 9_999) == ([pair.before.name for pair in found.changed], len(found.renamed))
