"""A runner in a child process, for models that may crash their runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from onnx import ModelProto

from graphopt.runtime.base import Feeds, LoadedModel, Outputs, ValueSpec
from graphopt.runtime.isolation import Worker
from graphopt.runtime.onnxruntime_runner import Level, ModelSource, OrtRunner

__all__ = ["IsolatedRunner", "load_isolated"]


def load_isolated(
    model: ModelSource,
    *,
    optimize: bool | Level = False,
    threads: int | None = None,
    folder: str | None = None,
    low_memory: bool = True,
    timeout: float | None = None,
) -> IsolatedRunner:
    """A runner like :class:`OrtRunner`, in a child process.

    Args:
        model: path, serialized bytes, or message.
        optimize: as for ``OrtRunner``.
        threads: as for ``OrtRunner``.
        folder: as for ``OrtRunner``.
        low_memory: as for ``OrtRunner``.
        timeout: seconds that loading, and each run, may take.

    Raises:
        ExecutionError: if ONNX Runtime does not load the model, crashes, or takes too long.
    """
    data = model.SerializeToString() if isinstance(model, ModelProto) else model
    return IsolatedRunner(data, (optimize, threads, folder, low_memory), timeout)


def _load(
    model: ModelSource, optimize: bool | Level, threads: int | None, folder: str | None, low_memory: bool
) -> OrtRunner:
    return OrtRunner(model, optimize=optimize, threads=threads, folder=folder, low_memory=low_memory)


class IsolatedRunner(LoadedModel):
    """An :class:`OrtRunner` in a child process; made by :func:`load_isolated`."""

    def __init__(self, model: ModelSource, options: tuple[object, ...], timeout: float | None) -> None:
        self._timeout = timeout
        self._worker = Worker()
        try:
            self._handle = self._worker.create(_load, model, *options, timeout=timeout)
            self._inputs = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "inputs"))
            self._outputs = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "outputs"))
            self._overridable = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "overridable"))
        except BaseException:
            self._worker.close()
            raise

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name, as :meth:`OrtRunner.run` gives them.

        Raises:
            ExecutionError: if ONNX Runtime fails, crashes or takes too long.
        """
        return cast(Outputs, self._worker.invoke(self._handle, "run", dict(feeds), timeout=self._timeout))

    def close(self) -> None:
        """End the child process."""
        self._worker.close()
