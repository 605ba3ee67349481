"""What ONNX Runtime does to layers of floats between integers, and how that is kept from happening."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from graphopt import optimize
from graphopt.testing.strategies.choices import SeededChoices
from tests.testing.handmade_middle import float_conv, float_gemm

STORED = {"QLinearConv", "QGemm", "QLinearMatMul"}


def kernels(model, folder, level):
    """Operators of the graph that ONNX Runtime makes of a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "made.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "made.onnx").graph.node}


def between_integers(maker):
    """A model with the layer right between both, and no activation."""
    for seed in range(200):
        found = maker(SeededChoices(seed))
        stored = [node.op_type for node in found.graph.node if "Linear" in node.op_type]
        if len(stored) == 4 and len(found.graph.node) == 5:
            return found
    raise AssertionError("none is made")


@pytest.mark.parametrize("maker", [float_conv, float_gemm])
@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_the_runtime_quantizes_the_plain_layer_and_leaves_the_spelled_one(tmp_path, maker, level):
    plain = between_integers(maker)
    level = getattr(ort.GraphOptimizationLevel, level)
    assert STORED & kernels(plain, tmp_path, level), "the reason for the pass is gone: ONNX Runtime leaves floats alone"
    kept = optimize(plain, pipeline="keep-float-layers").proto
    assert not STORED & kernels(kept, tmp_path, level)


@pytest.mark.parametrize("maker", [float_conv, float_gemm])
def test_other_targets_keep_the_standard_operator(maker):
    kept = optimize(between_integers(maker), pipeline="keep-float-layers", target="onnx").proto
    assert {"", "ai.onnx"} >= {node.domain for node in kept.graph.node}
    assert np.all([node.op_type in ("Conv", "Gemm", "QuantizeLinear", "DequantizeLinear") for node in kept.graph.node])
