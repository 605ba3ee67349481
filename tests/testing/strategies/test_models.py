"""Drawn models are valid, run, are the same on each run, and have all that files in the wild have."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import find, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from onnx import TensorProto

from graphopt.ir import DType, find_schema, newest_opset
from graphopt.ir.verifier import verify
from graphopt.runtime import OrtRunner
from graphopt.testing import GeneratedModel, graphs, models, nodes
from graphopt.testing.strategies.bulk import sampled_models
from graphopt.testing.strategies.growth import operators_at
from graphopt.testing.strategies.kernels import newest_runtime_opset
from graphopt.testing.strategies.samplers import SAMPLERS
from tests.testing.strategies.drawing import drawn, nodes_of

COUNT = 60


@functools.cache
def some_models() -> tuple[GeneratedModel, ...]:
    return tuple(drawn(models(), COUNT, batches=4))


def test_each_model_is_valid_and_runs_on_each_of_its_inputs():
    for model in some_models():
        onnx.checker.check_model(model.proto)
        verify(model.ir)
        assert model.feeds
        with OrtRunner(model.proto, threads=1) as runner:
            for feeds in model.feeds:
                assert {spec.name for spec in runner.outputs} == set(runner.run(feeds))


def test_the_same_models_come_on_each_run():
    first, second = (drawn(models(), 12) for _ in range(2))
    assert [model.proto for model in first] == [model.proto for model in second]


def test_more_than_120_operators_have_samplers_and_most_of_them_at_each_opset():
    everywhere = set().union(*(operators_at(opset) for opset in range(7, newest_runtime_opset() + 1)))
    assert len(everywhere) >= 150
    assert everywhere <= set(SAMPLERS)
    assert all(len(operators_at(opset)) >= 75 for opset in range(7, newest_runtime_opset() + 1))
    assert all(len(operators_at(opset)) >= 130 for opset in range(18, newest_runtime_opset() + 1))


def test_opsets_go_from_7_to_the_newest_one_that_runs():
    found = Counter(model.opset for model in some_models())
    assert min(found) == 7
    assert max(found) == min(newest_runtime_opset(), newest_opset())
    assert len(found) >= 15


def _features(model: GeneratedModel) -> set[str]:
    graph, found = model.proto.graph, set()
    read = Counter(name for node in nodes_of(model) for name in node.input if name)
    outputs = {value.name for value in graph.output}
    found |= {
        node.op_type
        for node in nodes_of(model)
        if node.op_type in ("If", "Loop", "Scan", "Constant", "SequenceConstruct")
    }
    found |= {"unnamed node" for node in graph.node if not node.name}
    found |= {"absent optional input" for node in nodes_of(model) if "" in node.input}
    found |= {
        "unused output"
        for node in graph.node
        if len(node.output) > 1
        for name in node.output
        if not read[name] and name not in outputs
    }
    found |= {"value used many times" for count in read.values() if count > 2}
    found |= {"inner value given out" for name in outputs if read[name]}
    initializers = {item.name for item in graph.initializer}
    if initializers & {value.name for value in graph.input}:
        found.add("overridable")
    found |= {"shared initializer" for name in initializers if read[name] > 1}
    raw = Counter((tuple(item.dims), item.data_type, item.raw_data) for item in graph.initializer)
    found |= {"duplicate initializer" for count in raw.values() if count > 1}
    found |= {
        "symbolic dimension" for value in graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param
    }
    found |= {"function" for _ in model.proto.functions}
    found |= {
        "referring attribute"
        for function in model.proto.functions
        for node in function.node
        for item in node.attribute
        if item.ref_attr_name
    }
    arrays = [array for feeds in model.feeds for array in feeds.values()]
    found |= {"empty tensor" for array in arrays if not array.size}
    found |= {"scalar" for array in arrays if not array.ndim}
    found |= {str(DType.from_numpy(array.dtype)) for array in arrays}
    floats = [array for array in arrays if array.dtype == np.float32]
    found |= {"NaN" for array in floats if np.isnan(array).any()}
    found |= {"infinity" for array in floats if np.isinf(array).any()}
    found |= {"negative zero" for array in floats if (np.signbit(array) & (array == 0)).any()}
    found |= {
        "quantized" for node in nodes_of(model) if node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv")
    }
    found |= {
        "several sizes"
        for first, *others in [model.feeds]
        for other in others
        if {k: v.shape for k, v in other.items()} != {k: v.shape for k, v in first.items()}
    }
    return found


WANTED = (
    "If", "Loop", "Scan", "Constant", "SequenceConstruct", "unnamed node", "absent optional input", "unused output",
    "value used many times", "inner value given out", "overridable", "shared initializer", "duplicate initializer",
    "symbolic dimension", "function", "referring attribute", "empty tensor", "scalar", "float", "float16", "double",
    "int8", "int64", "bool", "string", "NaN", "infinity", "negative zero", "quantized", "several sizes",
)  # fmt: skip


def test_models_have_all_that_files_have():
    """Those of fixed seeds too: what Hypothesis draws also depends on which modules are loaded."""
    found = Counter(feature for model in (*some_models(), *sampled_models(150, seed=1)) for feature in _features(model))
    assert not [feature for feature in WANTED if not found[feature]], found


def test_captured_values_are_read_in_subgraphs():
    def captures(model: GeneratedModel) -> bool:
        inner = [item.g for node in model.proto.graph.node for item in node.attribute if item.HasField("g")]
        return any(
            name
            not in {
                *(v.name for v in graph.input),
                *(i.name for i in graph.initializer),
                *(o for n in graph.node for o in n.output),
            }
            for graph in inner
            for node in graph.node
            for name in node.input
            if name
        )

    assert sum(map(captures, some_models())) >= 5


def test_plain_graphs_have_no_subgraphs_or_functions():
    for model in drawn(graphs(), 40):
        assert not model.proto.functions
        assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.proto.graph.node}


def test_graphs_of_certain_operators_and_types_have_no_others():
    for model in drawn(graphs(op_types=["Add", "Relu"], dtypes=[DType.FLOAT], opsets=st.just(17)), 20):
        assert {"Add", "Relu", "Constant"} >= {node.op_type for node in model.proto.graph.node}
        assert {TensorProto.FLOAT} == {
            value.type.tensor_type.elem_type for value in [*model.proto.graph.input, *model.proto.graph.output]
        }
        assert 17 == model.opset


def test_extremes_are_left_out_when_asked():
    found = drawn(graphs(allow_extremes=False), 30)
    assert not any(model.is_wild for model in found)


@pytest.mark.parametrize("wrong", [{"op_types": ["Rleu"]}, {"min_nodes": 3, "max_nodes": 2}, {"min_nodes": 0}])
def test_wrong_arguments_are_refused_when_drawn_from(wrong):
    strategy = graphs(**wrong)
    with pytest.raises(InvalidArgument, match=r"Rleu|min_nodes"):
        drawn(strategy, 1)


def test_a_model_shrinks_to_what_matters():
    found = find(
        graphs(op_types=["Relu", "Add", "Concat"], max_nodes=4),
        lambda model: any(node.op_type == "Add" for node in model.proto.graph.node),
        settings=settings(max_examples=150, database=None, derandomize=True),
    )
    assert ["Add"] == [node.op_type for node in found.proto.graph.node if node.op_type != "Constant"]


@pytest.mark.parametrize(
    "op", ["Conv", "Gather", "LSTM", "QLinearConv", "LayerNormalization", "Resize", "Einsum", "TopK", "PRelu"]
)
def test_nodes_are_of_one_operator_and_its_schema(op):
    for model in drawn(nodes(op), 6):
        (node,) = [node for node in model.proto.graph.node if node.op_type == op]
        schema = find_schema("", op, model.opset)
        assert schema is not None
        assert schema.min_inputs <= len(node.input) <= schema.max_inputs
        assert {item.name for item in node.attribute} <= set(schema.attributes)
