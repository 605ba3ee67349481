"""Weights that ConstantOfShape makes, as models without trained weights have them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["made_convolution", "scaled_norm"]

_STATISTICS = "s = ConstantOfShape<value = float[1] {0.5}>(c1) v = ConstantOfShape<value = float[1] {2.0}>(c1) "


def _model(choices: Choices, body: str, channels: int) -> ModelProto:
    return model(
        f"h = Neg(x) {_STATISTICS} w = ConstantOfShape<value = float[1] {{0.25}}>(k) {body} y = Neg(e)",
        f"float[{choices.of(('n', '1', '2'))},{channels},{choices.of(('3,4', '4,1', '2,2'))}] x",
        opset=choices.of((13, 15, 17, 21)),
        initializers={
            "c1": np.array([channels], np.int64),
            "k": np.array([channels, channels, 1, 1], np.int64),
            "r": np.array([1, channels, 1, 1], np.int64),
        },
    )


def made_convolution(choices: Choices) -> ModelProto:
    """A convolution and its normalization."""
    conv = f"{choices.of(('Conv', 'ConvTranspose'))}(h, w{choices.of(('', ', s'))})"
    variance = "t" if choices.chance(0.2) else "v"  # by mistake: computed
    body = f"t = Abs(s) d = {conv} e = BatchNormalization(d, s, v, s, {variance})"
    return _model(choices, body, choices.of((2, 3, 1)))


def scaled_norm(choices: Choices) -> ModelProto:
    """A normalization or convolution, and a made number for each channel that is multiplied or added."""
    channels = choices.of((2, 3, 1))
    linear = choices.of(("d = BatchNormalization(h, s, v, s, v)", "d = Conv(h, w, v)"))
    operand = choices.of(("m, d", "d, m"))
    if choices.chance(0.2):  # by mistake: computed
        operand = "d, a"
    number = choices.of(("3.0", "-1.5", "0.0"))
    made = f"t = ConstantOfShape<value = float[1] {{{number}}}>(c1) m = Reshape(t, r) a = Abs(m)"
    return _model(choices, f"{linear} {made} e = {choices.of(('Mul', 'Add'))}({operand})", channels)
