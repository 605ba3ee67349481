"""Attributes, inputs for a model, pipelines, quantization parameters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from onnx.parser import parse_model

from graphopt.errors import PipelineError
from graphopt.ir import DType, find_schema
from graphopt.numerics import Lossy
from graphopt.passes import Fixpoint
from graphopt.runtime import OrtRunner
from graphopt.testing import attributes, feeds, graphs, pipelines, quant_params
from tests.testing.strategies.drawing import drawn


def test_attributes_are_those_of_the_schema():
    schema = find_schema("", "Conv", 22)
    assert schema is not None
    found = drawn(attributes("Conv", opset=22), 60)
    assert {name for item in found for name in item} == set(schema.attributes)


def test_an_unknown_operator_is_refused():
    with pytest.raises(InvalidArgument, match="'Convv'"):
        drawn(attributes("Convv"), 1)


def test_feeds_run_and_have_other_sizes():
    model = parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n, 2] x, int64[n] i) => (float[n, 2] y) { y = Neg(x) }'
    )
    found = drawn(feeds(model), 20)
    assert len({item["x"].shape for item in found}) > 2
    for item in found:
        assert item["x"].shape[0] == item["i"].shape[0]
        with OrtRunner(model, threads=1) as runner:
            runner.run(item)


def test_feeds_of_a_drawn_model_keep_what_is_fixed():
    @st.composite
    def pairs(draw):
        model = draw(graphs(max_nodes=3))
        return model, draw(feeds(model))

    for model, found in drawn(pairs(), 15):
        assert set(model.feeds[0]) == set(found)
        assert all(model.feeds[0][name].dtype == array.dtype for name, array in found.items())


def test_a_model_that_does_not_load_is_refused():
    model = parse_model(
        '<ir_version: 8, opset_import: ["": 17, "nobody": 1]> g (float[n] x) => (float[n] y) { y = nobody.What(x) }'
    )
    with pytest.raises(InvalidArgument, match="no inputs can be drawn"):
        drawn(feeds(model), 1)


def test_pipelines_round_trip_and_are_not_lossy_by_themselves():
    found = drawn(pipelines(), 40)
    assert any(isinstance(item, Fixpoint) for pipeline in found for item in pipeline.items)
    assert not any(isinstance(pipeline.declared_numerics, Lossy) for pipeline in found)
    assert 1 <= min(len(list(pipeline.passes())) for pipeline in found)


def test_pipelines_of_certain_passes():
    found = drawn(pipelines(passes=["canonicalize", "prune-magnitude"], max_passes=2), 20)
    assert {"canonicalize", "prune-magnitude"} == {item.name for pipeline in found for item in pipeline.passes()}
    with pytest.raises(PipelineError, match="canonicalise"):
        drawn(pipelines(passes=["canonicalise"]), 1)


def test_quant_params_have_the_shape_of_the_channels():
    for params in drawn(quant_params(dtypes=[DType.INT8], channels=4, axis=1), 10):
        assert (DType.INT8, (4,), (4,), 1) == (params.dtype, params.scale.shape, params.zero_point.shape, params.axis)
        assert (params.scale.numpy().astype(np.float64) > 0).all()
        assert params.zero_point.numpy().dtype == np.int8
    with pytest.raises(InvalidArgument, match="none of uint8"):
        drawn(quant_params(dtypes=[DType.FLOAT]), 1)
