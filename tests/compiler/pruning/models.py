"""Small models to prune."""

from __future__ import annotations

import itertools

import numpy as np
from onnx import ModelProto, TensorProto
from onnx.helper import make_node, make_tensor_value_info

from tests.transforms.harness import model

__all__ = ["chain", "classes", "frozen"]


def chain(*, weights: bool = True, layers: int = 3, width: int = 32, seed: int = 0) -> ModelProto:
    """Layers one after the other with activations between them, float32 [batch, 16] -> float32 [batch, 10]; or one without weights."""
    if not weights:
        return model("y = Relu (x)", "float[N,16] x", "float[N,16] y")
    rng = np.random.default_rng(seed)
    sizes = [16, *[width] * (layers - 1), 10]
    given = {
        f"w{at}": rng.normal(0, 1 / np.sqrt(rows), (rows, columns)).astype(np.float32)
        for at, (rows, columns) in enumerate(itertools.pairwise(sizes))
    }
    lines = []
    for at in range(layers):
        source = "x" if at == 0 else f"r{at - 1}"
        lines.append(f"m{at} = MatMul ({source}, w{at}) r{at} = Relu (m{at})")
    text = " ".join(lines).rsplit(" r", 1)[0].replace(f"m{layers - 1} =", "y =")
    return model(text, "float[N,16] x", "float[N,10] y", initializers=given)


def classes() -> ModelProto:
    """A classifier that gives the number of a class and nothing else."""
    proto = chain()
    scores = proto.graph.output[0].name
    proto.graph.node.append(make_node("ArgMax", [scores], ["class"], axis=1, keepdims=0))
    proto.graph.output[0].CopyFrom(make_tensor_value_info("class", TensorProto.INT64, ["N"]))
    return proto


def frozen() -> ModelProto:
    """One layer: all its channels are inputs and outputs."""
    return model("y = MatMul (x, w)", "float[N,16] x", "float[N,8] y", initializers={"w": np.ones((16, 8), np.float32)})
