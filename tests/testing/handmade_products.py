"""Models of products in a row."""

from __future__ import annotations

from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["three_factors"]


def three_factors(choices: Choices) -> ModelProto:
    """Three matrices of which the wrong two are multiplied first."""
    batch = choices.of(("n,", "2,", "", "n,3,"))
    wide, thin = choices.of((7, 9)), choices.of((1, 2))
    left = choices.chance(0.5)
    sizes = (wide, thin, wide, thin) if left else (thin, wide, wide, wide)
    inputs = ", ".join(f"float[{batch}{sizes[place]},{sizes[place + 1]}] {name}" for place, name in enumerate("abc"))
    body = "h = MatMul(a, b) s = MatMul(h, c)" if left else "h = MatMul(b, c) s = MatMul(a, h)"
    return model(f"{body} y = Neg(s)", inputs, opset=choices.of((9, 13, 17, 21)))
