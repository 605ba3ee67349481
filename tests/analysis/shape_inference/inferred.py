"""Types that inference finds in a model given as ONNX text."""

from __future__ import annotations

import re

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.ir import Model
from graphopt.serde import lift_model
from tests.regressions.held import parse

__all__ = ["inferred", "types_in"]


def inferred(text: str, *, opset: int = 18) -> Model:
    """The model with types; what the text states of its outputs is forgotten before."""
    model = lift_model(parse(text, opset=opset))
    for node in model.graph.walk():
        for value in node.outputs:
            value.type = None
    OnnxTypes().infer_model(model)
    return model


def types_in(body: str, inputs: str = "float[n,3,h,w] x", *, opset: int = 18, initializers: str = "") -> str:
    """The types of the outputs ``y``, ``z`` of a body, one after the other."""
    outputs = ", ".join(f"float[{letter}] {letter}" for letter in "yz" if re.search(rf"\b{letter}\b[^;(]* = ", body))
    model = inferred(
        f"main ({inputs}) => ({outputs}) {f'<{initializers}>' if initializers else ''} {{ {body} }}", opset=opset
    )
    return "; ".join("?" if value.type is None else str(value.type) for value in model.graph.outputs)
