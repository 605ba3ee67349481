"""Models of attention on parts of one product, whose heads are moved each by itself or all together."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["heads_moved_apart", "heads_moved_together"]

SIZE = 4
_CORE = (
    "s = MatMul(qh, kt) z = Mul(s, c) p = Softmax<axis = -1>(z) o = MatMul(p, vh) "
    "oh = Transpose<perm = [0, 2, 1, 3]>(o) y = Reshape(oh, join)"
)


def _sizes(choices: Choices) -> tuple[object, object, int]:
    return choices.of(("b", 2, 1)), choices.of(("s", 3)), choices.of((1, 2, 3))


def heads_moved_apart(choices: Choices) -> ModelProto:
    """Queries, keys and values, in some order, are split first."""
    batch, rows, heads = _sizes(choices)
    names = choices.of((("q", "k", "v"), ("k", "v", "q")))
    width, modern = heads * SIZE, choices.chance(0.6)
    split = "Split<axis = -1>(x, sizes)" if modern else f"Split<axis = 2, split = [{width}, {width}, {width}]>(x)"
    return model(
        f"{', '.join(names)} = {split} qr = Reshape(q, heads) qh = Transpose<perm = [0, 2, 1, 3]>(qr) kr = Reshape(k, heads) "
        f"kt = Transpose<perm = [0, 2, 3, 1]>(kr) vr = Reshape(v, heads) vh = Transpose<perm = [0, 2, 1, 3]>(vr) {_CORE}",
        f"float[{batch},{rows},{3 * width}] x",
        opset=choices.of((13, 17, 21)) if modern else 12,
        initializers={
            **({"sizes": np.array([width] * 3)} if modern else {}),
            "heads": np.array([0, 0, heads, SIZE]),
            "join": np.array([0, 0, width]),
            "c": np.float32(0.5),
        },
    )


def heads_moved_together(choices: Choices) -> ModelProto:
    """Heads of all are moved first, then split."""
    batch, rows, heads = _sizes(choices)
    names = choices.of((("qh", "kh", "vh"), ("kh", "vh", "qh")))
    return model(
        f"r = Reshape(x, all) t = Transpose<perm = [0, 2, 1, 3]>(r) {', '.join(names)} = Split<axis = 1>(t, sizes) "
        f"kt = Transpose<perm = [0, 1, 3, 2]>(kh) {_CORE}",
        f"float[{batch},{rows},{3 * heads * SIZE}] x",
        opset=choices.of((13, 17, 21)),
        initializers={
            "sizes": np.array([heads] * 3),
            "all": np.array([0, 0, 3 * heads, SIZE]),
            "join": np.array([0, 0, heads * SIZE]),
            "c": np.float32(0.5),
        },
    )
