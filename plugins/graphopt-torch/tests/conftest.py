"""A convolutional network as a torch module and as an exporter writes it, made of arrays: nothing here needs torch."""

from types import SimpleNamespace

import numpy as np
import pytest

from graphopt.ir import DType, GraphBuilder


def state(seed=0):
    """Parameters as ``module.state_dict()`` names them: a convolution with BatchNormalization, one without, two linear layers."""
    rng = np.random.default_rng(seed)

    def drawn(*shape, low=-1.0, high=1.0):
        return rng.uniform(low, high, shape).astype(np.float32)

    return {
        "stem.weight": drawn(16, 3, 3, 3),
        "norm.weight": drawn(16, low=0.5),
        "norm.bias": drawn(16),
        "norm.running_mean": drawn(16),
        "norm.running_var": drawn(16, low=0.5, high=2.0),
        "norm.num_batches_tracked": np.array(7),
        "conv.weight": drawn(8, 16, 3, 3),
        "conv.bias": drawn(8),
        "hidden.weight": drawn(12, 8),
        "hidden.bias": drawn(12),
        "head.weight": drawn(5, 12),
    }


def folded(weights, epsilon=1e-5):
    """The first convolution with its BatchNormalization in it, as exporters do it, in float32."""
    scale = weights["norm.weight"] / np.sqrt(weights["norm.running_var"] + np.float32(epsilon))
    bias = (0 - weights["norm.running_mean"]) * scale + weights["norm.bias"]
    return weights["stem.weight"] * scale[:, None, None, None], bias


def exported(weights, *, names="dynamo", epsilon=1e-5):
    """The model of these parameters.

    Args:
        weights: as :func:`state` gives them.
        names: ``dynamo``, which keeps names of what it folded, or ``script``, which gives numbers.
        epsilon: of the BatchNormalization.
    """
    kept = names == "dynamo"
    weight, bias = folded(weights, epsilon)
    b = GraphBuilder(opset=18)
    x = b.input("x", DType.FLOAT, ["n", 3, 6, 6])
    stem = b.constant(weight, "stem.weight" if kept else "onnx::Conv_41")
    y = b.Relu(b.Conv(x, stem, b.constant(bias, "stem.weight_bias" if kept else "onnx::Conv_42")))
    y = b.Relu(
        b.Conv(y, b.constant(weights["conv.weight"], "conv.weight"), b.constant(weights["conv.bias"], "conv.bias"))
    )
    y = b.Flatten(b.GlobalAveragePool(y))
    hidden = b.constant(weights["hidden.weight"], "hidden.weight"), b.constant(weights["hidden.bias"], "hidden.bias")
    y = b.Relu(b.Gemm(y, *hidden, transB=1))
    head = b.constant(np.ascontiguousarray(weights["head.weight"].T), "val_3" if kept else "onnx::MatMul_9")
    b.output(b.MatMul(y, head), "y", DType.FLOAT, ["n", 5])
    return b.build()


def images(count=4, seed=1):
    """What the model takes."""
    return {"x": np.random.default_rng(seed).normal(size=(count, 3, 6, 6)).astype(np.float32)}


@pytest.fixture(scope="session")
def sample():
    """What makes parameters, the model of some, and what it takes; and parameters."""
    return SimpleNamespace(state=state, exported=exported, images=images, STATE=state())
