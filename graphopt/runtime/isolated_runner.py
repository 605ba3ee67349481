"""A runner in a child process, for models that may crash their runtime; imports no runtime itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from graphopt.runtime.base import Feeds, LoadedModel, Outputs, Runner, ValueSpec
from graphopt.runtime.isolation import Worker

if TYPE_CHECKING:
    from graphopt.runtime.onnxruntime_runner import Level, ModelSource

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
    from onnx import ModelProto  # lazily: what opens files does without

    data = model.SerializeToString() if isinstance(model, ModelProto) else model
    return IsolatedRunner(_load, (data, optimize, threads, folder, low_memory), timeout)


def _load(
    model: ModelSource, optimize: bool | Level, threads: int | None, folder: str | None, low_memory: bool
) -> Runner:
    from graphopt.runtime.onnxruntime_runner import OrtRunner  # lazily: runs in the child only

    return OrtRunner(model, optimize=optimize, threads=threads, folder=folder, low_memory=low_memory)


class IsolatedRunner(LoadedModel):
    """A runner in a child process of its own; :func:`load_isolated` makes one of ONNX Runtime.

    Args:
        factory: makes the runner there; defined at the top of an importable module.
        arguments: of the factory; anything that pickles.
        timeout: seconds that loading, and each run, may take.

    Raises:
        ExecutionError: if the model does not load, the child crashes, or it takes too long.
    """

    def __init__(
        self, factory: Callable[..., Runner], arguments: tuple[object, ...], timeout: float | None = None
    ) -> None:
        self._timeout = timeout
        self._worker = Worker()
        try:
            self._handle = self._worker.create(factory, *arguments, timeout=timeout)
            self._inputs = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "inputs"))
            self._outputs = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "outputs"))
            self._overridable = cast("Sequence[ValueSpec]", self._worker.invoke(self._handle, "overridable"))
        except BaseException:
            self._worker.close()
            raise

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name, as the runner in the child gives them.

        Raises:
            ExecutionError: if the runtime fails, crashes or takes too long.
        """
        return cast(Outputs, self._worker.invoke(self._handle, "run", dict(feeds), timeout=self._timeout))

    def close(self) -> None:
        """End the child process."""
        self._worker.close()
