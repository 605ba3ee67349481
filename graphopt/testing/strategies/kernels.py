"""Which element types ONNX Runtime has kernels for, so that models are made of what runs.

Read from the installed ONNX Runtime. It puts casts around nodes of half precision that it lacks kernels for, and runs operators that
the specification defines by others; both are counted as computed. What this says is a guess all the same: each node is tried out.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import Final

from graphopt.ir import DType, find_schema, newest_opset
from graphopt.testing.strategies.element_types import spelt

__all__ = ["computed_types", "newest_runtime_opset"]

_PROVIDER: Final = "CPUExecutionProvider"
_FOREVER: Final = 1 << 20
#: Element types for which an operator that is defined by others has all of those computed, mostly.
_COMMON: Final = frozenset({DType.FLOAT, DType.FLOAT16, DType.INT64, DType.INT32, DType.BOOL, DType.STRING})
#: First and last opset of a kernel, and the element types of each of its type constraints.
_Kernel = tuple[int, int, dict[str, frozenset[DType]]]


@lru_cache(maxsize=1)
def _kernels() -> dict[str, list[_Kernel]] | None:
    """Kernels of the default domain by operator, ``None`` where ONNX Runtime does not tell."""
    from onnxruntime.capi import (
        onnxruntime_pybind11_state as native,
    )  # here: the extension module, for what it tells of itself

    tell = getattr(native, "get_all_opkernel_def", None)
    if tell is None:
        return None
    found: defaultdict[str, list[_Kernel]] = defaultdict(list)
    for kernel in tell():
        if kernel.domain == "" and kernel.provider == _PROVIDER:
            first, last = kernel.version_range
            types = {key: spelt(names) for key, names in kernel.type_constraints.items()}
            found[kernel.op_name].append((first, min(last, _FOREVER), types))
    return dict(found)


@lru_cache(maxsize=8192)
def computed_types(op_type: str, opset: int, index: int) -> frozenset[DType]:
    """Element types that an input of a standard operator may have so that ONNX Runtime runs it; none for an unknown operator.

    Args:
        op_type: the operator.
        opset: version of the default domain that the model imports.
        index: position of the input; those beyond the last formal one stand for it.
    """
    schema = find_schema("", op_type, opset)
    if schema is None or not schema.inputs:
        return frozenset()
    formal = schema.inputs[min(index, len(schema.inputs) - 1)]
    allowed = spelt(formal.types)
    kernels = _kernels()
    if kernels is None:
        return allowed
    since = schema.since_version
    mine = [
        types for first, last, types in kernels.get(op_type, ()) if since == first or first < since <= last < _FOREVER
    ]
    if not mine and schema.has_function:
        return allowed & _COMMON
    found: set[DType] = set()
    for types in mine:
        found |= types.get(formal.type_key, allowed)
    if DType.FLOAT in found:
        found.add(DType.FLOAT16)
    return allowed & found


def newest_runtime_opset() -> int:
    """The newest opset of the default domain that both the installed ``onnx`` and ONNX Runtime have kernels for."""
    kernels = _kernels()
    if kernels is None:
        return newest_opset()
    newest = max(first for group in kernels.values() for first, _last, _types in group)
    return min(newest, newest_opset())
