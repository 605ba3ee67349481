"""Two models compared layer by layer, from Python."""

from __future__ import annotations

import os

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.compiler.result import Optimized
from graphopt.errors import ExecutionError
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds
from graphopt.verify.attribution import LayerComparison, LayerOptions
from graphopt.verify.attribution import compare_layers as compare_files

__all__ = ["compare_layers"]


def compare_layers(
    a: object,
    b: object,
    *,
    inputs: str | os.PathLike[str] | Feeds | None = None,
    rtol: float = 1e-4,
    seed: int = 0,
    memory: int = 1 << 28,
    threads: int | None = None,
    plugins: PluginManager | None = None,
) -> LayerComparison:
    """Where the error between two models starts and how it grows: both are evaluated at values that correspond.

    They run in ONNX Runtime with its optimizer off, in a child process, as often as their values need to fit into memory.

    Args:
        a: the model to compare with: path, bytes, ``ModelProto``, IR, :class:`Optimized`, or what a plugin's frontend accepts.
        b: the other one.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        rtol: difference allowed in float32, relative to the largest number of a value; 0 allows what kernels may differ by.
        seed: of drawn inputs.
        memory: bytes that values of both models may take together.
        threads: within an operator, ``None`` for all cores.
        plugins: where frontends come from.

    Raises:
        ModelError: if a model is broken.
        ExecutionError: if a model does not run, the inputs do not fit both, or a number is too small.

    Example:
        >>> import graphopt
        >>> from graphopt.data import digits_model
        >>> found = compare_layers(digits_model(), graphopt.optimize(digits_model(), check=False))
        >>> found.ok, found.starts, len(found.layers)
        (True, (), 10)
    """
    for name, number, least in (("seed", seed, 0), ("rtol", rtol, 0), ("memory", memory, 1)):
        expect_type(name, number, (int, float), "a number")
        if not number >= least:
            raise ExecutionError(f"{name} is {number}, expected {least} or more")
    environment = Environment(plugins)
    one, other = (item.model if isinstance(item, Optimized) else item for item in (a, b))
    options = LayerOptions(rtol=rtol, seed=seed, memory=memory, threads=threads)
    with (
        RunnableFile(one, DEFAULT_BACKEND, environment) as first,
        RunnableFile(other, DEFAULT_BACKEND, environment) as second,
    ):
        return compare_files(first.path, second.path, inputs=inputs, options=options)
