"""Models in and out without a pipeline: lift, lower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.environment import Environment
from graphopt.errors import UnsupportedOpError
from graphopt.ir import Model
from graphopt.plugin_manager import PluginManager

if TYPE_CHECKING:
    import onnx_graphsurgeon
    from onnx import ModelProto

__all__ = ["lift", "lower", "to_graphsurgeon"]


def lift(source: object, *, plugins: PluginManager | None = None) -> Model:
    """The IR of a model. Nothing is inferred, optimized or copied; weights are read when somebody asks for them.

    Args:
        source: path, bytes, ``onnx.ModelProto``, ``onnx_graphsurgeon.Graph``, or whatever a plugin's frontend accepts. It must not change
            as long as the IR is in use.
        plugins: where frontends come from; built-in and installed ones by default.

    Raises:
        ModelError: if the model is broken, or cannot be kept.

    Example:
        >>> from graphopt.data import digits_model
        >>> lift(digits_model()).opset_imports
        {'': 17}
    """
    return Environment(plugins).lift(source)


def lower(model: Model, *, target: str = "onnxruntime", plugins: PluginManager | None = None) -> ModelProto:
    """The ONNX message of a model, made for a target. The model itself is not changed.

    Args:
        model: IR.
        target: name of a backend that emits ONNX.
        plugins: where backends come from.

    Raises:
        UnsupportedOpError: if a node can't be expressed for the target, or the target's models are not ONNX.

    Example:
        >>> from graphopt.data import digits_model
        >>> lower(lift(digits_model())).graph.node[0].op_type
        'Constant'
    """
    expect_type("model", model, Model, "IR; graphopt.lift makes it from a path or message")
    environment = Environment(plugins)
    artifact = environment.backend(target).emit(environment.legalized(model, target))
    if artifact.proto is None:
        raise UnsupportedOpError(f"target {target!r} emits {artifact.kind}, not an ONNX message; use its own backend")
    return artifact.proto


def to_graphsurgeon(model: Model) -> onnx_graphsurgeon.Graph:
    """The model as an onnx-graphsurgeon graph, for scripts that are written with it."""
    expect_type("model", model, Model, "IR; graphopt.lift makes it from a path or message")
    from graphopt.frontends.graphsurgeon import to_graphsurgeon as convert  # lazily: imports onnx_graphsurgeon

    return convert(model)
