"""store-weights: sparse where that is smaller and the target reads it, the same bits in ONNX Runtime, and dense again."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, helper, numpy_helper

import graphopt
from graphopt.backends.onnxruntime.targets import ARM, CPU, CUDA
from graphopt.backends.targets import ONNX, TENSORRT
from graphopt.ir import DType
from graphopt.passes import PassContext
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.stored_weights import StoreWeights
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.zeroing import run_model

RNG = np.random.default_rng(5)


def mostly_zero(shape, share=0.9, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    found = np.asarray(rng.integers(1, 60, shape) * np.where(rng.random(shape) < share, 0, 1), dtype)
    return found * np.asarray(rng.choice([-1, 1], shape), dtype) + 0 if np.dtype(dtype).kind == "f" else found


def stored(proto, target=CPU, form="sparse"):
    owner = lift_model(proto)
    result = StoreWeights(form).run(owner.graph, PassContext(target=target))
    return owner, result


def product(weight, **more):
    text = "y = MatMul (x, w)"
    return model(text, f"float[2,{weight.shape[0]}] x", "float[*] y", initializers={"w": weight}, **more)


FEED = {"x": RNG.normal(size=(2, 64)).astype(np.float32)}


@pytest.mark.parametrize("target", [CPU, ARM, CUDA])
def test_mostly_zero_weights_become_smaller_and_compute_the_same(target):
    proto = product(mostly_zero((64, 32)))
    owner, result = stored(proto, target)
    made = emit_model(owner)
    checker.check_model(made)
    assert ([], ["w"]) == ([*made.graph.initializer], [item.values.name for item in made.graph.sparse_initializer])
    assert {"weights": 1, "saved bytes": 64 * 32 * 4 - 12 * np.count_nonzero(mostly_zero((64, 32)))} == result.stats
    assert made.ByteSize() < proto.ByteSize() / 2
    expected = run_model(lift_model(proto), FEED)["y"]
    assert expected.tobytes() == run_model(lift_model(made), FEED)["y"].tobytes()


@pytest.mark.parametrize("target", [ONNX, TENSORRT])
def test_targets_that_do_not_say_that_they_read_them_get_none(target):
    owner, result = stored(product(mostly_zero((64, 32))), target)
    assert not result.changed
    assert not any(value.const.is_sparse for value in owner.graph.initializers())


def test_a_model_for_such_a_target_comes_with_a_note():
    proto = product(mostly_zero((64, 32)))
    result = graphopt.optimize(proto, target="onnx", pipeline="store-weights")
    note = "weights stay dense: target 'onnx' is not known to read sparse initializers; only compression makes its files smaller"
    assert note in result.report.notes
    assert [] == graphopt.optimize(proto, pipeline="store-weights").report.notes


@settings(PROPERTY, max_examples=25)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    share=st.sampled_from([0.0, 0.5, 0.7, 0.95, 1.0]),
    dtype=st.sampled_from(
        [
            "float16",
            "float32",
            "float64",
            "int8",
            "uint8",
            "int16",
            "int32",
            "int64",
            "uint16",
            "uint32",
            "uint64",
            "bool",
        ]
    ),
    inside=st.booleans(),
)
def test_every_type_and_rank_that_is_stored_sparse_is_read_bit_for_bit(shape, share, dtype, inside):
    """In ONNX Runtime, in the main graph and in a branch; what would be larger stays dense."""
    weight = mostly_zero((170, *shape), share, dtype)
    proto = identity(weight, inside=inside)
    owner, result = stored(proto)
    made = emit_model(owner)
    assert made.ByteSize() < proto.ByteSize() if result.changed else made == proto
    assert weight.tobytes() == run_model(owner, {"c": np.array(True)} if inside else {})["y"].tobytes()
    again, _ = stored(made, form="dense")
    assert weight.tobytes() == again_weight(again).tobytes()
    if weight.nbytes >= 1024 and share == 1.0:
        assert result.changed


def again_weight(owner):
    (found,) = [
        value.const for graph in owner.graph.walk_graphs() for value in graph.initializers() if value.name == "w"
    ]
    assert not found.is_sparse
    return found.numpy()


def identity(weight, *, inside):
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    given_out = [helper.make_tensor_value_info("y", kind, weight.shape)]
    constants = [numpy_helper.from_array(weight, "w")]
    if not inside:
        graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], given_out, constants)
    else:
        info = [helper.make_tensor_value_info("z", kind, weight.shape)]
        branches = [
            helper.make_graph([helper.make_node("Identity", ["w"], ["z"])], "then", [], info, constants),
            helper.make_graph([helper.make_node("Identity", ["v"], ["z"])], "else", [], info,
                              [numpy_helper.from_array(weight[::-1], "v")]),
        ]  # fmt: skip
        node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], given_out)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])


def test_signs_of_zeros_and_nan_are_kept():
    weight = np.zeros((64, 32), np.float32)
    weight[1, 2], weight[3, 4] = -0.0, np.nan
    owner, _ = stored(product(weight))
    (value,) = owner.graph.initializers()
    assert value.const.is_sparse
    assert 2 == value.const.data.values.size
    assert weight.tobytes() == value.const.numpy().tobytes()


def test_weights_of_quantized_layers_are_read():
    text = """
    f = DequantizeLinear <axis=1> (w, s, z)
    y = MatMul (x, f)
    """
    weight = mostly_zero((64, 32), 0.97, np.int8)
    start = {"w": weight, "s": np.full(32, 0.1, np.float32), "z": np.zeros(32, np.int8)}
    proto = model(text, "float[2,64] x", "float[*] y", initializers=start)
    owner, result = stored(proto)
    assert 1 == result.stats["weights"]
    expected = run_model(lift_model(proto), FEED)["y"]
    assert expected.tobytes() == run_model(owner, FEED)["y"].tobytes()


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (mostly_zero((64, 32), 0.6), "it would be larger"),
        (mostly_zero((64, 32), 0.85, np.int8), "eight bytes of index are more than eight bytes of zeros"),
        (mostly_zero((64, 3), 1.0), "it is small"),
        (np.array(0, np.float32).reshape(()), "it has no axis"),
        (np.zeros((64, 64), ml_dtypes.int4), "it is packed"),
        (np.zeros((64, 64), np.complex64), "no runtime reads it"),
        (np.full((64, 64), "", object), "it is text"),
        (np.zeros((0, 64), np.float32), "it is empty"),
    ],
    ids=lambda item: item.replace(" ", "-") if isinstance(item, str) else "",
)
def test_what_stays_dense(weight, why):
    owner = lift_model(identity_of(weight))
    assert not StoreWeights().run(owner.graph, PassContext(target=CPU)).changed, why


def identity_of(weight):
    found = numpy_helper.from_array(weight, "w")
    info = helper.make_tensor_value_info("y", found.data_type, weight.shape)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [info], [found])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


def test_inputs_with_a_default_stay_dense():
    proto = product(mostly_zero((64, 32)))
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [64, 32]))
    assert not stored(proto)[1].changed


def test_an_old_file_format_becomes_one_that_has_them():
    owner, result = stored(product(mostly_zero((64, 32)), opset=9, ir_version=4))
    assert result.changed
    assert 6 == owner.ir_version
    assert 4 == stored(product(mostly_zero((64, 32), 0.1), opset=9, ir_version=4))[0].ir_version


def test_a_second_run_changes_nothing():
    owner, _ = stored(product(mostly_zero((64, 32))))
    assert not StoreWeights().run(owner.graph, PassContext(target=CPU)).changed
    assert StoreWeights("dense").run(owner.graph, PassContext(target=ONNX)).changed, "any target reads dense ones"
    assert not StoreWeights("dense").run(owner.graph, PassContext(target=ONNX)).changed


def test_a_pruned_model_is_smaller_on_disk(tmp_path):
    """From magnitudes to the file, which is checked in ONNX Runtime and read again."""
    weight = RNG.normal(size=(64, 64)).astype(np.float32)
    pipeline = "prune-magnitude{sparsity=0.9}"
    sizes: list[int] = []
    for passes in (pipeline, f"{pipeline},store-weights"):
        result = graphopt.optimize(product(weight), pipeline=passes)
        (path,) = result.save(tmp_path / f"{len(sizes)}.onnx")
        sizes.append(path.stat().st_size)
        assert DType.FLOAT is result.model.graph.outputs[0].dtype
    assert sizes[1] < 0.35 * sizes[0]
    found = [run_model(lift_model(onnx.load(tmp_path / f"{place}.onnx")), FEED)["y"].tobytes() for place in (0, 1)]
    assert found[0] == found[1]
