"""Sizes of a model that becomes an engine for one set of them: those that are stated, or that the arrays have that it is to run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import Model, SymbolicDim, TensorType
from graphopt.passes import Pipeline
from graphopt.runtime.base import ValueSpec

if TYPE_CHECKING:
    from graphopt.compiler.environment import Environment
    from graphopt.transforms.input_sizes import InputSizes

__all__ = ["fix_sizes", "refuse_open_sizes"]


def fix_sizes(
    model: Model, sizes: Mapping[str, int], inputs: Path | None, environment: Environment
) -> InputSizes | None:
    """Give inputs the sizes that are stated for their dimensions, or that arrays for them have.

    Args:
        model: it; changed in place.
        sizes: by name of a dimension.
        inputs: an ``.npz`` file with an array for each input.
        environment: runs the pass.

    Returns:
        What was stated, ``None`` for nothing.

    Raises:
        PipelineError: if a size does not fit the model or another one.
        ExecutionError: if the file can't be read, or an array does not fit.
    """
    if not sizes and inputs is None:
        return None
    from graphopt.transforms.input_shapes import SetInputShapes  # lazily: few models are made for fixed sizes
    from graphopt.verify.user_inputs import load_inputs

    shapes: dict[str, tuple[int | str, ...]] = {}
    if inputs is not None:
        fed = [value for value in model.graph.inputs if not value.is_constant]
        feeds = load_inputs(inputs, [ValueSpec(value.name, value.type) for value in fed])
        shapes = {name: array.shape for name, array in feeds.items() if isinstance(array, np.ndarray)}
    backend = environment.backend("onnx")
    stating = SetInputShapes(shapes, dict(sizes))
    environment.run_pipeline(model, Pipeline((stating,)), environment.context(backend))
    return stating.sizes


def refuse_open_sizes(model: Model, backend: str) -> None:
    """Say which sizes nobody stated of a model that is made for fixed ones.

    Raises:
        ExecutionError: naming the first input with such a size, and the option that states it.
    """
    for value in model.graph.inputs:
        shape = value.type.shape if isinstance(value.type, TensorType) else None
        lacking = [str(size) for size in shape or () if isinstance(size, SymbolicDim)]
        if value.is_constant or (not lacking and None not in (shape or ())):
            continue
        options = " ".join(f"--dim {name}=SIZE" for name in lacking)
        raise ExecutionError(
            f"backend {backend!r} makes an engine for known sizes, and input {value.name!r} is {value.type}; "
            f"state them: {f'{options}, or ' if options else ''}--inputs FILE.npz"
        )
