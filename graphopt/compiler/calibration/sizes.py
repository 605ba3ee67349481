"""How much memory the tensors of a model take for given inputs, by their types."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphopt.analysis.op_flops import bound_shape
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.compiler.calibration.layout import DEFAULT_BATCH
from graphopt.compiler.environment import Environment
from graphopt.ir import Model, SymbolicDim, TensorType
from graphopt.runtime.base import Datum, Feeds

__all__ = ["fitting_batch", "shapes_of", "tensor_bytes"]


def tensor_bytes(model: Model, names: Sequence[str], feeds: Feeds) -> dict[str, int | None]:
    """Bytes of tensors, ``None`` where the types don't say it.

    Args:
        model: with inferred types.
        names: of outputs of its nodes.
        feeds: inputs, which state the sizes of dynamic dimensions; without them only fixed sizes count.
    """
    found = _bytes(model, _bound(model, feeds))
    return {name: found.get(name) for name in names}


def _bytes(model: Model, sizes: dict[str, int]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for node in model.graph.nodes:
        for value in node.outputs:
            found[value.name] = None
            if isinstance(value.type, TensorType) and value.type.shape is not None:
                shape = bound_shape(value.type.shape, sizes)
                if all(isinstance(dim, int) for dim in shape):
                    count = math.prod(dim for dim in shape if isinstance(dim, int))
                    found[value.name] = count * max(value.type.dtype.numpy.itemsize, 1)
    return found


def fitting_batch(environment: Environment, model: Model, memory: int) -> int:
    """How many examples to run together, where nobody says: as many as usual, or fewer whose tensors fit into memory.

    Args:
        environment: legalizes the model.
        model: it is not changed.
        memory: bytes that tensors of a batch may take together.
    """
    first = {
        str(value.type.shape[0])
        for value in model.graph.inputs
        if isinstance(value.type, TensorType) and value.type.shape and isinstance(value.type.shape[0], SymbolicDim)
    }
    if not first:
        return DEFAULT_BATCH
    copy = environment.legalized(model, "onnxruntime")
    OnnxTypes().infer_model(copy)
    one = _bytes(copy, dict.fromkeys(first, 1))
    return max(1, min(DEFAULT_BATCH, memory // max(1, sum(size or 0 for size in one.values()))))


def shapes_of(feeds: Feeds) -> dict[str, object]:
    """Shapes by name; of a list those of its elements."""
    return {name: _shape(value) for name, value in feeds.items()}


def _shape(value: Datum) -> object:
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return value.shape if isinstance(value, np.ndarray) else type(value)


def _bound(model: Model, feeds: Feeds) -> dict[str, int]:
    """Sizes of named dimensions, as inputs have them."""
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        given = feeds.get(value.name)
        if isinstance(value.type, TensorType) and value.type.shape is not None and isinstance(given, np.ndarray):
            for dim, size in zip(value.type.shape, given.shape, strict=False):
                if isinstance(dim, SymbolicDim):
                    found.setdefault(str(dim), size)
    return found
