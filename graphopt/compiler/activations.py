"""The float tensors of a model while it runs: one run for each batch, with all of them as extra outputs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Final, Self, cast

import numpy as np

from graphopt.backends.onnx.files import save
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.ir import Array, DType, Model, TensorType, Value
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.verify import check_inputs

__all__ = ["Activations"]

_FLOATS: Final = (DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE)


class Activations:
    """Runs a model and gives the float tensors of its main graph. Use it in a ``with`` statement: it has a temporary file.

    Args:
        environment: legalizes the model for ONNX Runtime, so that operators of plugins run too.
        model: it is not changed.
        only: names of the tensors that are wanted, all if ``None``.
    """

    def __init__(self, environment: Environment, model: Model, only: Collection[str] | None = None) -> None:
        copy = environment.legalized(model, "onnxruntime")
        OnnxTypes().infer_model(copy)
        graph = copy.graph
        known = {value.name for value in model.graph.values()}
        if only is not None:
            known &= set(only)
        self._inputs = [value.name for value in graph.inputs if _is_float(value) and value.name in known]
        inner = [value for node in graph.nodes for value in node.outputs if value.name in known]
        self._outputs = [value.name for value in inner if _may_be_float(value)]
        given = {value.name for value in graph.outputs}
        for value in inner:
            if _may_be_float(value) and value.name not in given:
                graph.add_output(value)
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-calibrate-", ignore_cleanup_errors=True)
        try:
            self._runner = _loaded(copy, os.path.join(self._folder.name, "model.onnx"))
        except BaseException:
            self._folder.cleanup()
            raise
        if not (self._inputs or self._outputs):
            self.close()
            raise CalibrationError(
                "the model has no float tensor, so there is nothing to calibrate; it may be quantized already"
            )

    def run(self, batch: object, number: int) -> Iterator[tuple[str, Array]]:
        """Each float tensor that has elements, by name, as float32 or float64.

        Args:
            batch: an array for each input, by name.
            number: of the batch, for messages.

        Raises:
            CalibrationError: if the batch is not what the model takes, or a tensor has numbers that are not finite.
            ExecutionError: if the model can't be run on it.
        """
        if not isinstance(batch, Mapping):
            raise CalibrationError(
                f"batch {number} is a {type(batch).__name__}, expected arrays by name of the input, such as {{'x': array}}; "
                "put a single batch into a list"
            )
        try:
            feeds = check_inputs(batch, self._runner.inputs, self._runner.overridable, where=f"batch {number}")
        except ExecutionError as err:
            raise CalibrationError(str(err)) from err
        for name in self._inputs:
            if name in feeds:
                yield from _numbers(name, feeds[name], number, "input")
        found = self._runner.run(feeds)
        for name in self._outputs:
            yield from _numbers(name, found.pop(name), number, "tensor")

    def close(self) -> None:
        """Release the model and its file."""
        self._runner.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _loaded(model: Model, path: str) -> OrtRunner:
    save(model, path)
    try:
        return OrtRunner(path, low_memory=False)
    except ExecutionError as err:  # nobody knows the temporary file
        raise ExecutionError(str(err).replace(path, model.source or "the model")) from err


def _is_float(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.dtype in _FLOATS


def _may_be_float(value: Value) -> bool:
    """Whether a value may be worth a look: not a constant, and a float or of a type that only the runtime knows."""
    return (
        not value.is_constant and (value.type is None or _is_float(value)) and (value.is_used or value.is_graph_output)
    )


def _numbers(name: str, found: object, number: int, what: str) -> Iterator[tuple[str, Array]]:
    if not isinstance(found, np.ndarray) or found.dtype not in {item.numpy for item in _FLOATS} or not found.size:
        return
    array = cast("Array", found if found.dtype.itemsize >= np.float32().itemsize else found.astype(np.float32))
    if not np.isfinite(array).all():
        bad = array.size - int(np.isfinite(array).sum())
        kind = "NaN" if np.isnan(array).any() else "infinity"
        hint = "clean the data" if what == "input" else "leave this batch out, or look at the inputs that cause it"
        raise CalibrationError(
            f"batch {number}: {what} {name!r} has {kind} ({bad:,} of {array.size:,} numbers); {hint}"
        )
    yield name, array
