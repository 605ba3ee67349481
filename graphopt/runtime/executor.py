"""Runs small models for passes: constant regions that a pass folds, a few runs in all.

ONNX Runtime computes with the kernels that would run the nodes later, so what is folded has the same bits. The reference evaluator
stands in for operators that ONNX Runtime has no kernel for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import Array, Model
from graphopt.runtime.base import Outputs
from graphopt.runtime.limits import DEFAULT_BYTES, refuse_large_values
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.runtime.reference_runner import Kernels, ReferenceRunner
from graphopt.serde import emit_model

__all__ = ["OrtExecutor"]

logger = logging.getLogger(__name__)


class OrtExecutor:
    """Runs models in ONNX Runtime with its optimizer off, or else in the reference evaluator.

    Args:
        threads: within an operator, ``None`` for all cores.
        max_bytes: a model with a value that is known to be larger is refused.
        kernels: numpy kernels of plugins' operators, by operator.
    """

    def __init__(
        self, *, threads: int | None = None, max_bytes: int = DEFAULT_BYTES, kernels: Kernels | None = None
    ) -> None:
        self._threads = threads
        self._max_bytes = max_bytes
        self._kernels = kernels

    def run(self, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name.

        Args:
            model: the model; its outputs are tensors.
            feeds: arrays for its inputs, by name.

        Raises:
            ExecutionError: if neither runtime runs it, an output is no tensor, or a value is too large.
        """
        refuse_large_values(model, self._max_bytes)
        try:
            proto = emit_model(model)
        except ModelError as err:
            raise ExecutionError(f"the model to run cannot be emitted: {err}") from err
        return self.run_proto(proto, feeds)

    def run_proto(self, proto: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name; see :meth:`run`. What fails while ONNX Runtime runs it has no outputs."""
        try:
            runner = OrtRunner(proto, threads=self._threads)
        except ExecutionError as err:
            logger.debug("constant region left to the reference evaluator: %s", err)
            first = err
        else:
            with runner:
                return _tensors(runner.run(feeds))
        try:
            with ReferenceRunner(proto, kernels=self._kernels) as reference:
                return _tensors(reference.run(feeds))
        except ExecutionError as err:
            raise ExecutionError(f"{first}; {err}") from err


def _tensors(outputs: Outputs) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            raise ExecutionError(f"output {name!r} is a {type(value).__name__}, expected a tensor")
        found[name] = value
    return found
