"""Where work on models is done: child processes, threads of this process, or a Dask cluster, all as ``concurrent.futures`` executors."""

from __future__ import annotations

import os
import queue
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar, cast

from graphopt.errors import ExecutionError
from graphopt.runtime.isolation import Worker

__all__ = ["EXECUTORS", "ChildExecutor", "check_executor", "open_executor", "shares_files", "usable_cores"]

#: What an executor may be called, for people.
EXECUTORS: Final = "processes, threads or dask://HOST:PORT"
_DASK: Final = re.compile(r"dask://([^/:\s]+|\[[0-9a-fA-F:]+\]):(\d{1,5})/?")
_SECONDS: Final = 15

P = ParamSpec("P")
R = TypeVar("R")


class ChildExecutor(Executor):
    """Runs each call in one of several child processes; a crash fails the call that crashed and no other.

    A pool of ``concurrent.futures`` is broken by the first crash. Functions must be defined at the top of an importable module.

    Args:
        jobs: child processes; each is started when it is first needed.

    Example:
        >>> import math
        >>> with ChildExecutor(1) as executor:
        ...     executor.submit(math.factorial, 5).result()
        120
    """

    def __init__(self, jobs: int = 1) -> None:
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="graphopt-child")
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._busy: set[Worker] = set()
        self._ended = False
        self._temporary = tempfile.TemporaryDirectory(prefix="graphopt-children-", ignore_cleanup_errors=True)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """The future result of a call."""
        return self._threads.submit(self._call, fn, args, dict(kwargs))

    def _call(self, fn: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> R:
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = Worker(temporary=self._temporary.name)
        self._busy.add(worker)
        try:
            if self._ended:  # it was shut down while the child started
                raise CancelledError
            if kwargs:
                return cast(R, worker.call(_with_names, fn, args, kwargs))
            return worker.call(fn, *args)
        finally:
            self._busy.discard(worker)
            if worker.alive and not self._ended:
                self._idle.put(worker)
            else:
                worker.close()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the child processes, after what they are at; with ``cancel_futures`` at once."""
        if cancel_futures:
            self._ended = True
            for worker in tuple(self._busy):
                worker.kill()
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        self._ended = True
        while not self._idle.empty():
            self._idle.get_nowait().close()
        if wait:
            self._temporary.cleanup()


def _with_names(fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    return fn(*args, **kwargs)


def shares_files(executor: Executor) -> bool:
    """Whether work given to an executor sees the files of this machine; of a cluster that is not known."""
    return isinstance(executor, ChildExecutor | ThreadPoolExecutor | ProcessPoolExecutor)


def check_executor(text: str) -> None:
    """See that a text can name an executor.

    Raises:
        ExecutionError: if it can't.
    """
    if text not in ("processes", "threads") and _DASK.fullmatch(text) is None:
        raise ExecutionError(f"executor {text!r} is not understood; expected {EXECUTORS}")


@contextmanager
def open_executor(text: str, jobs: int = 1) -> Iterator[Executor]:
    """An executor by its name, closed at the end; what was not begun when an exception ends the block is not done.

    Args:
        text: ``"processes"``, ``"threads"`` or ``"dask://HOST:PORT"``.
        jobs: how much runs at the same time, where that is decided here.

    Raises:
        ExecutionError: if there is no such executor, or the cluster is not reached.
    """
    check_executor(text)
    found = _DASK.fullmatch(text)
    if found is not None:
        with _dask(found[1], int(found[2])) as cluster:
            yield cluster
        return
    executor = (
        ChildExecutor(jobs) if text == "processes" else ThreadPoolExecutor(jobs, thread_name_prefix="graphopt-job")
    )
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


@contextmanager
def _dask(host: str, port: int) -> Iterator[Executor]:
    try:
        from distributed import Client  # lazily: an optional package
    except ImportError as err:
        raise ExecutionError(f"--executor dask://{host}:{port} needs Dask; pip install 'graphopt[dask]'") from err
    try:
        client: Any = cast(Any, Client)(f"tcp://{host}:{port}", timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError) as err:
        raise ExecutionError(
            f"no Dask scheduler answers at {host}:{port} within {_SECONDS} s; start one with dask scheduler, and workers with dask worker"
        ) from err
    try:
        if not client.scheduler_info()["workers"]:
            raise ExecutionError(f"the Dask scheduler at {host}:{port} has no workers; start some with dask worker")
        yield client.get_executor(pure=False)  # a measurement is no function of its arguments
    finally:
        client.close()


def usable_cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
