"""Models for rules that reduce strength: factors that terms share, tables, convolutions side by side, a softmax."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = [
    "added_weights",
    "inverse_root",
    "joined_convs",
    "pointwise_convs",
    "shared_factor",
    "spelled_softmax",
    "summed_convs",
    "table",
]

_OPSETS = (11, 13, 17, 21)


def _normal(choices: Choices, *shape: int) -> np.ndarray:
    return np.random.default_rng(choices.integer(0, 1 << 30)).normal(size=shape).astype(np.float32)


def inverse_root(choices: Choices) -> ModelProto:
    """What is multiplied with the inverse of the root of its mean square, as older exporters spell a normalization."""
    one = np.array(choices.of((1.0, 1.0, 1.0, 2.0)), np.float32).reshape(choices.of(((), (1,))))
    product = choices.of(("Mul(x, r)", "Mul(r, x)", "Mul(x, r)", "Div(x, r)"))
    return model(
        f"s = Mul(x, x) m = ReduceMean<axes = [-1]>(s) a = Add(m, e) q = Sqrt(a) r = Div(one, q) p = {product} y = Neg(p)",
        choices.of(("float[2,3] x", "float[n,4] x", "float[2,n,3] x")),
        opset=choices.of((11, 13, 17)),
        initializers={"one": one, "e": np.array(choices.of((1e-5, 0.1)), np.float32)},
    )


def shared_factor(choices: Choices) -> ModelProto:
    """Two terms with one constant factor or matrix."""
    if choices.chance(0.5):
        factor = {"c": np.abs(_normal(choices, *choices.of(((), (3,), (1,))))) + np.float32(0.5)}
        left, right = choices.of(("Mul(x, c)", "Mul(c, x)")), choices.of(("Mul(u, c)", "Mul(c, u)", "Mul(u, u)"))
    else:
        factor = {"c": _normal(choices, 3, choices.of((2, 4)))}
        left, right = "MatMul(x, c)", "MatMul(u, c)"
    op = choices.of(("Add", "Sub"))
    return model(
        f"a = {left} b = {right} s = {op}(a, b) y = Neg(s)",
        choices.of(("float[2,3] x, float[2,3] u", "float[n,3] x, float[n,3] u")),
        opset=choices.of(_OPSETS),
        initializers=factor,
    )


def added_weights(choices: Choices) -> ModelProto:
    """One tensor times two matrices."""
    columns = choices.of((2, 3))
    given = {"u": _normal(choices, 3, columns), "v": _normal(choices, 3, columns)}
    shape = choices.of(("n,3", "2,n,3", "3"))
    return model(
        "a = MatMul(x, u) b = MatMul(x, v) s = Add(a, b) y = Neg(s)",
        f"float[{shape}] x",
        opset=choices.of(_OPSETS),
        initializers=given,
    )


def table(choices: Choices) -> ModelProto:
    """Rows that are looked up and computed with."""
    op = choices.of(("Mul", "Add", "Sub", "Div", "MatMul"))
    other = _normal(choices, 3, 2) if op == "MatMul" else _normal(choices, *choices.of(((), (3,), (1, 3))))
    given = {"e": _normal(choices, 3, 3), "c": other + np.float32(2)}
    operands = choices.of(("g, c", "c, g")) if op in ("Add", "Mul") else "g, c"
    lookup = "i = ArgMax<axis = -1, keepdims = 0>(x)"
    return model(
        f"{lookup} g = Gather(e, i) a = {op}({operands}) y = Neg(a)",
        f"float[{choices.of(('n', '2'))},3] x",
        opset=choices.of(_OPSETS),
        initializers=given,
    )


def _conv(choices: Choices, name: str, size: int, pad: int, group: int, given: dict[str, np.ndarray]) -> str:
    given[f"w{name}"] = _normal(choices, 4, 4 // group, size, size)
    bias = ""
    if choices.chance(0.5):
        given[f"b{name}"], bias = _normal(choices, 4), f", b{name}"
    return f"Conv<pads = {[pad] * 4}, group = {group}>(x, w{name}{bias})"


def summed_convs(choices: Choices) -> ModelProto:
    """Branches of kernels of other sizes, or a normalization, that are added up."""
    given: dict[str, np.ndarray] = {}
    group = choices.of((1, 2, 4))
    first = _conv(choices, "a", *choices.of(((3, 1), (1, 0), (3, 1))), group, given)
    if choices.chance(0.3):
        for name in ("s", "o", "m"):
            given[name] = _normal(choices, 4)
        given["v"] = np.abs(_normal(choices, 4)) + np.float32(0.5)
        second = "BatchNormalization(x, s, o, m, v)"
    else:
        second = _conv(choices, "b", *choices.of(((1, 0), (3, 1), (1, 0), (2, 1), (3, 0))), group, given)
    return model(
        f"p = {first} q = {second} r = {choices.of(('Add(p, q)', 'Add(q, p)'))} y = Neg(r)",
        f"float[{choices.of(('n', '1'))},4,4,3] x",
        opset=choices.of(_OPSETS),
        initializers=given,
    )


def joined_convs(choices: Choices) -> ModelProto:
    """Branches of one geometry that are put side by side."""
    given: dict[str, np.ndarray] = {}
    size, pad = choices.of(((1, 0), (3, 1)))
    first, second = (_conv(choices, name, size, pad, 1, given) for name in "ab")
    act = choices.of(("Relu", "Sigmoid", ""))
    acts = f"c = {act}(p) d = {act}(q)" if act else ""
    joined = "c, d" if act else "p, q"
    return model(
        f"p = {first} q = {second} {acts} j = Concat<axis = 1>({choices.of((joined, f'{joined}, x'))}) y = Neg(j)",
        f"float[{choices.of(('n', '1'))},4,4,3] x",
        opset=choices.of(_OPSETS),
        initializers=given,
    )


def pointwise_convs(choices: Choices) -> ModelProto:
    """Channels that are moved to the front to be convolved one position at a time."""
    given = {"u": _normal(choices, 4, 3, 1), "v": _normal(choices, 2, 4, 1), "b": _normal(choices, 4)}
    first = choices.of(("Conv(t, u)", "Conv(t, u, b)"))
    second = choices.of(("", "e = Relu(d)", "e = Sigmoid(d) f = Conv(e, v)"))
    last = "f" if "f =" in second else "e" if second else "d"
    body = f"h = Neg(x) t = Transpose<perm = [0, 2, 1]>(h) d = {first} {second} o = Transpose<perm = [0, 2, 1]>({last}) y = Neg(o)"
    used = {name: array for name, array in given.items() if f", {name}" in body}
    return model(
        body,
        f"float[{choices.of(('n', '1'))},{choices.of(('l', '4'))},3] x",
        opset=choices.of(_OPSETS),
        initializers=used,
    )


def spelled_softmax(choices: Choices) -> ModelProto:
    """Exponentials of what is below the largest, divided by their sum; by mistake along another axis."""
    opset, axis = choices.of((13, 17, 18, 21)), choices.of((-1, 1, 2))
    other = choices.of((axis, axis, axis, 0))
    largest = "ReduceMax<keepdims = 1>(h, k)" if opset >= 18 else f"ReduceMax<keepdims = 1, axes = {[other]}>(h)"
    return model(
        f"h = Neg(x) m = {largest} d = Sub(h, m) e = Exp(d) s = ReduceSum<keepdims = 1>(e, k) o = Div(e, s) y = Neg(o)",
        f"float[{choices.of(('n', '2'))},3,{choices.of((2, 4))}] x",
        opset=opset,
        initializers={"k": np.array([axis])},
    )
