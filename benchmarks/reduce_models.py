"""Models of about a thousand nodes with one odd place each, for bugs that show there only.

Networks as people have them, small in all sizes so that they run in a moment: convolutions, attention, branches and loops.
`odd` says which block has the odd place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from graphopt import GraphBuilder
from graphopt.ir import DType, Model, TensorType, Value

__all__ = ["MODELS", "branches", "convolutions", "shapes", "transformer", "twins"]

Array = npt.NDArray[Any]
CHANNELS, SIDE, WIDTH, HEADS, LENGTH = 8, 6, 16, 4, 5


def convolutions(blocks: int = 142, *, odd: int = 87) -> Model:
    """Residual blocks of seven nodes: Conv, BatchNormalization, Relu, Conv, BatchNormalization, Add, Relu. The odd Conv is dilated."""
    rng = np.random.default_rng(0)
    b = GraphBuilder(opset=17, name="convolutions")
    x = b.input("image", DType.FLOAT, ["n", CHANNELS, SIDE, SIDE])
    for block in range(blocks):
        step = 2 if block == odd else 1
        y = b.Relu(_norm(b, _conv(b, x, rng, f"a{block}", step), rng, f"a{block}"), name=f"relu_a{block}")
        y = _norm(b, _conv(b, y, rng, f"b{block}", 1), rng, f"b{block}")
        x = b.Relu(b.Add(x, y, name=f"add{block}"), name=f"relu_b{block}")
    b.output(x, "features", DType.FLOAT, ["n", CHANNELS, SIDE, SIDE])
    return b.build()


def _conv(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str, step: int) -> Value:
    weight = b.constant(_random(rng, CHANNELS, CHANNELS, 3, 3) * np.float32(0.1), f"w_{name}")
    return b.Conv(x, weight, pads=[step] * 4, dilations=[step, step], name=f"conv_{name}")


def _norm(b: GraphBuilder, x: Value, rng: np.random.Generator, name: str) -> Value:
    values = [_random(rng, CHANNELS) * np.float32(0.1) + np.float32(shift) for shift in (1, 0, 0, 1)]
    scale, bias, mean, var = (b.constant(array, f"bn_{name}") for array in values)
    return b.BatchNormalization(x, scale, bias, mean, b.constant(np.abs(_const(var)), f"var_{name}"), name=f"bn_{name}")


def _const(value: Value) -> Array:
    array = value.array()
    assert array is not None, "it was just made"
    return array


def transformer(blocks: int = 33, *, odd: int = 20) -> Model:
    """Attention with heads by Reshape and Transpose, shapes computed, then a Gelu by Erf. The odd block scales by 3."""
    rng = np.random.default_rng(0)
    b = GraphBuilder(opset=17, name="transformer")
    x = b.input("tokens", DType.FLOAT, ["n", LENGTH, WIDTH])
    for block in range(blocks):
        x = b.Add(x, _attention(b, x, rng, block, odd=block == odd), name=f"add_a{block}")
        x = b.Add(x, _gelu(b, x, rng, block), name=f"add_b{block}")
    b.output(x, "hidden", DType.FLOAT, ["n", LENGTH, WIDTH])
    return b.build()


def _attention(b: GraphBuilder, x: Value, rng: np.random.Generator, block: int, *, odd: bool) -> Value:
    x = b.LayerNormalization(x, np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32), axis=-1, name=f"ln{block}")
    batch = b.Gather(b.Shape(x, name=f"shape{block}"), np.array([0]), axis=0, name=f"batch{block}")
    split = b.Concat(batch, np.array([LENGTH, HEADS, WIDTH // HEADS]), axis=0, name=f"split{block}")
    heads = []
    for part, axes in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        flat = b.MatMul(x, _random(rng, WIDTH, WIDTH) * np.float32(0.1), name=f"{part}{block}")
        heads.append(
            b.Transpose(b.Reshape(flat, split, name=f"{part}_heads{block}"), perm=axes, name=f"{part}_t{block}")
        )
    query, key, value = heads
    scores = b.Mul(b.MatMul(query, key, name=f"scores{block}"), np.float32(3.0 if odd else 0.5), name=f"scaled{block}")
    mixed = b.MatMul(b.Softmax(scores, axis=-1, name=f"softmax{block}"), value, name=f"mixed{block}")
    together = b.Concat(batch, np.array([LENGTH, WIDTH]), axis=0, name=f"together{block}")
    mixed = b.Reshape(b.Transpose(mixed, perm=[0, 2, 1, 3], name=f"back{block}"), together, name=f"joined{block}")
    return b.MatMul(mixed, _random(rng, WIDTH, WIDTH) * np.float32(0.1), name=f"out{block}")


def _gelu(b: GraphBuilder, x: Value, rng: np.random.Generator, block: int) -> Value:
    y = b.MatMul(x, _random(rng, WIDTH, WIDTH) * np.float32(0.1), name=f"up{block}")
    y = b.Add(y, _random(rng, WIDTH), name=f"bias{block}")
    erf = b.Erf(b.Div(y, np.float32(1.4142135), name=f"div{block}"), name=f"erf{block}")
    half = b.Mul(y, b.Add(erf, np.float32(1.0), name=f"one{block}"), name=f"mul{block}")
    y = b.Mul(half, np.float32(0.5), name=f"gelu{block}")
    return b.MatMul(y, _random(rng, WIDTH, WIDTH) * np.float32(0.1), name=f"down{block}")


def branches(blocks: int = 93, *, odd: int = 57) -> Model:
    """Blocks with an If whose branches capture two values, and a Loop in every fourth. A branch of the odd block multiplies."""
    b = GraphBuilder(opset=17, name="branches")
    x = b.input("x", DType.FLOAT, [WIDTH])
    go = b.input("go", DType.BOOL, [])
    for block in range(blocks):
        shifted = b.Add(x, np.float32(0.25 + block / blocks), name=f"shifted{block}")
        then, other = b.subgraph(f"then{block}"), b.subgraph(f"else{block}")
        joined = (
            then.Mul(shifted, x, name=f"joined{block}") if block == odd else then.Sub(shifted, x, name=f"joined{block}")
        )
        then.output(then.Tanh(joined, name=f"then_tanh{block}"))
        other.output(other.Neg(other.Abs(shifted, name=f"else_abs{block}"), name=f"else_neg{block}"))
        for side in (then, other):
            side.graph.outputs[0].type = TensorType(DType.FLOAT, (WIDTH,))
        y = b.If(go, then_branch=then, else_branch=other, name=f"if{block}")
        y = _loop(b, y, block) if block % 4 == 0 else b.Sigmoid(y, name=f"sigmoid{block}")
        y = b.Mul(y, np.float32(0.5), name=f"half{block}")
        x = b.Tanh(b.Add(x, y, name=f"sum{block}"), name=f"tanh{block}")
    b.output(x, "y", DType.FLOAT, [WIDTH])
    return b.build()


def _loop(b: GraphBuilder, x: Value, block: int) -> Value:
    body = b.subgraph(f"body{block}")
    body.input(f"i{block}", DType.INT64, [])
    go_on = body.input(f"on{block}", DType.BOOL, [])
    carried = body.input(f"carried{block}", DType.FLOAT, [WIDTH])
    stay = body.Identity(go_on, name=f"stay{block}")
    stay.type = TensorType(DType.BOOL, ())
    body.output(stay)
    turned = body.Sin(body.Add(carried, x, name=f"turn_add{block}"), name=f"turn{block}")
    turned.type = TensorType(DType.FLOAT, (WIDTH,))
    body.output(turned)
    return b.Loop(np.array(3), np.array(True), x, body=body, name=f"loop{block}")


def shapes(blocks: int = 143, *, odd: int = 99) -> Model:
    """Reshapes to shapes that are computed from the value itself, seven nodes a block. The odd block takes another column."""
    b = GraphBuilder(opset=17, name="shapes")
    x = b.input("x", DType.FLOAT, ["n", WIDTH])
    for block in range(blocks):
        size = b.Shape(x, name=f"shape{block}")
        rows = b.Gather(size, np.array([0]), axis=0, name=f"rows{block}")
        columns = b.Gather(size, np.array([-1 if block == odd else 1]), axis=0, name=f"columns{block}")
        target = b.Concat(columns, rows, axis=0, name=f"target{block}")
        turned = b.Reshape(x, target, name=f"turned{block}")
        x = b.Transpose(b.Relu(turned, name=f"relu{block}"), perm=[1, 0], name=f"transposed{block}")
    b.output(x, "y", DType.FLOAT, ["n", WIDTH])
    return b.build()


def twins(blocks: int = 332, *, odd: int = 40) -> Model:
    """A chain of three nodes a block; at the odd one it also goes through two Softmax, the second far below."""
    b = GraphBuilder(opset=17, name="twins")
    x = b.input("x", DType.FLOAT, [WIDTH, WIDTH])
    early = late = x
    for block in range(blocks):
        if block == odd:
            early = b.Concat(b.Softmax(x, axis=0, name="early"), x, axis=0, name="kept")
            late = x
        x = b.Add(x, np.float32(block % 7 - 3), name=f"add{block}")
        x = b.Mul(b.Neg(x, name=f"neg{block}"), np.float32(1.0 + block % 3 / 100), name=f"mul{block}")
    x = b.Add(x, b.Softmax(late, axis=1, name="late"), name="sum")
    b.output(b.Concat(x, early, axis=0, name="all"), "y", DType.FLOAT, [3 * WIDTH, WIDTH])
    return b.build()


def _random(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


#: Each model by name.
MODELS: Mapping[str, Callable[..., Model]] = {
    "convolutions": convolutions,
    "transformer": transformer,
    "branches": branches,
    "shapes": shapes,
    "twins": twins,
}
