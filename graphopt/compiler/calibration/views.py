"""Outputs of a run where ONNX Runtime has put them: no copy is made, and each is freed when nobody looks at it any more."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType
from graphopt.runtime.base import Datum, Feeds, check_feeds
from graphopt.runtime.onnxruntime_runner import OrtRunner, ort_errors
from graphopt.runtime.ort_values import NARROW, from_ort_value, to_ort

__all__ = ["run_for_views"]


def run_for_views(runner: OrtRunner, feeds: Feeds, names: Sequence[str]) -> dict[str, Datum]:
    """Some outputs by name; arrays of numpy's own types are read-only views into the runtime's memory.

    Args:
        runner: the model.
        feeds: inputs by name.
        names: of outputs.

    Raises:
        ExecutionError: if the model can't be run.
    """
    if not names:
        return {}
    if not all(isinstance(value, np.ndarray) and value.dtype.kind not in "OSUT" for value in feeds.values()):
        found = runner.run(feeds)
        return {name: found[name] for name in names}
    check_feeds(runner, feeds)
    values = {name: to_ort(value, as_value=True) for name, value in feeds.items()}
    try:
        given = runner.session.run_with_ort_values(list(names), values)
    except ort_errors as err:
        text = " ".join(str(err).split()).split(" : ", 3)[-1]  # without the number and name of the error
        raise ExecutionError(f"ONNX Runtime failed to run the model: {text:.500}") from err
    return {name: _view(value) for name, value in zip(names, given, strict=True)}


def _view(value: Any) -> Datum:  # noqa: ANN401 - an OrtValue, of a module that only the runtime imports
    if not value.has_value() or not value.is_tensor():
        return None
    dtype = DType(value.element_type())
    if dtype in NARROW or dtype is DType.STRING:
        return from_ort_value(value)
    shape = tuple(value.shape())
    size = math.prod(shape) * dtype.numpy.itemsize
    if not size:
        return np.empty(shape, dtype.numpy)
    memory = (ctypes.c_char * size).from_address(value.data_ptr())
    memory.owner = value  # lives as long as the view does
    found: Array = np.frombuffer(memory, dtype.numpy).reshape(shape)
    found.flags.writeable = False
    return found
