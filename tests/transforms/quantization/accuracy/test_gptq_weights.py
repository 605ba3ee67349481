"""Weights are put on their grid, by what layers read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from onnx import ModelProto

from graphopt.compiler.calibration.source import Batches
from graphopt.compiler.quantizing.examples import FewBatches
from graphopt.errors import CalibrationError, PipelineError
from graphopt.ir import DType, Model, Value
from graphopt.passes import Observer
from graphopt.serde import lift_model
from graphopt.transforms.quantization.accuracy import GptqWeights
from graphopt.transforms.quantization.parameters import round_trip, weight_quantization
from graphopt.transforms.quantization.static import AssignQuantization
from tests.transforms.harness import model
from tests.transforms.quantization.accuracy.calibrated import Floats, batches, carried_out, environment, noise

INT8 = GptqWeights(dtype="int8", block=0)


def random(*shape: int, seed: int = 1) -> Floats:
    """Weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def rounded(proto: ModelProto, **options: object) -> ModelProto:
    """The model with its weights ``w`` rounded to nearest."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    from onnx import numpy_helper

    for item in copy.graph.initializer:
        if item.name.startswith("w"):
            array = numpy_helper.to_array(item)
            made = round_trip(array, weight_quantization(array, **options))  # type: ignore[arg-type]
            item.CopyFrom(numpy_helper.from_array(made.astype(array.dtype), item.name))
    return copy


LAYERS = {
    "conv": ("y = Conv<pads=[1,1,1,1]>(x, w)", "float[2,6,5,5] x", (4, 6, 3, 3), 0),
    "depthwise": ("y = Conv<group=6, strides=[2,1]>(x, w)", "float[2,6,5,5] x", (12, 1, 3, 3), 0),
    "matmul": ("y = MatMul(x, w)", "float[40,16] x", (16, 5), 1),
    "gemm": ("y = Gemm<transB=1>(x, w)", "float[40,16] x", (5, 16), 0),
}


def feeds_of(proto: ModelProto, count: int = 6) -> list[dict[str, Floats]]:
    """Data for the input of a model."""
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    return batches(*shape, count=count)


@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_are_nearer_than_by_rounding_to_nearest(kind: str) -> None:
    """Eight bits, one scale for each output; the note says so."""
    body, inputs, shape, axis = LAYERS[kind]
    proto = model(body, inputs, initializers={"w": random(*shape)})
    feeds = feeds_of(proto)
    made, [result, again] = carried_out(proto, feeds, INT8, INT8)
    weight = next(value for value in made.graph.values() if value.name == "w")
    assert weight.quantization is not None
    assert (weight.quantization.dtype, weight.quantization.axis, weight.quantization.block) == (DType.INT8, axis, 0)
    assert noise(proto, made, feeds) < 0.9 * noise(proto, rounded(proto, dtype=DType.INT8, axis=axis), feeds)
    assert result.stats["layers"] == 1
    assert result.stats["sqnr_after"] > result.stats["sqnr_before"]
    assert not again.changed


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2"])
@pytest.mark.parametrize("kind", ["matmul", "gemm"])
def test_blocks_of_few_bits(kind: str, dtype: str) -> None:
    """Blocks lie along the inputs of an output; each weight is what an integer stands for."""
    body, inputs, shape, axis = LAYERS[kind]
    proto = model(body, inputs, initializers={"w": random(*shape)})
    feeds = feeds_of(proto)
    made, _ = carried_out(proto, feeds, GptqWeights(dtype=dtype, block=8))
    weight = next(value for value in made.graph.values() if value.name == "w")
    how = weight.quantization
    assert how is not None
    assert (how.dtype, how.axis, how.block) == (DType[dtype.upper()], 1 - axis, 8)
    assert how.scale.shape == (tuple(2 if at == 1 - axis else size for at, size in enumerate(shape)))
    array = weight.array()
    assert array is not None
    np.testing.assert_allclose(
        round_trip(array, how).astype(np.float64), array.astype(np.float64), rtol=1e-6, atol=1e-6
    )
    plain = rounded(proto, dtype=DType[dtype.upper()], axis=1 - axis, block=8, symmetric=dtype.startswith("int"))
    assert noise(proto, made, feeds) < 0.8 * noise(proto, plain, feeds)


def test_weights_with_a_note_keep_to_it() -> None:
    """What ``assign-quantization`` has decided stays, and layers that it left alone do too."""
    proto = model(
        "h = Conv(x, w, b)\ny = Conv(h, w2)",
        "float[1,6,6,6] x",
        initializers={"w": random(4, 6, 1, 1), "b": random(4), "w2": random(3, 4, 1, 1, seed=2)},
    )
    feeds = feeds_of(proto)
    noted, _ = carried_out(proto, feeds, AssignQuantization(ops=("Conv",), include=("h",)))
    made, [_, result] = carried_out(
        proto, feeds, AssignQuantization(ops=("Conv",), include=("h",)), GptqWeights(dtype="noted")
    )
    assert result.stats["layers"] == 1
    before, after = ({value.name: value for value in item.graph.values()} for item in (noted, made))
    assert before["w"].quantization is not None
    assert after["w"].quantization == before["w"].quantization or _same(before["w"], after["w"])
    assert np.array_equal(after["w2"].array(), before["w2"].array())  # type: ignore[arg-type]
    assert not np.array_equal(after["w"].array(), before["w"].array())  # type: ignore[arg-type]


def _same(one: Value, other: Value) -> bool:
    return (
        one.quantization is not None
        and other.quantization is not None
        and one.quantization.scale.equals(other.quantization.scale)
    )


def test_integers_keep_to_those_that_rounding_to_nearest_uses() -> None:
    """With a range of 7 bits no weight gets an eighth."""
    proto = model("y = MatMul(x, w)", "float[40,16] x", initializers={"w": random(16, 5)})
    feeds = feeds_of(proto)
    made, _ = carried_out(
        proto, feeds, AssignQuantization(reduce_range=True), GptqWeights(dtype="noted"), target="onnxruntime-cpu"
    )
    weight = next(value for value in made.graph.values() if value.name == "w")
    array = weight.array()
    assert weight.quantization is not None
    assert array is not None
    steps = np.rint(array.astype(np.float64) / weight.quantization.scale.numpy().astype(np.float64))
    assert np.abs(steps).max() <= 64


@pytest.mark.parametrize(
    ("body", "initializers"),
    [
        ("y = Add(x, w)", {"w": random(16)}),
        ("h = MatMul(x, w)\nv = Relu(w)\ny = MatMul(h, v)", {"w": random(16, 16)}),
        ("h = MatMul(x, w)\ng = Gemm<transB=1>(x, w)\ny = Add(h, g)", {"w": random(16, 16)}),
        ("y = MatMul(x, w)", {"w": np.full((16, 4), np.nan, np.float32)}),
    ],
    ids=["no layer", "another use", "read in two ways", "not finite"],
)
def test_what_is_left_alone(body: str, initializers: dict[str, Floats]) -> None:
    """Constants that are no weights, or not of one kind of layer only."""
    proto = model(body, "float[40,16] x", initializers=initializers)
    _, [result] = carried_out(proto, batches(40, 16), INT8)
    assert not result.changed
    assert not result.stats


def test_weights_of_two_layers_are_rounded_for_both() -> None:
    """The moments of what both read are added."""
    proto = model(
        "h = MatMul(x, w)\nt = Tanh(h)\ny = MatMul(t, w)", "float[40,16] x", initializers={"w": random(16, 16)}
    )
    feeds = batches(40, 16)
    made, [result] = carried_out(proto, feeds, GptqWeights(dtype="int4", block=0))
    assert result.stats["layers"] == 1
    assert noise(proto, made, feeds) < noise(proto, rounded(proto, dtype=DType.INT4, axis=1), feeds)


def test_an_input_that_is_always_empty_leaves_weights_alone() -> None:
    """There is nothing to decide by."""
    proto = model("y = MatMul(x, w)", "float[N,16] x", initializers={"w": random(16, 5)})
    _, [result] = carried_out(proto, [{"x": np.zeros((0, 16), np.float32)}], INT8)
    assert not result.changed


def test_include_and_exclude() -> None:
    """Layers by name and operator."""
    proto = model(
        "h = MatMul(x, w)\ny = MatMul(h, w2)", "float[9,8] x", initializers={"w": random(8, 8), "w2": random(8, 4)}
    )
    made, [result] = carried_out(proto, batches(9, 8), GptqWeights(dtype="int8", block=0, exclude=("h",)))
    assert result.stats["layers"] == 1
    values = {value.name: value.quantization for value in made.graph.values()}
    assert values["w"] is None
    assert values["w2"] is not None


def test_no_data_and_wrong_options_are_said() -> None:
    """One line each."""
    proto = model("y = MatMul(x, w)", "float[9,8] x", initializers={"w": random(8, 4)})
    with pytest.raises(CalibrationError, match="'gptq-weights' looks at data, and there is none"):
        carried_out(proto, None, INT8)
    with pytest.raises(PipelineError, match="dtype is 'int5', expected one of int2, int4"):
        GptqWeights(dtype="int5")
    with pytest.raises(PipelineError, match="order is 'best', expected one of activation, natural"):
        GptqWeights(order="best")
    with pytest.raises(PipelineError, match="damp"):
        GptqWeights(damp=0.0)


class Counted(FewBatches):
    """A source that remembers, and counts how often it is asked."""

    asked = 0

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        """Count, and show."""
        self.asked += 1
        return super().observe(model, observers)


def test_a_source_that_remembers_is_asked_once_for_the_same_weights() -> None:
    """The second plan gets the integers of the first; other options, and other weights, are looked at anew."""
    proto = model("y = MatMul(x, w)", "float[40,16] x", initializers={"w": random(16, 5)})
    other = model("y = MatMul(x, w)", "float[40,16] x", initializers={"w": random(16, 5, seed=2)})
    feeds = feeds_of(proto)
    data = Batches(environment(), lambda: feeds)
    source = Counted(data, data)

    def weights(made_of: ModelProto, step: GptqWeights) -> Value:
        lifted = lift_model(made_of)
        known = environment()
        ctx = known.context(known.backend("onnxruntime-cpu"), calibration=source)
        result = step.run(lifted.graph, ctx)
        assert result.changed
        assert 1 == result.stats["layers"]
        return next(value for value in lifted.graph.values() if value.name == "w")

    first, again = weights(proto, INT8), weights(proto, INT8)
    assert 1 == source.asked
    assert str(first.quantization) == str(again.quantization)
    assert first.const is not None
    assert again.const is not None
    assert np.allclose(first.const.numpy().astype(float), again.const.numpy().astype(float), rtol=1e-6)
    weights(proto, GptqWeights(dtype="int8", block=0, damp=0.1))
    assert 2 == source.asked
    weights(other, INT8)
    assert 3 == source.asked
