"""Models in text form with numbers in the place of operands: ``y = Mul(x, #0.5)`` reads a constant 0.5 of the model's element type."""

from __future__ import annotations

import re
from collections.abc import Mapping

import ml_dtypes
import numpy as np
from onnx import ModelProto

from graphopt.ir import Array
from tests.transforms.harness import model

__all__ = ["DTYPES", "spelled"]

DTYPES = {"float": np.float32, "float16": np.float16, "double": np.float64, "bfloat16": ml_dtypes.bfloat16}


def spelled(
    body: str,
    shape: str = "2,3",
    *,
    dtype: str = "float",
    opset: int = 21,
    inputs: str = "",
    outputs: str = "",
    initializers: Mapping[str, Array | np.generic] | None = None,
    imports: str = "",
    numbers: tuple[int, ...] = (),
) -> ModelProto:
    """A model from ``x`` to ``y``.

    Args:
        body: nodes in ONNX text syntax.
        shape: of ``x`` and of ``y``.
        dtype: their element type.
        opset: of the default domain.
        inputs: further ones, or instead where they name ``x``.
        outputs: instead of ``y``.
        initializers: further constants.
        imports: further operator sets.
        numbers: shape of the constants of one element.
    """
    known: dict[str, Array | np.generic] = dict(initializers or {})

    def name(found: re.Match[str]) -> str:
        key = "n" + re.sub(r"\W", "_", found[1])
        known[key] = np.full(numbers, float(found[1])).astype(DTYPES[dtype])
        return key

    text = re.sub(r"#(-?[0-9.e-]+)", name, body)
    kind = f"{dtype}[{shape}]" if shape else dtype
    given = inputs if re.search(r"\bx\b", inputs) else f"{kind} x" + (f", {inputs}" if inputs else "")
    return model(text, given, outputs or f"{kind} y", opset=opset, initializers=known, imports=imports)
