"""The generated models are valid, have the size that was asked for, and run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from benchmarks import models
from benchmarks.numbers import draw_inputs, outputs


@pytest.mark.parametrize("nodes", [1, 9, 100])
@pytest.mark.parametrize("shared", [False, True])
def test_chain_has_the_nodes_asked_for(nodes: int, shared: bool) -> None:
    """Blocks of nine and a rest of Identity nodes give the exact count; weights are one or one per block."""
    model = models.chain(nodes, shared_weight=shared)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == nodes
    blocks = nodes // 9
    assert len(model.graph.initializer) == 3 + 2 * (min(blocks, 1) if shared else blocks)


def test_chain_is_the_same_each_time() -> None:
    """Two calls give the same bytes; another seed gives other weights."""
    assert models.chain(50).SerializeToString() == models.chain(50).SerializeToString()
    assert models.chain(50, seed=1).SerializeToString() != models.chain(50).SerializeToString()


def test_wide_has_one_value_with_all_the_users() -> None:
    """The input feeds every branch."""
    model = models.wide(500, fan_in=10)
    assert sum("x" in node.input for node in model.graph.node) == 500
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(
    "model",
    [models.chain(100), models.wide(50, fan_in=10), models.nest(5), models.equal_initializers(20), models.heavy(4)],
    ids=lambda model: model.graph.name,
)
def test_models_run_with_any_batch(model: ModelProto) -> None:
    """ONNX Runtime runs each model with two batch sizes, and the output has the batch of the input."""
    data = model.SerializeToString()
    for batch in (1, 3):
        (output,) = outputs(data, draw_inputs(data, dynamic=batch))
        assert isinstance(output, np.ndarray)
        assert output.shape[0] == batch
        assert np.isfinite(output).all()


def test_nest_is_as_deep_as_asked_for() -> None:
    """200 If nodes in one another, which only an unparsed message can hold."""
    graph, depth = models.nest(200).graph, 0
    while inner := [a.g for node in graph.node for a in node.attribute if a.name == "then_branch"]:
        graph, depth = inner[0], depth + 1
    assert depth == 200


def test_equal_initializers_have_equal_content() -> None:
    """Many names, one content."""
    tensors = models.equal_initializers(30).graph.initializer
    assert len({tensor.name for tensor in tensors}) == 30
    assert len({numpy_helper.to_array(tensor).tobytes() for tensor in tensors}) == 1


def test_external_data_is_sparse_and_every_weight_differs(tmp_path: Path) -> None:
    """The weights lie beside the model in a file that takes little of the disk, no two the same."""
    path = models.external_data(tmp_path / "m.onnx", gigabytes=0.01, side=512)
    data = tmp_path / "m.onnx.data"
    assert data.stat().st_size == 10 * 512 * 512 * 4
    assert data.stat().st_blocks * 512 < data.stat().st_size / 10
    onnx.checker.check_model(path, full_check=True)
    weights = [t for t in onnx.load(path).graph.initializer if t.name.startswith("w")]
    assert len({numpy_helper.to_array(weight).tobytes() for weight in weights}) == len(weights) == 10
