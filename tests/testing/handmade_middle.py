"""Numbers stored in uint8 around 128, or around something else, or as something else."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["middle_pair", "middle_weights"]


def _parameters(choices: Choices, count: int) -> dict[str, np.ndarray]:
    """Scale and zero point, by one number or by channel."""
    dtype = choices.of((np.uint8, np.uint8, np.int8))
    zero = choices.of((128, 128, 100, 0)) if dtype is np.uint8 else 0
    shape = (count,) if choices.chance(0.3) else ()
    return {"s": np.full(shape, choices.of((0.02, 0.5)), np.float32), "z": np.full(shape, zero, dtype)}


def middle_pair(choices: Choices) -> ModelProto:
    """A pair, whose integers somebody else may read."""
    constants = _parameters(choices, 3)
    axis = "" if not constants["s"].ndim else "<axis = 1>"
    reader = choices.of(("", "", " i = Cast<to = 6>(q) k = Cast<to = 1>(i) w = Exp(k)"))
    return model(
        f"h = Neg(x) q = QuantizeLinear{axis}(h, s, z) d = DequantizeLinear{axis}(q, s, z) y = Tanh(d){reader}",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=13 if axis else choices.of((10, 13, 17)),
        initializers=constants,
    )


def middle_weights(choices: Choices) -> ModelProto:
    """Stored weights of a product."""
    constants = _parameters(choices, 4)
    axis = "" if not constants["s"].ndim else "<axis = 1>"
    draw = np.random.default_rng(choices.integer(0, 1 << 30))
    constants["q"] = draw.integers(0, 100, (3, 4)).astype(constants["z"].dtype)
    return model(
        f"w = DequantizeLinear{axis}(q, s, z) y = MatMul(x, w)",
        "float[2,3] x",
        opset=13 if axis else choices.of((10, 13, 17)),
        initializers=constants,
    )
