"""Models of embeddings that are looked up, summed and normalized."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.ir import Array
from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["embeddings"]

ROWS, WIDTH = 5, 4


def embeddings(choices: Choices) -> ModelProto:
    """Two or three tables; positions by indices, by constant indices, or all in their order."""
    batch, length = choices.of(("b", 2)), choices.of((3, 1))
    places, kinds, wide = choices.of(("given", "one", "rows", "table")), choices.chance(0.6), choices.of((6, 7))
    rng = np.random.default_rng(choices.integer(0, 1 << 30))
    inputs = f"float[{batch},{length}] u"
    body = f"us = Sigmoid(u) ut = Mul(us, most) ids = Cast<to = {wide}>(ut) words = Gather(w, ids) "
    if kinds:
        inputs += f", float[{batch},{length}] t"
        body += f"ts = Sigmoid(t) tt = Mul(ts, most) kinds = Cast<to = {wide}>(tt) segments = Gather(s, kinds) "
    if places in ("given", "one"):
        inputs += f", float[{batch if places == 'given' else 1},{length}] v"
        body += f"vs = Sigmoid(v) vt = Mul(vs, most) places = Cast<to = {wide}>(vt) position = Gather(p, places) "
    elif places == "rows":
        body += "position = Gather(p, rows) "
    else:
        body += "" if choices.chance(0.5) else "unused = Neg(u) "
    position = "table" if places == "table" else "position"
    terms = [["words", position], ["words", "segments"]] if kinds else [["words", position]]
    first = terms[0] if choices.chance(0.5) or not kinds else terms[1]
    rest = ([name for name in ("words", "segments", position) if name not in first] or [""])[0] if kinds else ""
    body += f"sum = Add({', '.join(first)}) " + (f"total = Add({rest}, sum) " if rest else "")
    body += f"y = LayerNormalization<axis = {choices.of((-1, 2))}, epsilon = 1e-5>({'total' if rest else 'sum'}, g, b)"
    constants: dict[str, Array | np.generic] = {
        "most": np.float32(ROWS - 0.01),
        **{name: rng.normal(size=(ROWS, WIDTH)).astype(np.float32) for name in "wps"},
        "table": rng.normal(size=(1, length, WIDTH)).astype(np.float32),
        "rows": np.array([choices.of((tuple(range(length)), tuple(reversed(range(length)))))]),
        **{name: rng.normal(size=WIDTH).astype(np.float32) for name in "gb"},
    }
    used = {part.strip(" )") for call in body.split("(")[1:] for part in call.split(")")[0].split(",")}
    return model(
        body,
        inputs,
        opset=choices.of((17, 20, 21)),
        initializers={name: value for name, value in constants.items() if name in used},
    )
