"""What is too large to be computed while a model is optimized."""

from __future__ import annotations

from typing import Final

from graphopt.errors import ExecutionError
from graphopt.ir import Model, TensorType

__all__ = ["DEFAULT_BYTES", "refuse_large_values"]

#: A value that is known to be larger is not computed.
DEFAULT_BYTES: Final = 1 << 30


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
