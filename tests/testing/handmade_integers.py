"""Models with an operator between DequantizeLinear and QuantizeLinear, as static quantization leaves them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["between", "float_product"]

_Constants = dict[str, np.ndarray]


def _weights(choices: Choices, name: str, shape: tuple[int, ...], axis: int, dtype: type, constants: _Constants) -> str:
    """Stored integers behind a DequantizeLinear, with one scale for each channel or one for all."""
    each = choices.chance(0.5)
    count = (shape[axis],) if each else ()
    rng = np.random.default_rng(choices.integer(0, 1 << 30))
    low = 0 if dtype is np.uint8 else -127
    constants[f"{name}q"] = rng.integers(low, 128, shape).astype(dtype)
    constants[f"{name}s"] = rng.uniform(0.01, 0.03, count).astype(np.float32)
    constants[f"{name}z"] = np.zeros(count, dtype)
    return f"{name} = DequantizeLinear<axis = {axis if each else 0}>({name}q, {name}s, {name}z)"


def _types(choices: Choices) -> tuple[type, type]:
    """Of what is read and given, and of weights; ONNX Runtime has a kernel for both."""
    return choices.of(((np.uint8, np.int8), (np.int8, np.int8), (np.uint8, np.uint8)))


def _pair(x: str, name: str, dtype: type, scale: float, constants: _Constants) -> str:
    constants |= {f"{name}s": np.array(scale, np.float32), f"{name}z": np.array(120 if dtype is np.uint8 else 3, dtype)}
    return f"{name}q = QuantizeLinear({x}, {name}s, {name}z) {name} = DequantizeLinear({name}q, {name}s, {name}z) "


def float_product(choices: Choices) -> ModelProto:
    """A product, or a product with a bias, that goes on as floats."""
    constants: _Constants = {}
    dtype, weight = _types(choices)
    inner, outer = choices.of((3, 8)), choices.of((4, 2))
    body = _pair("x", "a", dtype, 0.05, constants) + _weights(choices, "w", (inner, outer), 1, weight, constants)
    last = "y"
    if choices.chance(0.6):
        constants["b"] = np.linspace(-1, 1, outer).astype(np.float32)
        body += f" p = MatMul(a, w) q = Add({choices.of(('p, b', 'b, p'))})"
        last = "q"
    else:
        body += " q = MatMul(a, w)"
        last = "q"
    shape = choices.of(("n", "2,n", "2"))
    return model(
        f"{body} y = Neg({last})", f"float[{shape},{inner}] x", opset=choices.of((13, 17, 21)), initializers=constants
    )


def between(operator: str) -> Callable[[Choices], ModelProto]:
    """Models with an operator, whose result is quantized."""

    def made(choices: Choices) -> ModelProto:
        constants: _Constants = {}
        dtype, weight = _types(choices)
        body = _pair("x", "a", dtype, 0.05, constants)
        shape = {"Conv": "1,2,5,5", "Gemm": "3,2"}.get(operator, "2,3,2")
        match operator:
            case "Conv":
                body += _weights(choices, "w", (4, 2, 3, 3), 0, weight, constants)
                body += f" r = Conv<pads = [1, 1, 1, 1]>(a, w{choices.of((', b', ''))}) "
            case "Gemm":
                flip = choices.chance(0.5)
                body += _weights(choices, "w", (4, 2) if flip else (2, 4), 0 if flip else 1, weight, constants)
                body += f" r = Gemm<transB = {int(flip)}>(a, w{choices.of((', b', ''))}) "
            case "MatMul":
                body += _weights(choices, "w", (2, 4), 1, weight, constants) + " r = MatMul(a, w) "
            case _:
                body += _pair("x", "c", dtype, 0.03, constants) + f" r = {operator}(a, {choices.of(('c', 'a'))}) "
        if " b" in body.rpartition("r = ")[2]:
            constants["b"] = np.linspace(-1, 1, 4).astype(np.float32)
        body += _pair("r", "o", dtype, 0.04, constants) + " y = Neg(o)"
        return model(body, f"float[{shape}] x", opset=choices.of((13, 17, 21)), initializers=constants)

    return made
