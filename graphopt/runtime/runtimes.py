"""Runtimes: each opens the files that one backend writes. ONNX Runtime comes in through the same door as a stranger's.

What a runtime of a plugin raises becomes an :class:`ExecutionError` that names the backend, and what it gives back is held to what it
says of itself. One that is registered as :class:`~graphopt.passes.Lazy` can be opened in a child process, where a crash is an error too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from graphopt.errors import ExecutionError, GraphoptError, PluginError
from graphopt.numerics import Numerics
from graphopt.passes import Lazy, SessionSettings
from graphopt.runtime.base import Feeds, LoadedModel, Outputs, Runner, ValueSpec, check_feeds
from graphopt.runtime.isolated_runner import IsolatedRunner

__all__ = [
    "ConditionalRuntime",
    "RunOptions",
    "Runtime",
    "load_runtime",
    "open_file",
    "open_file_isolated",
    "why_unavailable",
]

_MESSAGE_CHARS = 500


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a model is to run.

    Attributes:
        threads: within an operator, ``None`` for all cores.
        optimize: whether the runtime may change the model for speed; off gives the numbers that checks compare.
        low_memory: whether memory goes back as soon as it can, at the price of later runs.
        session: settings of ONNX Runtime on top of these.
    """

    threads: int | None = None
    optimize: bool = False
    low_memory: bool = False
    session: SessionSettings = field(default_factory=SessionSettings)


@runtime_checkable
class Runtime(Protocol):
    """Opens what a backend saved.

    Attributes:
        suffix: what the names of its files end in, ``".chip"``; of several files, that of the one that is opened. ``".onnx"`` is for ONNX
            models that others take too: these are checked where the original runs.
        numerics: what running there does to numbers, compared with ONNX Runtime whose optimizer is off.
    """

    @property
    def suffix(self) -> str:
        """End of the names of its files."""

    @property
    def numerics(self) -> Numerics:
        """What running there does to numbers."""

    def open(self, path: Path, options: RunOptions) -> Runner:
        """A runner for a file.

        Args:
            path: a file that the backend saved; what it saved beside it is there too.
            options: threads and the like; a runtime leaves out what it has no word for.

        Raises:
            ExecutionError: if it does not load.
        """


@runtime_checkable
class ConditionalRuntime(Protocol):
    """What a :class:`Runtime` has beside when it needs more than a package: a device, a driver, a licence.

    One that does not say is taken to run wherever its package is installed.
    """

    def available(self) -> str | None:
        """Why nothing runs here, in a few words with what to do; ``None`` when models run. Cheap, and raises nothing."""


def why_unavailable(name: str, stated: Runtime | Lazy) -> str | None:
    """Why the runtime of a backend runs nothing on this machine, ``None`` when it does.

    Args:
        name: of the backend.
        stated: its runtime.

    Raises:
        PluginError: if it is no runtime, or says something else than a reason.

    Example:
        >>> why_unavailable("onnxruntime", Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)) is None
        True
    """
    if isinstance(stated, Lazy) and stated.missing is not None:
        return stated.missing
    runtime: object = load_runtime(name, stated)
    if not callable(getattr(runtime, "available", None)):
        return None
    try:
        reason: object = cast(ConditionalRuntime, runtime).available()
    except Exception as err:  # the border to a stranger's code
        raise PluginError(f"runtime of backend {name!r}: available failed: {_one_line(err)}") from err
    if reason is not None and not isinstance(reason, str):
        raise PluginError(
            f"runtime of backend {name!r}: available gave a {type(reason).__name__}, expected str or None"
        )
    return reason


def load_runtime(name: str, stated: Runtime | Lazy) -> Runtime:
    """A runtime from what was registered for a backend.

    Raises:
        PluginError: if it needs something that is not installed, or is no runtime.
    """
    if not isinstance(stated, Lazy):
        found: object = stated
    else:
        try:
            found = stated.load()
        except PluginError as err:
            raise PluginError(f"runtime of backend {name!r}: {err}") from err
    if not isinstance(found, Runtime):
        raise PluginError(
            f"runtime of backend {name!r}: {type(found).__name__} is no runtime, expected suffix, numerics and open(path, options)"
        )
    return found


def open_file(name: str, stated: Runtime | Lazy, path: str | os.PathLike[str], options: RunOptions) -> Runner:
    """A runner for a file of a backend, in this process.

    Args:
        name: of the backend.
        stated: its runtime.
        path: the file.
        options: threads and the like.

    Raises:
        ExecutionError: if the file is not there, or the runtime does not load it.
        PluginError: if the runtime is not what it should be.

    Example:
        >>> from graphopt.data import digits_model
        >>> ort = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)
        >>> with open_file("onnxruntime", ort, digits_model(), RunOptions(threads=1)) as runner:
        ...     [str(spec) for spec in runner.inputs]
        ['image: float[batch, 1, 8, 8]']
    """
    runtime = load_runtime(name, stated)
    if not os.path.isfile(path):
        raise ExecutionError(f"{os.fspath(path)!r} is no file; pass the path of a model")
    try:
        runner = runtime.open(Path(path), options)
    except GraphoptError:
        raise
    except Exception as err:  # the border to a stranger's code
        raise ExecutionError(f"backend {name!r} does not load {os.fspath(path)!r}: {_one_line(err)}") from err
    if not isinstance(runner, Runner):
        raise PluginError(f"runtime of backend {name!r}: open gave a {type(runner).__name__}, expected a Runner")
    return _Guarded(name, runner)


def open_file_isolated(
    name: str,
    stated: Runtime | Lazy,
    path: str | os.PathLike[str],
    options: RunOptions,
    *,
    timeout: float | None = None,
) -> Runner:
    """A runner in a child process where the runtime can go there, else in this one; see :func:`open_file`.

    One that is registered lazily can, and one that says that it ``travels``.

    Args:
        name: of the backend.
        stated: its runtime.
        path: the file.
        options: threads and the like.
        timeout: seconds that loading, and each run, may take.

    Raises:
        ExecutionError: if the runtime does not load the file, crashes, or takes too long.
        PluginError: if the runtime is not what it should be.
    """
    if not isinstance(stated, Lazy) and not getattr(stated, "travels", False):  # an object of this process
        return open_file(name, stated, path, options)
    return IsolatedRunner(open_file, (name, stated, os.fspath(path), options), timeout)


class _Guarded(LoadedModel):
    """A runner whose exceptions name the backend, and whose outputs are those that it declares."""

    def __init__(self, name: str, runner: Runner) -> None:
        self._name = name
        self._runner: Runner | None = runner
        self._inputs = _specs(name, "inputs", runner.inputs)
        self._outputs = _specs(name, "outputs", runner.outputs)
        self._overridable = _specs(name, "overridable", runner.overridable)

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name, in the order of the model."""
        if self._runner is None:
            raise ExecutionError("the runner is closed; make a new one")
        check_feeds(self, feeds)
        try:
            found: object = self._runner.run(feeds)
        except GraphoptError:
            raise
        except Exception as err:  # the border to a stranger's code
            raise ExecutionError(f"backend {self._name!r} failed to run the model: {_one_line(err)}") from err
        names = [spec.name for spec in self._outputs]
        if not (isinstance(found, dict) and set(found) == set(names)):
            gave = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise PluginError(f"runtime of backend {self._name!r}: run gave {gave}, expected a dict with {names}")
        return {name: found[name] for name in names}

    def close(self) -> None:
        """Release the model."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def _specs(name: str, what: str, found: Iterable[object]) -> tuple[ValueSpec, ...]:
    specs = tuple(found)
    wrong = next((item for item in specs if not isinstance(item, ValueSpec)), None)
    if wrong is not None:
        raise PluginError(f"runtime of backend {name!r}: {what} has a {type(wrong).__name__}, expected ValueSpec")
    return cast("tuple[ValueSpec, ...]", specs)


def _one_line(err: BaseException) -> str:
    text = f"{type(err).__name__}: {' '.join(str(err).split())}"
    return text if len(text) <= _MESSAGE_CHARS else f"{text[:_MESSAGE_CHARS]} ..."
