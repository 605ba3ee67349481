"""Models in ONNX Runtime, on the processor.

By default its graph optimizer is off and nothing is kept that only makes later runs faster, because a check runs a model a few times
and wants its memory back. For measuring and serving, ask for ``optimize="all", low_memory=False``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np
import onnxruntime as ort
from google.protobuf.message import EncodeError
from onnx import ModelProto
from onnxruntime.capi import onnxruntime_pybind11_state as native

from graphopt.errors import ExecutionError
from graphopt.ir import TensorType
from graphopt.passes import SessionSettings
from graphopt.runtime.base import Datum, Feeds, LoadedModel, Outputs, ValueSpec, check_feeds
from graphopt.runtime.ort_values import NARROW, from_ort_value, parse_type, to_ort

__all__ = ["Level", "ModelSource", "OrtRunner", "ort_errors"]

logger = logging.getLogger(__name__)

ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto"
Level = Literal["none", "basic", "extended", "all"]

_LEVELS: Final = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
#: What ONNX Runtime raises; its exceptions share no base class.
ort_errors: tuple[type[Exception], ...] = (
    *(found for found in vars(native).values() if isinstance(found, type) and issubclass(found, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    MemoryError,
    OSError,
)
_MESSAGE_CHARS: Final = 500


def _one_line(err: BaseException) -> str:
    text = " ".join(str(err).split()) or type(err).__name__
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]} ..."


def _hint(text: str) -> str:
    if "IR version" in text:
        return "; lower the IR version of the model, or update onnxruntime"
    if "is under development and support for this is limited" in text or "opset version" in text.lower():
        return "; convert the model to an older opset, or update onnxruntime"
    return ""


class OrtRunner(LoadedModel):
    """A model in ONNX Runtime.

    Args:
        model: path, serialized bytes, or message. Above 2 GB a path.
        optimize: how much ONNX Runtime's own graph optimizer may do; ``True`` is ``"all"``, ``False`` is ``"none"``.
        threads: within an operator; ``None`` for one a processor core that this process may use.
        folder: where external data is, for a model that is no path.
        low_memory: no arena, no memory pattern, no packed copies of weights.
        providers: execution providers in order of preference.
        settings: what these state holds instead.
        in_order: run nodes in the order of the file as far as their inputs allow, rather than branch by branch: what is read right after it
            was made is freed early.

    Raises:
        ExecutionError: if ONNX Runtime does not load the model.

    Example:
        >>> from onnx.parser import parse_model
        >>> model = parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }')
        >>> with OrtRunner(model) as runner:
        ...     runner.run({"x": np.array([1, 2], np.float32)})["y"].tolist()
        [-1.0, -2.0]
    """

    def __init__(
        self,
        model: ModelSource,
        *,
        optimize: bool | Level = False,
        threads: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        low_memory: bool = True,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        settings: SessionSettings | None = None,
        in_order: bool = False,
    ) -> None:
        self.name = os.fspath(model) if isinstance(model, str | os.PathLike) else "the model"
        level = ("all" if optimize else "none") if isinstance(optimize, bool) else optimize
        options = _options(level, threads, settings or SessionSettings(), low_memory=low_memory)
        if in_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        if folder is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", os.fspath(Path(folder).resolve())
            )
        self._session: ort.InferenceSession | None = self._load(model, options, providers)
        self._inputs = tuple(_spec(item) for item in self._session.get_inputs())
        self._outputs = tuple(_spec(item) for item in self._session.get_outputs())
        self._overridable = tuple(_spec(item) for item in self._session.get_overridable_initializers())
        self._narrow_outputs = any(spec.tensor is not None and spec.tensor.dtype in NARROW for spec in self._outputs)

    def _load(self, model: ModelSource, options: ort.SessionOptions, providers: Sequence[str]) -> ort.InferenceSession:
        source = (
            model
            if isinstance(model, bytes)
            else self._serialized(model)
            if isinstance(model, ModelProto)
            else self.name
        )
        if isinstance(source, str) and not os.path.isfile(source):
            raise ExecutionError(f"{source!r} is no file; pass the path of a model")
        try:
            session = ort.InferenceSession(source, options, providers=list(providers))
        except ort_errors as err:
            text = _one_line(err)
            raise ExecutionError(f"ONNX Runtime does not load {self.name}: {text}{_hint(text)}") from err
        if hasattr(session, "_model_bytes"):
            session._model_bytes = None  # a second copy of the model, only used to switch providers later
        return session

    def _serialized(self, model: ModelProto) -> bytes:
        try:
            data: bytes = model.SerializeToString()
        except (EncodeError, ValueError) as err:
            raise ExecutionError(
                f"the model cannot be handed to ONNX Runtime in memory: {_one_line(err)}; save it with external data "
                "and pass its path"
            ) from err
        return data

    @property
    def session(self) -> ort.InferenceSession:
        """The session itself.

        Raises:
            ExecutionError: if the runner is closed.
        """
        if self._session is None:
            raise ExecutionError(f"the runner of {self.name} is closed; make a new one")
        return self._session

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name: arrays of ``DType.numpy``, lists for sequences, dicts for maps, ``None`` for an empty optional.

        Args:
            feeds: an array (list, dict, ``None``) for each input, by name.

        Raises:
            ExecutionError: if ONNX Runtime fails, or ``feeds`` are not what the model takes.
        """
        session = self.session
        check_feeds(self, feeds)
        names = [spec.name for spec in self._outputs]
        run_options = ort.RunOptions()
        run_options.log_severity_level = 4
        try:
            if self._narrow_outputs:
                values = {name: to_ort(value, as_value=True) for name, value in feeds.items()}
                found = [from_ort_value(item) for item in session.run_with_ort_values(names, values, run_options)]
            else:
                found = session.run(names, {name: to_ort(value) for name, value in feeds.items()}, run_options)
        except ort_errors as err:
            raise ExecutionError(f"ONNX Runtime failed to run {self.name}: {_one_line(err)}") from err
        return {spec.name: _as_declared(spec, value) for spec, value in zip(self._outputs, found, strict=True)}

    def close(self) -> None:
        """Release the session and its memory."""
        self._session = None


def _options(level: str, threads: int | None, settings: SessionSettings, *, low_memory: bool) -> ort.SessionOptions:
    if level not in _LEVELS:
        raise ValueError(f"unknown optimization level {level!r}, expected one of {', '.join(_LEVELS)}")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = _LEVELS[settings.optimization or level]
    options.intra_op_num_threads = settings.threads or (usable_cores() if threads is None else threads)
    options.inter_op_num_threads = settings.inter_threads or 1
    if settings.execution == "parallel":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    # Idle threads that spin take time from the next model in a side-by-side check.
    spinning = "1" if _stated(settings.spinning, not low_memory) else "0"
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    options.add_session_config_entry("session.inter_op.allow_spinning", spinning)
    options.enable_cpu_mem_arena = _stated(settings.arena, not low_memory)
    options.enable_mem_pattern = _stated(settings.memory_pattern, not low_memory)
    if not _stated(settings.prepacking, not low_memory):
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def _stated(value: bool | None, default: bool) -> bool:
    return default if value is None else value


def usable_cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _spec(item: ort.NodeArg) -> ValueSpec:
    return ValueSpec(item.name, parse_type(item.type, item.shape))


def _as_declared(spec: ValueSpec, value: Datum) -> Datum:
    """ONNX Runtime gives a tensor without axes as an array, and texts as an object array; a bare scalar would be our surprise."""
    if isinstance(spec.type, TensorType) and not isinstance(value, np.ndarray) and value is not None:
        return np.asarray(value)
    return value
