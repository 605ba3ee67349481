"""The models that oracles take, brought into one form."""

from __future__ import annotations

import os
from typing import TypeAlias

import onnx
import onnx.parser
from onnx import ModelProto

from graphopt.errors import ModelError
from graphopt.ir import GraphBuilder, Model
from graphopt.serde import emit_model
from graphopt.testing.generated import GeneratedModel

__all__ = ["ModelLike", "generated_of", "parse_text"]

#: A model: drawn, as message, as IR, being built, as file, or in ONNX text syntax.
ModelLike: TypeAlias = GeneratedModel | ModelProto | Model | GraphBuilder | os.PathLike[str] | str


def generated_of(model: ModelLike) -> GeneratedModel:
    """The one form of a model; it has no ``feeds`` unless it was drawn with some.

    Args:
        model: see :data:`ModelLike`. A text is a path if it has no line end and no ``{``, else ONNX text syntax.

    Raises:
        ModelError: if a text or file is no model.
        TypeError: if it is something else.
    """
    if isinstance(model, GeneratedModel):
        return model
    if isinstance(model, ModelProto):
        return GeneratedModel(model)
    if isinstance(model, GraphBuilder):
        return GeneratedModel(emit_model(model.build(), lineage=False))
    if isinstance(model, Model):
        return GeneratedModel(emit_model(model, lineage=False))
    if isinstance(model, str) and ("{" in model or "\n" in model):
        return GeneratedModel(parse_text(model))
    if isinstance(model, str):
        return GeneratedModel(onnx.load(model))
    if isinstance(model, os.PathLike):
        return GeneratedModel(onnx.load(os.fspath(model)))
    raise TypeError(f"a {type(model).__name__} is no model; expected a drawn model, a message, IR, a path or ONNX text")


def parse_text(text: str, *, source: str = "model text") -> ModelProto:
    """The model that ONNX text syntax stands for.

    Args:
        text: what ``onnx.printer.to_text`` writes, comments (``# ...`` to the end of a line) allowed.
        source: names it in errors.

    Raises:
        ModelError: if it is not understood.

    Example:
        >>> parse_text('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }').graph.node[0].op_type
        'Neg'
    """
    try:
        return onnx.parser.parse_model(text)
    except onnx.parser.ParseError as err:
        said = err.args[0] if err.args else ""
        reason = " ".join((said.decode(errors="replace") if isinstance(said, bytes) else str(said)).split())
        raise ModelError(f"{source} is not ONNX text: {reason}; see onnx.parser for the syntax") from err
