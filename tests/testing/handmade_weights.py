"""Models for rules of quantization whose nodes are hardly ever drawn: tables that are looked up, products of packed weights."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["biased_nbits", "looked_up_table", "projected_attention", "recurrent"]


def looked_up_table(choices: Choices) -> ModelProto:
    """Rows of a table, found at places that an ArgMax gives."""
    rows, row = choices.of((3, 5)), choices.of(((8,), (2, 4), (16,)))
    draw = np.random.default_rng(choices.integer(0, 1 << 30))
    return model(
        f"i = ArgMax<axis = -1, keepdims = {choices.of((0, 1))}>(x) y = Gather(w, i)",
        f"float[{choices.of(('n', '2'))},{rows}] x",
        opset=choices.of((13, 17, 21)),
        initializers={"w": draw.normal(size=(rows, *row)).astype(np.float32)},
    )


def recurrent(choices: Choices) -> ModelProto:
    """An LSTM or a GRU, in one direction or both."""
    op, two, hidden = choices.of(("LSTM", "GRU")), choices.chance(0.5), choices.of((2, 3))
    gates, count = (4 if op == "LSTM" else 3) * hidden, 2 if two else 1
    draw = np.random.default_rng(choices.integer(0, 1 << 30))
    shapes = {"w": (count, gates, 3), "r": (count, gates, hidden), "b": (count, 2 * gates)}
    biased = choices.chance(0.5)
    return model(
        f'y = {op}<hidden_size = {hidden}, direction = "{"bidirectional" if two else "forward"}">(x, w, r{", b" if biased else ""})',
        f"float[{choices.of(('s', '3'))},2,3] x",
        opset=choices.of((14, 17, 21)),
        initializers={
            name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items() if name != "b" or biased
        },
    )


def biased_nbits(choices: Choices) -> ModelProto:
    """A product of packed weights, and a row that is added to it."""
    inner, outer, bits = choices.of((16, 20, 32)), choices.of((1, 3)), choices.of((4, 8))
    blocks, draw = -(-inner // 16), np.random.default_rng(choices.integer(0, 1 << 30))
    stated = f"K = {inner}, N = {outer}, bits = {bits}, block_size = 16, accuracy_level = 0"
    return model(
        f"a = com.microsoft.MatMulNBits<{stated}>(x, w, s) y = Add({choices.of(('a, b', 'b, a'))})",
        f"float[{choices.of(('n', '2'))},{inner}] x",
        f"float[m,{outer}] y",
        opset=choices.of((13, 17, 21)),
        initializers={
            "w": draw.integers(0, 256, (outer, blocks, 16 * bits // 8), dtype=np.uint8),
            "s": draw.uniform(0.1, 1, (outer, blocks)).astype(np.float32),
            "b": draw.normal(size=outer).astype(np.float32),
        },
        imports=', "com.microsoft" : 1',
    )


def projected_attention(choices: Choices) -> ModelProto:
    """ONNX Runtime's Attention, which projects its input by a constant matrix."""
    width, length, draw = choices.of((4, 8)), choices.of((3, 5)), np.random.default_rng(choices.integer(0, 1 << 30))
    stated = f"num_heads = {choices.of((1, 2))}{choices.of(('', ', unidirectional = 1', ', scale = 0.5'))}"
    return model(
        f"y = com.microsoft.Attention<{stated}>(x, w, b)",
        f"float[{choices.of(('n', '2'))},{length},{width}] x",
        f"float[n,{length},{width}] y",
        opset=choices.of((13, 17, 21)),
        initializers={
            "w": draw.normal(size=(width, 3 * width)).astype(np.float32),
            "b": draw.normal(size=3 * width).astype(np.float32),
        },
        imports=', "com.microsoft" : 1',
    )
