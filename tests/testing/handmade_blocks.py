"""Models in which blocks of pixels become channels, or channels blocks of pixels."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["one_hot", "pixel_shuffle", "rolled", "strided_slices"]


def pixel_shuffle(choices: Choices) -> ModelProto:
    """Reshape, Transpose and Reshape in one of the three orders."""
    size, depth, height, width = (choices.of(options) for options in ((2, 3, 1), (1, 2), (1, 2, 3), (2, 1)))
    batch = choices.of((0, 2, -1))
    form = choices.of(("crd", "dcr", "std"))
    if form == "std":
        perm, before = [0, 3, 5, 1, 2, 4], [depth, height * size, width * size]
        first, second = [batch, depth, height, size, width, size], [batch, depth * size * size, height, width]
    else:
        before = [depth * size * size, height, width]
        blocks = [depth, size, size] if form == "crd" else [size, size, depth]
        perm = [0, 1, 4, 2, 5, 3] if form == "crd" else [0, 3, 4, 1, 5, 2]
        first, second = [batch, *blocks, height, width], [batch, depth, height * size, width * size]
    shape = ",".join(map(str, ["n" if batch < 1 else batch, *before]))
    return model(
        f"h = Neg(x) a = Reshape({choices.of(('x', 'h'))}, first) b = Transpose<perm = {perm}>(a) c = Reshape(b, second) y = Neg(c)",
        f"float[{shape}] x",
        opset=choices.of((11, 13, 17, 21)),
        initializers={"first": np.array(first), "second": np.array(second)},
    )


def strided_slices(choices: Choices) -> ModelProto:
    """All slices in steps of 2, of both axes at once or one after the other, joined row by row."""
    channels, height, width = choices.of((1, 3)), choices.of((2, 4)), choices.of((2, 6))
    body, parts = [], []
    for row in (0, 1):
        for column in (0, 1):
            part = f"p{row}{column}"
            if choices.chance(0.5):
                body.append(f"{part} = Slice(x, s{row}{column}, ends, axes, steps)")
            else:
                body.append(
                    f"r{part} = Slice(x, s{row}, end, a2, step) {part} = Slice(r{part}, s{column}, end, a3, step)"
                )
            parts.append(part)
    largest = (1 << 63) - 1
    constants = {
        **{f"s{row}{column}": np.array([row, column]) for row in (0, 1) for column in (0, 1)},
        **{f"s{start}": np.array([start]) for start in (0, 1)},
        "ends": np.array([largest] * 2),
        "end": np.array([largest]),
        "axes": np.array([2, 3]),
        "a2": np.array([2]),
        "a3": np.array([choices.of((3, -1))]),
        "steps": np.array([2, 2]),
        "step": np.array([2]),
    }
    text = f"{' '.join(body)} c = Concat<axis = {choices.of((1, -3))}>({', '.join(parts)}) y = Neg(c)"
    used = {name: array for name, array in constants.items() if f"{name}," in text or f"{name})" in text}
    return model(
        text,
        f"float[{choices.of(('n', '2'))},{channels},{height},{width}] x",
        opset=choices.of((11, 13, 21)),
        initializers=used,
    )


def rolled(choices: Choices) -> ModelProto:
    """Two or three parts of an axis in another order, by Split or Slice."""
    size, cut = choices.of((4, 5)), choices.of((1, 2, 3))
    constants = {
        "sizes": np.array([cut, size - cut]),
        "zero": np.array([0]),
        "cut": np.array([cut]),
        "axis": np.array([1]),
    }
    constants["end"] = np.array([choices.of((size, (1 << 63) - 1))])
    if choices.chance(0.5):
        body = "a, b = Split<axis = 1>(h, sizes)"
    else:
        body = "a = Slice(h, zero, cut, axis) b = Slice(h, cut, end, axis)"
    joined = choices.of(("b, a", "b, a", "a, b", "b, a, b")) if "Split" in body else "b, a"
    return model(
        f"h = Neg(x) {body} c = Concat<axis = 1>({joined}) y = Neg(c)",
        f"float[{choices.of(('n', '2'))},{size},{choices.of(('16', '2,8'))}] x",
        opset=choices.of((13, 17, 21)),
        initializers={name: array for name, array in constants.items() if f"{name}," in body or f"{name})" in body},
    )


def one_hot(choices: Choices) -> ModelProto:
    """What ArgMax finds, as a one-hot tensor that is multiplied with weights."""
    depth, columns = choices.of((3, 4)), choices.of((1, 5))
    how = choices.of(("keepdims = 0", "keepdims = 1", "axis = -1, keepdims = 0"))
    weights = np.random.default_rng(choices.integer(0, 1 << 30)).normal(size=(depth, columns)).astype(np.float32)
    return model(
        f"i = {choices.of(('ArgMax', 'ArgMin'))}<{how}>(x) o = OneHot<axis = -1>(i, depth, values) m = MatMul(o, w) y = Neg(m)",
        f"float[{choices.of((2, 3))},{choices.of((2, 3))}] x",
        opset=choices.of((11, 13, 21)),
        initializers={
            "depth": np.array(choices.of((depth, [depth]))),
            "values": np.array([0, 1], np.float32),
            "w": weights,
        },
    )
