"""Models of sequences and optionals, which are not drawn node by node: no other operator takes them."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from graphopt.testing.strategies.choices import Choices
from tests.transforms.harness import model

__all__ = ["concat_from_sequence", "optional", "sequence_at", "sequence_length"]

_OPSETS = (11, 13, 17, 21)


def _sequence(choices: Choices) -> tuple[str, int, dict[str, np.ndarray]]:
    """Text that makes a sequence ``s`` of parts of ``x``, float[6, 4]; how many; constants."""
    match choices.of(("parts", "sizes", "single", "tensors", "inserted", "erased")):
        case "parts":
            return "s = SplitToSequence<axis = 0>(x, size)", 3, {"size": np.array(2)}
        case "sizes":
            return "s = SplitToSequence<axis = -1>(x, size)", 3, {"size": np.array([1, 2, 1])}
        case "single":
            return f"s = SplitToSequence<axis = 1, keepdims = {choices.of((0, 1))}>(x)", 4, {}
        case "tensors":
            return "h = Neg(x) s = SequenceConstruct(x, h, x)", 3, {}
        case "inserted":
            where = choices.of(("", ", where"))
            return (
                f"h = Neg(x) q = SequenceConstruct(x, x) s = SequenceInsert(q, h{where})",
                3,
                {"where": np.array(choices.of((-1, 0, 2)))},
            )
        case _:
            where = choices.of(("", ", where"))
            return (
                f"h = Neg(x) q = SequenceConstruct(x, h, x) s = SequenceErase(q{where})",
                2,
                {"where": np.array(choices.of((-1, 0, 1)))},
            )


def sequence_at(choices: Choices) -> ModelProto:
    """One element."""
    text, length, constants = _sequence(choices)
    place = choices.integer(-length, length - 1)
    return model(
        f"{text} e = SequenceAt(s, place) y = Neg(e)",
        "float[6,4] x",
        opset=choices.of(_OPSETS),
        initializers={**constants, "place": np.array(place)},
    )


def sequence_length(choices: Choices) -> ModelProto:
    """How many there are."""
    text, _, constants = _sequence(choices)
    return model(
        f"{text} n = SequenceLength(s) y = Neg(n)",
        "float[6,4] x",
        "int64 y",
        opset=choices.of(_OPSETS),
        initializers=constants,
    )


def concat_from_sequence(choices: Choices) -> ModelProto:
    """All that was split, or tensors."""
    size, axis = choices.of(((np.array(2), 0), (np.array([1, 2, 1]), 1), (np.array([1, 5]), 0)))
    along = choices.of((axis, axis - 2))
    text = choices.of(
        (
            f"s = SplitToSequence<axis = {axis}>(x, size) y = ConcatFromSequence<axis = {along}>(s)",
            f"h = Neg(x) s = SequenceConstruct(x, h) y = ConcatFromSequence<axis = {along}>(s)",
        )
    )
    return model(
        text.replace(" y = ", " c = ") + " y = Neg(c)",
        "float[6,4] x",
        opset=choices.of(_OPSETS),
        initializers={"size": size},
    )


def optional(choices: Choices) -> ModelProto:
    """What is surely there."""
    opset = choices.of((18, 21))
    made = choices.of(("o = Optional(x)", "o = Identity(x)"))
    if choices.chance(0.5):
        return model(f"{made} e = OptionalGetElement(o) y = Neg(e)", "float[6,4] x", opset=opset)
    return model(f"{made} e = OptionalHasElement(o) y = Not(e)", "float[6,4] x", "bool y", opset=opset)
