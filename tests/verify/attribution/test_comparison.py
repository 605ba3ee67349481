"""Two models compared layer by layer."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from onnx.parser import parse_model

import graphopt
from graphopt.data import digits_model, digits_test
from graphopt.errors import ExecutionError
from graphopt.frontends.onnx import lift
from graphopt.verify.attribution import LayerOptions, compare_layers, exposing
from graphopt.verify.attribution.correspondence import find_correspondences
from graphopt.verify.attribution.exposing import ExposedModel

HEAD = '<ir_version: 10, opset_import: ["": 17, "local": 1]> '


def deep(width: int = 6) -> ModelProto:
    """60 nodes: a residual network of 20 blocks of MatMul, Tanh and Add."""
    rng = np.random.default_rng(0)
    proto = parse_model(HEAD + f"g (float[n, {width}] x) => (float[n, {width}] y) {{ }}")
    last = "x"
    for block in range(20):
        weight = rng.standard_normal((width, width)).astype(np.float32) / 3
        proto.graph.initializer.append(numpy_helper.from_array(weight, f"w{block}"))
        given = "y" if block == 19 else f"a{block}"
        proto.graph.node.extend(
            [
                helper.make_node("MatMul", [last, f"w{block}"], [f"m{block}"], f"matmul_{block}"),
                helper.make_node("Tanh", [f"m{block}"], [f"t{block}"], f"tanh_{block}"),
                helper.make_node("Add", [f"t{block}", last], [given], f"add_{block}"),
            ]
        )
        last = given
    return proto


def perturb(proto: ModelProto, name: str, by: float) -> ModelProto:
    """A copy with one element of a weight moved."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    [tensor] = [item for item in copy.graph.initializer if item.name == name]
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[3] += by
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return copy


def write(folder: Path, name: str, proto: ModelProto | str) -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(parse_model(proto) if isinstance(proto, str) else proto, path)
    return path


@pytest.mark.parametrize("block", [0, 11, 19])
def test_the_error_starts_at_the_node_whose_weight_was_changed(tmp_path: Path, block: int) -> None:
    """One of 60 nodes, wherever it is; what comes after it is wrong too, what comes before it is the same."""
    before = write(tmp_path, "before", deep())
    after = write(tmp_path, "after", perturb(deep(), f"w{block}", 0.25))
    found = compare_layers(before, after)
    [start] = found.starts
    assert (f"m{block}", (f"matmul_{block}",), f"matmul_{block}") == (start.name, start.nodes, start.counterpart_node)
    assert not found.ok
    assert 60 == len(found.layers)
    assert ["same"] * 3 * block == [layer.error.status for layer in found.layers[: 3 * block]]
    assert f"m{block}" == found.wrong[0].name
    assert (f"m{block}", "y") == (found.path[0].name, found.path[-1].name)
    assert found.summary.startswith(f"the error starts at 'm{block}'")


def test_growth_is_the_error_over_the_error_before(tmp_path: Path) -> None:
    """A factor of 1000 shows where it is."""
    text = HEAD + (
        "g (float[8] x) => (float[8] y) <float[1] e = {%s}, float[1] big = {1000}> "
        "{ a = Add(x, e) b = Neg(a) c = Sub(b, x) d = Add(c, a) d2 = Add(d, x) y = Mul(d2, big) }"
    )
    first, second = (write(tmp_path, name, text % number) for name, number in (("one", "0"), ("two", "0.00001")))
    found = compare_layers(first, second)
    layers = {layer.name: layer for layer in found.layers}
    assert layers["a"].growth is None
    assert layers["b"].growth == pytest.approx(1)
    for layer in found.layers:
        assert layer.growth is None or layer.growth == layer.error.relative / layer.above


def test_a_slice_never_takes_more_than_the_budget(tmp_path: Path) -> None:
    """Values are taken in several runs, and the result does not depend on how many."""
    before, after = write(tmp_path, "before", deep(64)), write(tmp_path, "after", perturb(deep(64), "w4", 0.25))
    inputs = {"x": np.ones((16, 64), np.float32)}
    size = 2 * 16 * 64 * 4
    whole = compare_layers(before, after, inputs=inputs)
    sliced = compare_layers(before, after, inputs=inputs, options=LayerOptions(memory=7 * size))
    single = compare_layers(before, after, inputs=inputs, options=LayerOptions(memory=size // 2))
    assert (1, 60 * size) == (whole.slices, whole.slice_bytes)
    assert (math.ceil(60 / 7), 7 * size) == (sliced.slices, sliced.slice_bytes)
    assert (60, size) == (single.slices, single.slice_bytes)
    assert any("larger than the memory allowed" in note for note in single.notes)
    assert whole.layers == sliced.layers == single.layers


def test_shapes_that_nobody_states_are_measured(tmp_path: Path) -> None:
    """Sizes come from a run that gives out shapes only."""
    path = write(
        tmp_path,
        "m",
        HEAD + "g (float[n] x) => (int64[2, m] y) { a = Relu(x) z = NonZero(a) y = Concat <axis = 0> (z, z) }",
    )
    model = ExposedModel(str(path), str(tmp_path))
    types = model.types(["a", "z", "y", "not there"])
    assert {"a", "z", "y"} == set(types)
    feeds = {"x": np.array([-1, 0, 1, 2, 3], np.float32)}
    assert {"a": 20, "z": 24, "y": 48} == model.sizes(types, feeds)


def test_a_cut_model_gives_what_the_whole_one_gives(tmp_path: Path) -> None:
    """Captured values of subgraphs come along."""
    text = HEAD + (
        "g (bool c, float[4] x) => (float[4] y) { k = Neg(x) unused = Exp(x) z = If (c) <"
        "then_branch = t () => (float[4] u) { u = Relu(k) }, else_branch = e () => (float[4] v) { v = Identity(k) }> y = Abs(z) }"
    )
    path = write(tmp_path, "m", text)
    feeds = {"c": np.array(True), "x": np.array([1, -2, 3, -4], np.float32)}
    found = ExposedModel(str(path), str(tmp_path)).run(["z"], feeds)
    assert {"z": [0, 2, 0, 4]} == {name: np.asarray(value).tolist() for name, value in found.items()}


def test_the_optimized_digits_model_is_covered_and_right(tmp_path: Path) -> None:
    """Each value of the result has its counterpart, through fusions; differences are a matter of rounding."""
    images, _ = digits_test()
    result = graphopt.optimize(digits_model(), check=False)
    found = graphopt.compare_layers(digits_model(), result, inputs={"image": images[:8]})
    assert {node.output[0] for node in result.proto.graph.node} == {layer.counterpart for layer in found.layers}
    assert {"bn1": "BatchNormalization", "logits": "Identity"}.items() <= {
        layer.name: layer.op for layer in found.layers
    }.items()
    assert (True, ()) == (found.ok, found.starts)
    assert max(layer.error.relative for layer in found.layers) < 1e-5
    assert {"no counterpart: removed, or inside what was fused": 11} == found.skipped


def test_a_renamed_model_is_compared_by_structure(tmp_path: Path) -> None:
    """Without a common name inside, the planted error is found all the same."""
    after = perturb(deep(), "w7", 0.25)
    for node in after.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = name if name in ("x", "y") else f"v_{name}"
        node.name = ""
    for tensor in after.graph.initializer:
        tensor.name = f"v_{tensor.name}"
    found = compare_layers(write(tmp_path, "before", deep()), write(tmp_path, "after", after))
    assert [("m7", "v_m7")] == [(start.name, start.counterpart) for start in found.starts]
    assert (60, {"name", "lineage"}) == (len(found.layers), {layer.how for layer in found.layers})


def test_values_inside_subgraphs_functions_and_sequences_are_counted(tmp_path: Path) -> None:
    """No runtime gives them out, or they are no tensors."""
    text = (
        HEAD
        + "g (bool c, float[4] x) => (float[4] y) { z = local.f(x) s = SequenceConstruct(z, x) i = Constant <value = int64 {0}> () "
        + "q = SequenceAt(s, i) y = If (c) <then_branch = t () => (float[4] u) { u = Relu(q) }, "
        + "else_branch = e () => (float[4] v) { v = Neg(q) }> }"
        + ' <opset_import: ["": 17], domain: "local"> f (p) => (r) { r = Abs(p) }'
    )
    path = write(tmp_path, "m", text)
    found = compare_layers(path, path)
    assert {"inside a subgraph": 2, "inside a function": 1, "no tensor": 1} == found.skipped
    assert ["z", "q", "y"] == [layer.name for layer in found.layers]


def test_two_errors_have_two_starts(tmp_path: Path) -> None:
    """On branches that do not see each other; one behind the other is no start."""
    text = HEAD + (
        "g (float[4] x) => (float[4] y) <float[1] p = {%s}, float[1] q = {%s}> "
        "{ a = Mul(x, p) b = Mul(x, q) c = Relu(a) s = Add(c, b) y = Mul(s, q) }"
    )
    one, two = write(tmp_path, "one", text % (1, 1)), write(tmp_path, "two", text % (2, 3))
    assert ["a", "b"] == [start.name for start in compare_layers(one, two).starts]


def test_weights_outside_the_file_stay_there(tmp_path: Path) -> None:
    """External data is found from the folder of the model."""
    before = write(tmp_path, "before", deep())
    path = tmp_path / "sub" / "after.onnx"
    path.parent.mkdir()
    onnx.save(perturb(deep(), "w3", 0.25), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert ["m3"] == [start.name for start in compare_layers(before, path).starts]


def test_weights_in_a_large_file_are_moved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a copy beside which nothing is serialized any more."""
    path = write(tmp_path, "m", deep(32))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    feeds = {"x": np.ones((1, 32), np.float32)}
    plain = ExposedModel(str(path), str(scratch)).run(["t9"], feeds)
    assert [] == list(scratch.iterdir())
    monkeypatch.setattr(exposing, "_LARGE_FILE", 1)
    moved = ExposedModel(str(path), str(scratch)).run(["t9"], feeds)
    assert {"exposed.onnx", "exposed.onnx.data"} == {item.name for item in scratch.iterdir()}
    assert np.array_equal(np.asarray(plain["t9"]), np.asarray(moved["t9"]))


def test_an_interrupted_comparison_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that has the cut models is ended then; their files go all the same."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    seen: list[list[str]] = []

    def interrupt(told: str) -> None:
        if told.startswith("values"):
            seen.append([path.name for path in temporary.glob("graphopt-layers-*/before")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_layers(digits_model(), digits_model(), progress=interrupt)
    assert [True] == [bool(names) for names in seen]
    assert [] == list(temporary.iterdir())


def test_random_models_say_so(tmp_path: Path) -> None:
    """What differs may be chance."""
    path = write(tmp_path, "m", HEAD + "g (float[4] x) => (float[4] y) { r = RandomUniformLike(x) y = Add(x, r) }")
    assert any("random" in note for note in compare_layers(path, path).notes)


def test_models_with_other_inputs_or_nothing_in_common_are_refused(tmp_path: Path) -> None:
    """One line that says what is wrong."""
    one = write(tmp_path, "one", HEAD + "g (float[4] x) => (float[4] y) { y = Relu(x) }")
    two = write(tmp_path, "two", HEAD + "g (float[4] z) => (float[4] y) { y = Relu(z) }")
    with pytest.raises(ExecutionError, match=r"two.onnx' takes input 'z', which .*one.onnx' does not have; it has x"):
        compare_layers(one, two)
    alien = write(tmp_path, "alien", HEAD + "g (float[4] x) => (float[4] other) { other = Exp(x) }")
    with pytest.raises(ExecutionError, match=r"no values of .* correspond"):
        compare_layers(one, alien)
    with pytest.raises(ExecutionError, match="input 'x' is missing"):
        compare_layers(one, one, inputs={})
    for rtol, shown in ((math.inf, "inf"), (math.nan, "nan"), (-1.0, "-1")):
        with pytest.raises(ExecutionError, match=f"rtol is {shown}, expected a finite number"):
            compare_layers(one, one, options=LayerOptions(rtol=rtol))


def test_initializers_that_were_computed_are_compared_with_their_values() -> None:
    """A folded value keeps its name."""
    before = lift(
        parse_model(HEAD + "g (float[2] x) => (float[2] y) <float[2] k = {1, 2}> { n = Neg(k) y = Add(x, n) }")
    )
    after = lift(parse_model(HEAD + "g (float[2] x) => (float[2] y) <float[2] n = {-1, -2}> { y = Add(x, n) }"))
    found = find_correspondences(before, after)
    assert [("n", "n"), ("y", "y")] == [(pair.name, pair.counterpart) for pair in found.pairs]
