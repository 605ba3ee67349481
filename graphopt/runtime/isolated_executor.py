"""Runs constant regions in a child process, so that a crash of a runtime is an error; imports no runtime itself."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import EncodeError
from onnx import ModelProto

from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import Array, Model
from graphopt.runtime.isolation import shared_worker
from graphopt.runtime.limits import DEFAULT_BYTES, refuse_large_values
from graphopt.serde import emit_model

__all__ = ["IsolatedExecutor", "run_serialized"]


class IsolatedExecutor:
    """Runs models in the child process that all share; see :class:`graphopt.runtime.executor.OrtExecutor`.

    Args:
        timeout: seconds that a run may take.
    """

    def __init__(self, *, timeout: float | None = 600.0) -> None:
        self._timeout = timeout

    def run(self, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name.

        Args:
            model: the model; its outputs are tensors.
            feeds: arrays for its inputs, by name.

        Raises:
            ExecutionError: if no runtime runs it, a runtime crashes, or a value is too large.
        """
        refuse_large_values(model, DEFAULT_BYTES)
        try:
            data = emit_model(model).SerializeToString()
        except (ModelError, EncodeError) as err:
            raise ExecutionError(f"the model to run cannot be emitted: {err}") from err
        return shared_worker().call(run_serialized, data, dict(feeds), timeout=self._timeout)


def run_serialized(data: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Outputs of a serialized model by name: the part that runs in the child."""
    from graphopt.runtime.executor import OrtExecutor  # lazily: imports ONNX Runtime, which the parent does without

    return OrtExecutor().run_proto(ModelProto.FromString(data), feeds)
