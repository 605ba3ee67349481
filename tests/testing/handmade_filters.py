"""Convolutions that pick one element for each channel, or average."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["averaging", "mean_of_image", "picking"]


def _conv(choices: Choices, weights: np.ndarray, attributes: list[str]) -> ModelProto:
    size = choices.of(("3,4", "4,3", "5,3"))
    stated = f"<{', '.join(attributes)}>" if attributes else ""
    bias = choices.chance(0.3)
    channels = weights.shape[0]
    return model(
        f"h = Neg(x) c = Conv{stated}(h, w{', b' if bias else ''}) y = Neg(c)",
        f"float[{choices.of(('n', '1', '2'))},{channels},{size}] x",
        opset=choices.of((11, 13, 17, 21)),
        initializers={"w": weights.astype(np.float32), **({"b": np.zeros(channels, np.float32)} if bias else {})},
    )


def picking(choices: Choices) -> ModelProto:
    """The identity of 1x1, or one 1 in each depthwise kernel where the pads are."""
    channels = choices.of((2, 1, 3))
    if choices.chance(0.5):
        return _conv(choices, np.eye(channels).reshape(channels, channels, 1, 1), [])
    sizes = choices.of(((3, 3), (1, 3), (2, 2)))
    place = tuple(choices.integer(0, size - 1) for size in sizes)
    weights: Any = np.zeros((channels, 1, *sizes))
    weights[(slice(None), 0, *place)] = 1
    pads = [*place, *(size - 1 - tap for size, tap in zip(sizes, place, strict=True))]
    if choices.chance(0.2):  # by mistake: looks elsewhere
        pads[choices.integer(0, 3)] += 1
    return _conv(choices, weights, [f"group = {channels}", f"pads = {pads}"])


def averaging(choices: Choices) -> ModelProto:
    """Equal numbers in each depthwise kernel."""
    channels, sizes = choices.of((3, 1, 2)), choices.of(((2, 2), (1, 3), (3, 2)))
    pads = [choices.integer(0, size - 1) for size in (*sizes, *sizes)]
    weights = np.full((channels, 1, *sizes), 1 / np.prod(sizes))
    if choices.chance(0.2):  # by mistake: one number is another
        weights[-1, 0, -1, -1] += choices.of((0.1, 1e-3))
    attributes = [f"group = {channels}", f"strides = {choices.of(([1, 1], [2, 1]))}"]
    return _conv(choices, weights, [*attributes, *([f"pads = {pads}"] if choices.chance(0.5) else [])])


def mean_of_image(choices: Choices) -> ModelProto:
    """The mean of what a convolution gives, or an activation behind it."""
    opset = choices.of((11, 13, 18, 21))
    act = choices.of(("", "d = Relu(c)", "d = Sigmoid(c)"))
    axes = choices.of(([2, 3], [-2, -1]))
    text = "ReduceMean<keepdims = 1>({0}, k)" if opset >= 18 else f"ReduceMean<keepdims = 1, axes = {axes}>({{0}})"
    weights = np.random.default_rng(choices.integer(0, 1 << 30)).normal(size=(2, 3, 2, 2)).astype(np.float32)
    return model(
        f"c = Conv(x, w) {act} m = {text.format('d' if act else 'c')} y = Neg(m)",
        f"float[{choices.of(('n', '2'))},3,{choices.of((3, 4))},3] x",
        opset=opset,
        initializers={"w": weights, **({"k": np.array(axes)} if opset >= 18 else {})},
    )
