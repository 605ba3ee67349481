"""Sizes of a model that becomes an engine for one set of them: those that are stated, or that the arrays have that it is to run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.ir import Model
from graphopt.passes import Pipeline
from graphopt.runtime.base import ValueSpec

if TYPE_CHECKING:
    from graphopt.compiler.environment import Environment
    from graphopt.transforms.input_sizes import InputSizes

__all__ = ["fix_sizes"]


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
