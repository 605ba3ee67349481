"""Models that came quantized: integer operators, dynamic ones, pairs after pairs and between floats, weights made floats by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = [
    "dynamic_lstm",
    "dynamic_product",
    "integer_operator",
    "integer_product",
    "island",
    "moved",
    "pair_after_pair",
    "round_trip",
    "scaled_integers",
    "stored_constant",
]

_MICROSOFT = ', "com.microsoft" : 1'
_Constants = dict[str, Any]


def _draw(choices: Choices) -> np.random.Generator:
    return np.random.default_rng(choices.integer(0, 1 << 30))


def _parameters(name: str, scale: float, zero: int, dtype: type) -> _Constants:
    return {f"{name}s": np.array(scale, np.float32), f"{name}z": np.array(zero, dtype)}


def _bytes(choices: Choices) -> type:
    return choices.of((np.uint8, np.int8))


def round_trip(choices: Choices) -> ModelProto:
    """A pair behind an operator, whose integers imply a Relu or don't."""
    dtype = _bytes(choices)
    least = 0 if dtype is np.uint8 else -128
    constants = _parameters("a", choices.of((0.02, 0.5)), least + choices.of((0, 128, 100)), dtype)
    return model(
        f"h = {choices.of(('Neg', 'Relu', 'Tanh'))}(x) q = QuantizeLinear(h, as, az) d = DequantizeLinear(q, as, az) y = Neg(d)",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of((10, 13, 17, 21)),
        initializers=constants,
    )


def stored_constant(choices: Choices) -> ModelProto:
    """Weights with one scale, or one for each channel."""
    each, dtype = choices.chance(0.5), choices.of((np.int8, np.uint8, np.int32))
    shape, count = (choices.of((2, 3)), 4), (4,) if each else ()
    draw = _draw(choices)
    constants: _Constants = {
        "q": draw.integers(0, 100, shape).astype(dtype),
        "s": draw.uniform(0.1, 1.0, count).astype(np.float32),
        "z": np.full(count, 0 if dtype is np.int32 else 3, dtype),
    }
    return model(
        f"w = DequantizeLinear<axis = 1>(q, s, z) y = {choices.of(('Add', 'Mul'))}(x, w)",
        "float[1,4] x",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
    )


def moved(choices: Choices) -> ModelProto:
    """Integers that are moved, as integers and as floats."""
    op, extra, more = choices.of(
        (
            ("Reshape", ", r", {"r": np.array([3, -1])}),
            ("Transpose<perm = [1, 0]>", "", {}),
            ("Concat<axis = 1>", ", {0}", {}),
            ("Flatten", "", {}),
            ("Slice", ", b, e", {"b": np.array([0]), "e": np.array([1])}),
        )
    )
    body = "q = QuantizeLinear(x, as, az) "
    if choices.chance(0.5):
        body += f"m = {op}(q{extra.format('q')}) d = DequantizeLinear(m, as, az) "
    else:
        body += f"f = DequantizeLinear(q, as, az) d = {op}(f{extra.format('g')}) "
        body = body.replace("d = Concat", "g = DequantizeLinear(q, as, az) d = Concat")
    return model(
        f"{body} y = Neg(d)",
        f"float[{choices.of(('2', '4'))},3] x",
        opset=choices.of((13, 17, 21)),
        initializers={**_parameters("a", 0.05, 7, _bytes(choices)), **more},
    )


def pair_after_pair(choices: Choices) -> ModelProto:
    """A pair behind a pair of the same parameters."""
    return model(
        "q = QuantizeLinear(x, as, az) d = DequantizeLinear(q, as, az) "
        f"e = QuantizeLinear(d, as, az) f = DequantizeLinear(e, as, az) y = {choices.of(('Neg', 'Relu', 'Abs'))}(f)",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of((10, 13, 17, 21)),
        initializers=_parameters("a", choices.of((0.05, 1.0)), 7, _bytes(choices)),
    )


def island(choices: Choices) -> ModelProto:
    """A pair between operators without integer kernels."""
    before, behind = (choices.of(("Neg", "Exp", "Erf", "Sqrt")) for _ in range(2))
    return model(
        f"h = {before}(x) q = QuantizeLinear(h, as, az) d = DequantizeLinear(q, as, az) y = {behind}(d)",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of((13, 17, 21)),
        initializers=_parameters("a", 0.05, choices.of((0, 7)), _bytes(choices)),
    )


def scaled_integers(choices: Choices) -> ModelProto:
    """Weights that are cast and scaled."""
    draw, dtype = _draw(choices), _bytes(choices)
    constants: _Constants = {
        "q": draw.integers(0, 100, (3, 4)).astype(dtype),
        "s": draw.uniform(0.1, 1.0, choices.of(((), (4,), (1, 4), (3, 1)))).astype(np.float32),
        "z": np.array(choices.of((3, 100)), np.float32),
    }
    shifted = choices.chance(0.5)
    body = "c = Cast<to = 1>(q) " + ("m = Sub(c, z) " if shifted else "") + f"w = Mul({'m' if shifted else 'c'}, s) "
    if not shifted:
        constants.pop("z")
    return model(f"{body} y = MatMul(x, w)", "float[n,3] x", opset=choices.of((13, 17, 21)), initializers=constants)


def dynamic_product(choices: Choices) -> ModelProto:
    """An integer product, or convolution, of an activation that is quantized as it comes."""
    draw, dtype = _draw(choices), _bytes(choices)
    conv, each = choices.chance(0.3), choices.chance(0.5)
    shape = (4, 3, 1, 1) if conv else (3, 4)
    scales = ((4, 1, 1) if conv else (4,)) if each else ()
    constants: _Constants = {
        "w": draw.integers(0, 100, shape).astype(dtype),
        "ws": draw.uniform(0.1, 1.0, scales).astype(np.float32),
        "wz": np.array(choices.of((0, 3)), dtype),
    }
    if conv and dtype is np.int8:  # ONNX Runtime has no kernel for it
        constants["w"], constants["wz"] = constants["w"].astype(np.uint8), constants["wz"].astype(np.uint8)
    return model(
        f"q, s, z = DynamicQuantizeLinear(x) p = {'ConvInteger' if conv else 'MatMulInteger'}(q, w, z, wz) c = Cast<to = 1>(p) "
        f"f = Mul({choices.of(('s, ws', 'ws, s'))}) y = Mul({choices.of(('c, f', 'f, c'))})",
        "float[2,3,5,5] x" if conv else f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of((11, 13, 17, 21)),
        initializers=constants,
    )


def dynamic_lstm(choices: Choices) -> ModelProto:
    """A quantized LSTM in one direction or both."""
    draw, two, hidden = _draw(choices), choices.chance(0.5), choices.of((2, 4))
    count = 2 if two else 1
    constants: _Constants = {
        "w": draw.integers(-100, 100, (count, 3, 4 * hidden)).astype(np.int8),
        "r": draw.integers(-100, 100, (count, hidden, 4 * hidden)).astype(np.int8),
        "b": draw.normal(size=(count, 8 * hidden)).astype(np.float32),
        "s": np.full(count, 0.01, np.float32),
        "z": np.zeros(count, np.int8),
    }
    direction = "bidirectional" if two else "forward"
    return model(
        f'y, h = com.microsoft.DynamicQuantizeLSTM<hidden_size = {hidden}, direction = "{direction}">'
        f"(x, w, r{choices.of((', b', ', '))}, , , , , s, z, s, z)",
        "float[5,2,3] x",
        f"float[5,{count},2,{hidden}] y",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
        imports=_MICROSOFT,
    )


def integer_product(choices: Choices) -> ModelProto:
    """ONNX Runtime's products of integers that give floats."""
    draw, each, biased = _draw(choices), choices.chance(0.5), choices.chance(0.5)
    scales = (4,) if each else ()
    constants: _Constants = {
        "w": draw.integers(-100, 100, (3, 4)).astype(np.int8),
        "ws": draw.uniform(0.01, 0.1, scales).astype(np.float32),
        "wz": np.zeros(scales, np.int8),
        **_parameters("a", 0.05, 7, np.uint8),
        **({"b": draw.normal(size=4).astype(np.float32)} if biased else {}),
    }
    bias = ", b" if biased else ""
    opset = choices.of((9, 13, 17, 21))
    if opset == 9 or choices.chance(0.5):  # a near miss: opset 9 has no DequantizeLinear
        constants = {name: array for name, array in constants.items() if not name.startswith("a")}
        body = f"y = com.microsoft.DynamicQuantizeMatMul(x, w, ws, wz{bias})"
    else:
        body = f"q = QuantizeLinear(x, as, az) y = com.microsoft.MatMulIntegerToFloat(q, w, as, ws, az, wz{bias})"
    return model(body, "float[n,3] x", "float[n,4] y", opset=opset, initializers=constants, imports=_MICROSOFT)


def integer_operator(choices: Choices) -> ModelProto:
    """Operators that take and give integers."""
    draw = _draw(choices)
    constants = {**_parameters("a", 0.05, 120, np.uint8), **_parameters("o", 0.1, 100, np.uint8)}
    kind = choices.of(
        ("QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearSigmoid", "QLinearGlobalAveragePool")
    )
    pictures = kind in ("QLinearConv", "QLinearGlobalAveragePool")
    if kind in ("QLinearConv", "QLinearMatMul", "QGemm"):
        count = (4,) if choices.chance(0.5) else ()
        constants["w"] = draw.integers(-100, 100, (4, 3, 2, 2) if pictures else (3, 4)).astype(np.int8)
        constants["ws"] = draw.uniform(0.01, 0.1, count).astype(np.float32)
        constants["wz"] = np.zeros(count, np.int8)
    biased = kind in ("QLinearConv", "QGemm") and choices.chance(0.5)
    if biased:
        constants["b"] = draw.integers(-1000, 1000, 4).astype(np.int32)
    bias = "b" if biased else ""
    body = {
        "QLinearConv": f"r = QLinearConv(q, as, az, w, ws, wz, os, oz{', b' if biased else ''})",
        "QLinearMatMul": "r = QLinearMatMul(q, as, az, w, ws, wz, os, oz)",
        "QGemm": f"r = com.microsoft.QGemm(q, as, az, w, ws, wz, {bias}, os, oz)",
        "QLinearAdd": "r = com.microsoft.QLinearAdd(q, as, az, q, as, az, os, oz)",
    }.get(kind, f"r = com.microsoft.{kind}(q, as, az, os, oz)")
    return model(
        f"q = QuantizeLinear(x, as, az) {body} y = DequantizeLinear(r, os, oz)",
        "float[2,3,4,4] x" if pictures else "float[2,3] x",
        opset=choices.of((13, 17, 21)),
        initializers=constants,
        imports=_MICROSOFT,
    )
