"""OpenVINO's files, run on the processor."""

from __future__ import annotations

from pathlib import Path

from graphopt.errors import ExecutionError
from graphopt.ir import DType, TensorType
from graphopt.passes import Reassociates
from graphopt.runtime import LoadedModel, RunOptions, ValueSpec, check_feeds
from graphopt_openvino.conversion import SETTINGS, explained
from graphopt_openvino.interface import KEY, Interface
from graphopt_openvino.silent import core
from graphopt_openvino.tensors import ELEMENTS, array_from, tensor_from

__all__ = ["OpenVinoRunner", "OpenVinoRuntime"]


class OpenVinoRuntime:
    """OpenVINO on the processor."""

    suffix = ".xml"
    numerics = Reassociates()

    def open(self, path: Path, options: RunOptions) -> OpenVinoRunner:
        """A compiled model."""
        return OpenVinoRunner(path, threads=options.threads)


class OpenVinoRunner(LoadedModel):
    """A model that OpenVINO compiled for the processor.

    Args:
        path: the ``.xml`` file; its weights lie beside it.
        threads: how many, ``None`` for OpenVINO's choice.

    Raises:
        ExecutionError: if OpenVINO does not load it.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        settings = dict(SETTINGS) if threads is None else {**SETTINGS, "INFERENCE_NUM_THREADS": threads}
        try:
            model = core().read_model(str(path))
            self._interface = _interface(model)
            compiled = core().compile_model(model, "CPU", settings)
        except (RuntimeError, ValueError) as err:
            raise ExecutionError(f"OpenVINO does not load {str(path)!r}: {explained(err)}") from err
        self._request = compiled.create_infer_request()
        self._inputs = self._interface.inputs
        self._outputs = self._interface.outputs

    def run(self, feeds):
        """Outputs by name.

        Raises:
            ExecutionError: if OpenVINO fails, or ``feeds`` are not what the model takes.
        """
        if self._request is None:
            raise ExecutionError("the runner is closed; make a new one")
        check_feeds(self, feeds)
        for spec, position in zip(self._inputs, self._interface.positions, strict=True):
            tensor = tensor_from(spec.name, feeds[spec.name], _dtype(spec))
            if position is not None:
                _set_input(self._request, position, tensor, spec)
        try:
            self._request.infer()
        except (RuntimeError, ValueError) as err:
            raise ExecutionError(f"OpenVINO failed: {explained(err)}") from err
        found = (self._request.get_output_tensor(index) for index in range(len(self._outputs)))
        return {spec.name: array_from(tensor, _dtype(spec)) for spec, tensor in zip(self._outputs, found, strict=True)}

    def close(self) -> None:
        """Release the model."""
        self._request = None


def _set_input(request, position: int, tensor, spec: ValueSpec) -> None:
    try:
        request.set_input_tensor(position, tensor)
    except (RuntimeError, ValueError) as err:
        raise ExecutionError(f"input {spec.name!r} does not fit {spec.type}: {explained(err)}") from err


def _dtype(spec: ValueSpec) -> DType:
    if spec.tensor is None or spec.tensor.dtype not in ELEMENTS:
        raise ExecutionError(f"{spec.name!r} is {spec.type}, which OpenVINO does not compute with")
    return spec.tensor.dtype


def _interface(model) -> Interface:
    """What graphopt stored, or else what OpenVINO says itself."""
    if model.has_rt_info(KEY):
        return Interface.from_text(model.get_rt_info(KEY).astype(str))
    inputs, outputs = tuple(map(_own_spec, model.inputs)), tuple(map(_own_spec, model.outputs))
    return Interface(inputs, outputs, tuple(range(len(inputs))))


def _own_spec(port) -> ValueSpec:
    by_name = {name: dtype for dtype, name in ELEMENTS.items()}
    dtype = by_name.get(port.get_element_type().get_type_name())
    names = sorted(port.get_names()) or [port.get_node().get_friendly_name()]
    shape = port.get_partial_shape()
    if dtype is None:
        return ValueSpec(names[0], None)
    dims = None
    if shape.rank.is_static:
        dims = tuple(dim.get_length() if dim.is_static else None for dim in shape)
    return ValueSpec(names[0], TensorType(dtype, dims))
