"""Models for rules of movement and algebra whose constants or sizes hang together."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = [
    "joined_parts",
    "looked_up_parts",
    "neighbours",
    "one_part",
    "parts_alike",
    "reduced_transpose",
    "turned_product",
]


def _normal(choices: Choices, *shape: int) -> np.ndarray:
    return np.random.default_rng(choices.integer(0, 1 << 30)).normal(size=shape).astype(np.float32)


def neighbours(choices: Choices) -> ModelProto:
    """A lookup of places side by side."""
    axis, start = choices.of((0, 1, -1)), choices.of((0, 1, -3))
    places = np.arange(start, min(start + choices.of((2, 3)), 0 if start < 0 else 3))
    places = places[:: choices.of((1, 1, 1, -1))]
    return model(
        f"h = Neg(x) a = Gather<axis = {axis}>(h, places) y = Neg(a)",
        f"float[3,{choices.of((3, 4))}] x",
        opset=choices.of((11, 13, 21)),
        initializers={"places": places},
    )


def _split(choices: Choices, parts: str, opset: int) -> tuple[str, dict[str, np.ndarray]]:
    if opset < 13:
        return f"{parts} = Split<axis = 1, split = [1, 2, 2]>(x)", {}
    return f"{parts} = Split<axis = {choices.of((1, -1))}>(x, sizes)", {"sizes": np.array([1, 2, 2])}


def joined_parts(choices: Choices) -> ModelProto:
    """Parts of one Split, two of which are put side by side again."""
    opset = choices.of((11, 13, 21))
    split, given = _split(choices, "a, b, c", opset)
    joined = choices.of(("a, b", "b, c", "x, a, b", "b, c, x"))
    left = "c" if "a" in joined else "a"
    return model(
        f"{split} d = Concat<axis = {choices.of((1, -1))}>({joined}) z = Neg({left}) y = Neg(d)",
        f"float[{choices.of(('n', '2'))},5] x",
        "float[*] y, float[*] z",
        opset=opset,
        initializers=given,
    )


def one_part(choices: Choices) -> ModelProto:
    """A Split of which one part is read."""
    opset = choices.of((11, 13, 21))
    split, given = _split(choices, "a, b, c", opset)
    return model(
        f"{split} y = Neg({choices.of('abc')})",
        f"float[{choices.of(('n', '2'))},5] x",
        opset=opset,
        initializers=given,
    )


def reduced_transpose(choices: Choices) -> ModelProto:
    """A reduction of all axes that would change places."""
    perm, axes = choices.of(
        (([0, 2, 1], [1]), ([0, 2, 3, 1], [1, 2]), ([0, 2, 3, 1], [-3, -2]), ([1, 0], [0]), ([0, 2, 1], [0]))
    )
    op = choices.of(("ReduceMean", "ReduceSum", "ReduceMax"))
    opset = choices.of((11, 13, 21))
    is_input = opset >= 18 or (op == "ReduceSum" and opset >= 13)
    reduction = f"{op}<keepdims = 0{'' if is_input else f', axes = {axes}'}>(t{', axes' if is_input else ''})"
    return model(
        f"t = Transpose<perm = {perm}>(x) a = {reduction} y = Neg(a)",
        f"float[{','.join(['n', '3', '2', '4'][: len(perm)])}] x",
        opset=opset,
        initializers={"axes": np.array(axes)} if is_input else {},
    )


def turned_product(choices: Choices) -> ModelProto:
    """A product that is transposed, of transposed or constant factors."""
    swap = "Transpose<perm = [0, 2, 1]>"
    form = choices.of(("both", "left", "right"))
    weights = {"w": _normal(choices, *((2,) if choices.chance(0.5) else ()), 3, 4)}
    left = f"a = {swap}(x)" if form != "right" else ""
    right = f"b = {swap}(u)" if form != "left" else ""
    body = {"both": "MatMul(a, b)", "left": "MatMul(a, w)", "right": "MatMul(w, b)"}[form]
    inputs = {"both": "float[2,3,5] x, float[2,4,3] u", "left": "float[2,3,5] x", "right": "float[2,5,4] u"}[form]
    return model(
        f"{left} {right} m = {body} t = {swap}(m) y = Neg(t)",
        inputs,
        opset=choices.of((11, 13, 21)),
        initializers={} if form == "both" else weights,
    )


def looked_up_parts(choices: Choices) -> ModelProto:
    """A lookup in a part, or in what was looked up."""
    first = choices.of(("Gather<axis = 1>(h, i)", "Slice(h, s, e, k, t)", "Slice(h, s, e, k)"))
    second = choices.of(([1, 0], [2], 1, [-1], 0))
    given = {
        "i": np.array([4, 0, 3]),
        "s": np.array([choices.of((1, 0))]),
        "e": np.array([choices.of((5, 1 << 31))]),
        "k": np.array([choices.of((1, -1))]),
        "t": np.array([choices.of((1, 2))]),
        "j": np.array(second),
    }
    body = f"h = Neg(x) a = {first} b = Gather<axis = {choices.of((1, -1, 1, 0))}>(a, j) y = Neg(b)"
    used = {name: array for name, array in given.items() if f", {name}" in body}
    return model(body, f"float[3,{choices.of((6, 6, 7))}] x", opset=choices.of((11, 13, 21)), initializers=used)


def parts_alike(choices: Choices) -> ModelProto:
    """Parts of a Split that are all computed alike; by mistake, one is not."""
    op = choices.of(("Relu", "Neg", "Sqrt", "LeakyRelu<alpha = 0.2>", "Sigmoid", "Erf"))
    other = choices.of((op, op, op, "Tanh"))
    opset = choices.of((11, 13, 21))
    split, given = _split(choices, "a, b, c", opset)
    body = f"{split} d = {op}(a) e = {op}(b) f = {other}(c) g = Concat<axis = 1>(f, d, e) y = Abs(g)"
    return model(body, f"float[{choices.of(('n', '2'))},5] x", opset=opset, initializers=given)
