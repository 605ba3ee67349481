"""Models of recurrent layers, spelled out and not."""

from __future__ import annotations

from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.strength.unrolled import Unrolled, unrolled

__all__ = ["cells"]


def cells(choices: Choices) -> ModelProto:
    """Two or three steps of a cell."""
    op = choices.of(("LSTM", "GRU"))
    return unrolled(
        Unrolled(
            op=op,
            spelling=choices.of(("gemm", "separate", "joined", "hoisted")),
            steps=choices.of((2, 3)),
            axis=choices.of((1, 0)),
            batch=choices.of((2, 1)),
            width=choices.of((2, 1)),
            inputs=choices.of((1, 2)),
            initial=choices.of(("zeros", "ones", "input")),
            is_reverse=choices.chance(0.5),
            given=choices.of(((), (0,))),
            state=op == "LSTM" and choices.chance(0.5),
            mix=choices.of(("weighted", "moved", "opposite")),
            reset=choices.chance(0.5),
            opset=choices.of((13, 17, 21)),
            seed=choices.integer(0, 99),
        )
    )
