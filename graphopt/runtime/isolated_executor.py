"""Runs constant regions in a child process, so that a crash of a runtime is an error; imports no runtime itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import EncodeError
from onnx import ModelProto

from graphopt.errors import ExecutionError, ModelError
from graphopt.ir import Array, Model, TensorType
from graphopt.runtime.isolation import shared_worker
from graphopt.serde import emit_model

__all__ = ["DEFAULT_BYTES", "IsolatedExecutor", "refuse_large_values", "run_serialized"]

#: A value that is known to be larger is not computed.
DEFAULT_BYTES: Final = 1 << 30


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


def refuse_large_values(model: Model, max_bytes: int) -> None:
    """See that no value of a model is known to be larger than it may be.

    Raises:
        ExecutionError: naming the first one that is.
    """
    for graph in model.graphs():
        for value in graph.values():
            found = value.type
            if not isinstance(found, TensorType):
                continue
            size = found.size
            if isinstance(size, int) and found.dtype.storage_bytes(size) > max_bytes:
                raise ExecutionError(
                    f"value {value.name!r} is {found}, more than the {max_bytes} bytes that may be computed"
                )
