"""Executors run calls where they say, and end what they began."""

from __future__ import annotations

import math
import os
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor

import pytest

from graphopt.compiler import executors
from graphopt.compiler.executors import ChildExecutor, open_executor, shares_files
from graphopt.errors import ExecutionError, ModelError
from graphopt.runtime.isolation import ChildEndedError


def crash() -> None:
    """End this process as a bug in native code does."""
    os.kill(os.getpid(), signal.SIGSEGV)


def refuse(name: str) -> None:
    raise ModelError(f"{name} is broken")


def litter() -> str:
    """Leave something behind."""
    return tempfile.mkdtemp()


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def scaled(number: int, *, by: int) -> int:
    return number * by


def test_calls_run_in_child_processes() -> None:
    with ChildExecutor(2) as executor:
        found = {executor.submit(os.getpid).result() for _ in range(3)}
        assert os.getpid() not in found
        assert 1 <= len(found) <= 2
        assert 6 == executor.submit(scaled, 2, by=3).result()


def test_a_crash_fails_one_call_only() -> None:
    """The next one gets a new child."""
    with ChildExecutor(1) as executor:
        first, second = executor.submit(crash), executor.submit(math.factorial, 4)
        with pytest.raises(ChildEndedError, match="SIGSEGV"):
            first.result()
        assert 24 == second.result()


def test_what_children_leave_behind_is_removed() -> None:
    with ChildExecutor(1) as executor:
        left = executor.submit(litter).result()
        assert os.path.isdir(left)
    assert not os.path.exists(left)


def test_an_error_keeps_its_class() -> None:
    with ChildExecutor(1) as executor, pytest.raises(ModelError, match="this one is broken"):
        executor.submit(refuse, "this one").result()


def test_an_exception_ends_what_runs() -> None:
    """The children are killed, not waited for."""
    start = time.perf_counter()
    future = None
    with pytest.raises(KeyboardInterrupt), open_executor("processes", 1) as executor:  # noqa: PT012 - both matter
        future = executor.submit(sleep, 60.0)
        while not future.running():
            threading.Event().wait(0.01)
        executor.submit(math.factorial, 3).cancel()
        executor.submit(os.getpid)
        raise KeyboardInterrupt
    assert time.perf_counter() - start < 30
    assert future is not None
    assert isinstance(future.exception(), ExecutionError | CancelledError)


def test_threads_are_those_of_this_process() -> None:
    with open_executor("threads", 2) as executor:
        assert os.getpid() == executor.submit(os.getpid).result()
        assert shares_files(executor)


@pytest.mark.parametrize("text", ["process", "dask://", "dask://host", "dask://host:port", "dask:8786", ""])
def test_what_is_no_executor_is_told(text: str) -> None:
    with pytest.raises(ExecutionError, match="expected processes, threads or dask://HOST:PORT"), open_executor(text):
        pass


def test_a_cluster_that_is_not_there_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_SECONDS", 0.5)
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"dask://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ExecutionError, match="no Dask scheduler answers"), open_executor(address):
            pass


def test_without_dask_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ExecutionError, match=r"pip install 'graphopt\[dask\]'"), open_executor("dask://here:1"):
        pass


def test_files_of_a_strange_executor_are_not_taken_for_shared() -> None:
    class Other(ThreadPoolExecutor):
        pass

    assert shares_files(Other(1))

    class Strange(Executor):
        pass

    assert not shares_files(Strange())
