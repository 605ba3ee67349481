"""Runs small models for passes: constant regions that a pass folds, a few runs in all.

ONNX Runtime computes with the kernels that would run the nodes later, so what is folded has the same bits. The reference evaluator
stands in for operators that ONNX Runtime has no kernel for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import numpy as np
from google.protobuf.message import EncodeError
from onnx import ModelProto

from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import Array, Model, TensorType
from graphopt.runtime.base import Outputs
from graphopt.runtime.isolation import shared_worker
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.runtime.reference_runner import Kernels, ReferenceRunner
from graphopt.serde import emit_model

__all__ = ["IsolatedExecutor", "OrtExecutor"]

logger = logging.getLogger(__name__)

_DEFAULT_BYTES: Final = 1 << 30


class OrtExecutor:
    """Runs models in ONNX Runtime with its optimizer off, or else in the reference evaluator.

    Args:
        threads: within an operator, ``None`` for all cores.
        max_bytes: a model with a value that is known to be larger is refused.
        kernels: numpy kernels of plugins' operators, by operator.
    """

    def __init__(
        self, *, threads: int | None = None, max_bytes: int = _DEFAULT_BYTES, kernels: Kernels | None = None
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
        self._refuse_large_values(model)
        try:
            proto = emit_model(model)
        except ModelError as err:
            raise ExecutionError(f"the model to run cannot be emitted: {err}") from err
        return self.run_proto(proto, feeds)

    def run_proto(self, proto: ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name; see :meth:`run`."""
        try:
            with OrtRunner(proto, threads=self._threads) as runner:
                return _tensors(runner.run(feeds))
        except ExecutionError as err:
            logger.debug("constant region left to the reference evaluator: %s", err)
            first = err
        try:
            with ReferenceRunner(proto, kernels=self._kernels) as reference:
                return _tensors(reference.run(feeds))
        except ExecutionError as err:
            raise ExecutionError(f"{first}; {err}") from err

    def _refuse_large_values(self, model: Model) -> None:
        for graph in model.graphs():
            for value in graph.values():
                found = value.type
                if not isinstance(found, TensorType):
                    continue
                size = found.size
                if isinstance(size, int) and found.dtype.storage_bytes(size) > self._max_bytes:
                    raise ExecutionError(
                        f"value {value.name!r} is {found}, more than the {self._max_bytes} bytes that may be computed"
                    )


class IsolatedExecutor:
    """Runs models in a child process that all share, so that a crash of a runtime is an error.

    Args:
        timeout: seconds that a run may take.
    """

    def __init__(self, *, timeout: float | None = 600.0) -> None:
        self._timeout = timeout

    def run(self, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name; see :meth:`OrtExecutor.run`.

        Raises:
            ExecutionError: also if the runtime crashes.
        """
        OrtExecutor()._refuse_large_values(model)
        try:
            data = emit_model(model).SerializeToString()
        except (ModelError, EncodeError) as err:
            raise ExecutionError(f"the model to run cannot be emitted: {err}") from err
        return shared_worker().call(run_serialized, data, dict(feeds), timeout=self._timeout)


def run_serialized(data: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What :class:`OrtExecutor` gives for a serialized model: the part that runs in the child."""
    return OrtExecutor().run_proto(ModelProto.FromString(data), feeds)


def _tensors(outputs: Outputs) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray):
            raise ExecutionError(f"output {name!r} is a {type(value).__name__}, expected a tensor")
        found[name] = value
    return found
