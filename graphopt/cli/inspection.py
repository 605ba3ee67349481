"""``graphopt inspect``: what a model is."""

from __future__ import annotations

from typing import Annotated

import typer

from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Sizes, parse_sizes
from graphopt.cli.terminal import progress, show, write_json
from graphopt.frontends.onnx import lift
from graphopt.ir import Model, TensorType
from graphopt.report.model_summary import summarize
from graphopt.report.model_view import summary_view

__all__ = ["inspect"]


def inspect(
    model: ModelPath,
    sizes: Sizes = None,
    all_ops: Annotated[bool, typer.Option("--all-ops", help="List all operators, not only the most frequent.")] = False,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model is: interface, operators, weights, cost."""
    bound = parse_sizes(sizes)
    with progress(f"reading {model}", wanted=not as_json) as tell:
        lifted = lift(model)
        tell("types")
        _infer_types(lifted)
        tell("cost")
        summary = summarize(lifted, sizes=bound)
    if as_json:
        write_json(summary)
    else:
        show(summary_view(summary, all_ops=all_ops))


def _infer_types(model: Model) -> None:
    """Infer types; where inference knows less than the file states, believe the file: nothing is decided by it here."""
    stated = {
        value: value.type for graph in model.graphs() for node in graph.nodes for value in node.outputs if value.type
    }
    OnnxTypes().infer_model(model)
    for value, kind in stated.items():
        found = value.type
        vague = not isinstance(found, TensorType) or found.shape is None or None in found.shape
        if vague and isinstance(kind, TensorType) and kind.shape is not None:
            value.type = kind
