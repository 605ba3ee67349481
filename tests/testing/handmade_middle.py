"""Numbers stored in uint8 around 128, or around something else, or as something else."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["float_conv", "float_gemm", "middle_pair", "middle_weights"]


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


def _between(choices: Choices, layer: str, shape: str, constants: dict[str, np.ndarray]) -> ModelProto:
    """A layer of floats that reads stored numbers, or does not, and whose result is stored, or is not."""
    constants |= {"s": np.array(0.05, np.float32), "z": np.array(128, np.uint8)}
    first = choices.of(("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)",) * 3 + ("d = Neg(x)",))
    act = choices.of(("", "", " a = Relu(c)", " a = Tanh(c)"))
    last = "a" if act else "c"
    stored = choices.of(
        (f" r = QuantizeLinear({last}, s, z) y = DequantizeLinear(r, s, z)",) * 3 + (f" y = Abs({last})",)
    )
    return model(
        f"{first} c = {layer}{act}{stored}", f"float[{shape}] x", opset=choices.of((13, 17)), initializers=constants
    )


def float_conv(choices: Choices) -> ModelProto:
    """A convolution, also one by channel."""
    draw = np.random.default_rng(choices.integer(0, 1 << 30))
    group = choices.of((1, 4))
    constants = {"w": draw.uniform(-1, 1, (4, 4 // group, 3, 3)).astype(np.float32)}
    return _between(choices, f"Conv<group = {group}, pads = [1, 1, 1, 1]>(d, w)", "1,4,5,5", constants)


def float_gemm(choices: Choices) -> ModelProto:
    """A product with a bias."""
    draw = np.random.default_rng(choices.integer(0, 1 << 30))
    turned = choices.of((0, 1))
    constants = {
        "w": draw.uniform(-1, 1, (3, 4) if turned else (4, 3)).astype(np.float32),
        "b": draw.uniform(-1, 1, 3).astype(np.float32),
    }
    return _between(choices, f"Gemm<transB = {turned}>(d, w, b)", f"{choices.of(('n', '2'))},4", constants)
