"""Native code that may crash, run in a child process: a crash becomes an :class:`ExecutionError`.

The child is a fresh interpreter (no fork, so threads and native libraries of the parent are no danger, and it works on every system).
It speaks length-prefixed pickles over its standard input and output; what the code in it prints goes to a temporary file, whose end
explains a crash. Starting one that imports ONNX Runtime takes a few tenths of a second, so ordinary runs stay in this process and a
:class:`Worker` serves many calls.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import itertools
import logging
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, Final, ParamSpec, Self, TypeVar, cast

from graphopt.errors import ExecutionError, GraphoptError

__all__ = ["LONGEST_TIMEOUT", "ChildEndedError", "Worker", "cause_of", "run_isolated", "shared_worker"]

logger = logging.getLogger(__name__)

#: What a system can wait for, in seconds: centuries.
LONGEST_TIMEOUT: Final = threading.TIMEOUT_MAX


class ChildEndedError(ExecutionError):
    """A child process ended, by a crash most likely, before it answered."""


def cause_of(ended: ChildEndedError) -> str:
    """What ended a child, such as ``SIGSEGV``, without what it said."""
    found = re.search(r"SIG[A-Z0-9]+|signal \d+|exit code -?\d+", str(ended))
    return found[0] if found else "no answer"


P = ParamSpec("P")
R = TypeVar("R")

_LENGTH: Final = struct.Struct("<Q")
_START: Final = "from graphopt.runtime.isolation import serve; serve()"
_TAIL_BYTES: Final = 2000


def run_isolated(
    function: Callable[..., R], *args: object, timeout: float | None = None, memory: int | None = None
) -> R:
    """What ``function(*args)`` returns, computed in a child process of its own.

    Args:
        function: defined at the top of an importable module.
        *args: anything that pickles.
        timeout: seconds, start of the child included.
        memory: bytes of address space that the child may take, where the system can limit it.

    Raises:
        ExecutionError: if the child crashes, takes too long, or the function raises what is no :class:`GraphoptError`.
        GraphoptError: what the function raises.

    Example:
        >>> import math
        >>> run_isolated(math.factorial, 5)
        120
    """
    with Worker(memory=memory) as worker:
        return worker.call(function, *args, timeout=timeout)


class _Shared:
    """The worker that all calls of this process share, replaced when it crashed."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._lock = threading.Lock()

    def get(self) -> Worker:
        with self._lock:
            if self._worker is not None and not self._worker.alive:
                self._worker.close()
                self._worker = None
            if self._worker is None:
                self._worker = Worker()
            return self._worker

    def close(self) -> None:
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None


@functools.cache
def _shared() -> _Shared:
    shared = _Shared()
    atexit.register(shared.close)
    return shared


def shared_worker() -> Worker:
    """A child process for everybody, started on first use: loading a runtime takes longer than most of what is asked of it."""
    return _shared().get()


class Worker:
    """A child process that serves calls one after another.

    Args:
        memory: bytes of address space that the child may take, where the system can limit it.
        temporary: folder for its temporary files, so that whoever kills it can remove them.
    """

    def __init__(self, *, memory: int | None = None, temporary: str | None = None) -> None:
        self._memory = memory
        self._searched = _search_path()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(self._searched))
        environment.setdefault(
            "ORT_DISABLE_TELEMETRY", "1"
        )  # our process: it reports nothing and leaves no file behind
        if temporary is not None:
            environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), temporary)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._lock = threading.Lock()
        if memory is not None:
            self.call(_limit_memory, memory)

    @property
    def alive(self) -> bool:
        """Whether the child can serve another call."""
        return self._process.poll() is None

    def call(self, function: Callable[..., R], *args: object, timeout: float | None = None) -> R:
        """What ``function(*args)`` returns in the child; see :func:`run_isolated`. After a crash the worker is of no use."""
        return cast(
            R, self._ask(("call", function.__module__, function.__qualname__, args), timeout, function.__qualname__)
        )

    def create(self, factory: Callable[..., object], *args: object, timeout: float | None = None) -> int:
        """Make an object that stays in the child; returns a handle for :meth:`invoke`."""
        message = ("create", factory.__module__, factory.__qualname__, args)
        return cast(int, self._ask(message, timeout, factory.__qualname__))

    def invoke(self, handle: int, method: str, *args: object, timeout: float | None = None) -> object:
        """What a method of an object in the child returns, or an attribute when ``args`` is empty and it can't be called."""
        return self._ask(("invoke", handle, method, args), timeout, method)

    def release(self, handle: int) -> None:
        """Forget an object in the child; the handle is of no use afterwards."""
        self._ask(("release", handle, ()), None, "release")

    def _ask(self, message: tuple[object, ...], timeout: float | None, what: str) -> object:
        if self._searched != _search_path():  # a plugin, say, that was put there after the child was started
            self._searched = _search_path()
            self.call(_search, self._searched)
        with self._lock:
            late = threading.Event()
            timer = threading.Timer(timeout, self._stop, (late,)) if timeout is not None else None
            if timer is not None:
                timer.daemon = True
                timer.start()
            try:
                _send(cast(IO[bytes], self._process.stdin), message)
                answer = _receive(cast(IO[bytes], self._process.stdout))
            except (OSError, EOFError, ValueError) as err:
                if late.is_set():
                    raise ExecutionError(
                        f"{what} took longer than {timeout:g} s in a child process and was stopped"
                    ) from err
                raise ChildEndedError(f"{what} {self._how_it_ended()}") from err
            finally:
                if timer is not None:
                    timer.cancel()
        kind, value = cast("tuple[str, object]", answer)
        if kind == "result":
            return value
        raise cast(BaseException, value)

    def _stop(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "stopped answering in its child process"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _TAIL_BYTES))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        said = f" ({lines[-1].strip()[:300]})" if lines else ""
        if code < 0:
            return f"crashed in native code with {_signal_name(-code)}{said}; the model is broken, or hits a bug of the runtime"
        return f"ended its child process with exit code {code}{said}"

    def kill(self) -> None:
        """End the child whatever it is at; a call that waits for it raises :class:`ChildEndedError`."""
        self._process.kill()

    def close(self) -> None:
        """End the child."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # what was not yet sent to a child that is gone
                    logger.debug("closing the pipe of a finished child failed")
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _send(stream: IO[bytes], message: object) -> None:
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> object:
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError("the other side is gone")
    (length,) = _LENGTH.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the other side is gone")
    return pickle.loads(data)  # both sides are this program


def _search_path() -> list[str]:
    return [path for path in sys.path if path]


def _search(paths: list[str]) -> None:
    """Look for modules where the parent does."""
    sys.path[:] = paths
    importlib.invalidate_caches()


def _limit_memory(size: int) -> None:
    try:
        import resource  # not on every system
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


#: Numbers of the objects that a child keeps; used in the child only.
_HANDLES: Final = itertools.count()


def serve() -> None:
    """Serve calls until standard input ends: what the child process runs."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints must not get between the answers
    objects: dict[int, Any] = {}
    while True:
        try:
            message = _receive(requests)
        except EOFError:
            return
        answer = _answer(cast("tuple[Any, ...]", message), objects)
        try:
            _send(answers, answer)
        except (pickle.PicklingError, TypeError, AttributeError) as err:
            _send(answers, ("error", ExecutionError(f"the result does not pickle: {err}")))


def _answer(message: tuple[Any, ...], objects: dict[int, Any]) -> tuple[str, object]:
    try:
        kind, *rest, args = message
        if kind == "release":
            return "result", objects.pop(rest[0], None) is not None
        if kind == "invoke":
            handle, method = rest
            found = getattr(objects[handle], method)
            return "result", found(*args) if callable(found) else found
        made = _resolve(*rest)(*args)
        if kind == "call":
            return "result", made
        handle = next(_HANDLES)
        objects[handle] = made
        return "result", handle
    except GraphoptError as err:
        return "error", err.with_traceback(None)
    except Exception as err:  # noqa: BLE001 - the border between two processes: what it is, is told on the other side
        return "error", ExecutionError(f"{type(err).__name__} in a child process: {' '.join(str(err).split())}")


def _resolve(module: str, name: str) -> Callable[..., Any]:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return cast("Callable[..., Any]", found)
