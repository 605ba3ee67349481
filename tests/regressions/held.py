"""What regression tests share: a model in ONNX text form is optimized at every level, and nothing may be wrong with any result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx.parser
from onnx import ModelProto

from graphopt.ir import Array
from graphopt.numerics import Numerics
from graphopt.testing import assert_equivalent

__all__ = ["assert_kept", "parse"]


def parse(body: str, *, opset: int = 21, ir_version: int = 9) -> ModelProto:
    """A model from ``main (inputs) => (outputs) { nodes }`` in ONNX text form."""
    return onnx.parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> {body}')


def assert_kept(
    model: ModelProto,
    *feeds: Mapping[str, Array],
    levels: Sequence[str] = ("O1", "O2", "O3"),
    numerics: Numerics | None = None,
) -> None:
    """ONNX Runtime runs the model on all inputs; interface, validity and numbers are kept at each level."""
    for level in levels:
        assert_equivalent(level, model, feeds=feeds, numerics=numerics, target="onnxruntime")
