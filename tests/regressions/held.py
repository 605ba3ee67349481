"""What regression tests share: a model in ONNX text form is optimized at every level, and nothing may be wrong with any result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx.parser
from onnx import ModelProto

from graphopt.ir import Array
from tests.generated.oracle import judge

__all__ = ["assert_kept", "parse"]


def parse(body: str, *, opset: int = 21, ir_version: int = 9) -> ModelProto:
    """A model from ``main (inputs) => (outputs) { nodes }`` in ONNX text form."""
    return onnx.parser.parse_model(f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> {body}')


def assert_kept(model: ModelProto, *feeds: Mapping[str, Array], levels: Sequence[str] = ("O1", "O2", "O3")) -> None:
    """ONNX Runtime runs the model on all inputs; interface, validity and numbers are kept at each level."""
    verdict = judge(model, feeds, levels=levels, wild=False, again=False)
    assert verdict.valid, "ONNX Runtime does not run the original"
    assert verdict.compared == len(feeds) * len(levels), "ONNX Runtime does not run the original on all inputs"
    assert not verdict.faults, "\n".join(verdict.faults)
