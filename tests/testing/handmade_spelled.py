"""Operators on integers that targets without them have spelled out."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.testing.handmade_middle import middle_pair
from tests.testing.handmade_stored import integer_operator
from tests.transforms.harness import model

__all__ = ["dynamic_quantize", "integer_conv", "integer_matmul", "packed_product", "stored_concat", "stored_operator"]

_MICROSOFT = ', "com.microsoft" : 1'


def _draw(choices: Choices) -> np.random.Generator:
    return np.random.default_rng(choices.integer(0, 1 << 30))


def _quantized(name: str, x: str) -> tuple[str, dict[str, np.ndarray]]:
    constants: dict[str, np.ndarray] = {f"{name}s": np.array(0.05, np.float32), f"{name}z": np.array(120, np.uint8)}
    return f"{name} = QuantizeLinear({x}, {name}s, {name}z) ", constants


def stored_operator(choices: Choices) -> ModelProto:
    """Operators that take and give integers, or integers without an operator."""
    return (middle_pair if choices.chance(0.25) else integer_operator)(choices)


def stored_concat(choices: Choices) -> ModelProto:
    """Stored numbers side by side, or chosen from; also bytes, without their scales."""
    first, constants = _quantized("a", "x")
    second, more = _quantized("b", "h")
    constants |= more | {"os": np.array(0.1, np.float32), "oz": np.array(100, np.uint8)}
    axis = choices.of((0, 1))
    if choices.chance(0.3):
        last = f"r = Concat<axis = {axis}>(a, b)"
    elif choices.chance(0.5):
        last = f"r = com.microsoft.QLinearConcat<axis = {axis}>(os, oz, a, as, az, b, bs, bz)"
    else:
        last = "c = Greater(x, h) r = com.microsoft.QLinearWhere(c, a, as, az, b, bs, bz, os, oz)"
    return model(
        f"h = Neg(x) {first}{second}{last} y = DequantizeLinear(r, os, oz)",
        "float[2,3] x",
        "float[n,m] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
        imports=_MICROSOFT,
    )


def integer_matmul(choices: Choices) -> ModelProto:
    """A product of integers that floats add exactly at once, in two parts, or as floats anyhow."""
    draw, inner = _draw(choices), choices.of((3, 300))
    shifts = choices.of(("", ", az", ", az, wz"))
    constants: dict[str, np.ndarray] = {"w": draw.integers(-128, 128, (inner, 4)).astype(np.int8)}
    if shifts:
        constants["az"] = np.array(130, np.uint8)
    if "wz" in shifts:
        constants["wz"] = choices.of((np.array(3, np.int8), np.array([1, 2, 3, 4], np.int8)))
    last = choices.of(("y = Abs(p)", "f = Cast<to = 1>(p) y = Neg(f)"))
    return model(
        f"i = Cast<to = 2>(x) p = MatMulInteger(i, w{shifts}) {last}",
        f"float[{choices.of(('n', '2'))},{inner}] x",
        f"{'int32' if 'Abs' in last else 'float'}[m,4] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
    )


def integer_conv(choices: Choices) -> ModelProto:
    """A convolution of integers."""
    draw = _draw(choices)
    shifts = choices.of(("", ", az", ", az, wz"))
    constants: dict[str, np.ndarray] = {"w": draw.integers(0, 256, (4, 2, 3, 3)).astype(np.uint8)}
    if shifts:
        constants["az"] = np.array(130, np.uint8)
    if "wz" in shifts:
        constants["wz"] = np.array(3, np.uint8)
    return model(
        f"i = Cast<to = 2>(x) p = ConvInteger<pads = [1, 1, 0, 1], strides = [1, 2]>(i, w{shifts}) y = Abs(p)",
        f"float[{choices.of((1, 2))},2,5,6] x",
        "int32[n,4,h,m] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
    )


def dynamic_quantize(choices: Choices) -> ModelProto:
    """Numbers that are quantized as they come, and what they stand for then."""
    more = choices.of(("", " w = Neg(s)"))
    return model(
        f"h = {choices.of(('Neg', 'Abs', 'Exp'))}(x) q, s, z = DynamicQuantizeLinear(h) y = DequantizeLinear(q, s, z){more}",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of((11, 13, 18, 21)),
    )


def packed_product(choices: Choices) -> ModelProto:
    """A product with packed weights, with zero points or without."""
    inner, outer, bits = choices.of((16, 20, 32)), choices.of((1, 3)), choices.of((4, 8))
    blocks, draw = -(-inner // 16), _draw(choices)
    shifted = choices.chance(0.5)
    constants: dict[str, np.ndarray] = {
        "w": draw.integers(0, 256, (outer, blocks, 16 * bits // 8), dtype=np.uint8),
        "s": draw.uniform(0.1, 1, (outer, blocks)).astype(np.float32),
    }
    if shifted:
        constants["z"] = draw.integers(0, 256, (outer, -(-blocks * bits // 8)), dtype=np.uint8)
    stated = f"K = {inner}, N = {outer}, bits = {bits}, block_size = 16"
    return model(
        f"a = com.microsoft.MatMulNBits<{stated}>(x, w, s{', z' if shifted else ''}) y = Neg(a)",
        f"float[{choices.of(('n', '2'))},{inner}] x",
        f"float[m,{outer}] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
        imports=_MICROSOFT,
    )
