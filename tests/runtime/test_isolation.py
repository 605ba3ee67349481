"""Crashes in a child process are errors in this one."""

from __future__ import annotations

import ctypes
import importlib
import math
import operator
import os
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
from onnx.parser import parse_model

from graphopt.errors import ExecutionError
from graphopt.runtime import Feeds, Runner, Worker, load_isolated, run_isolated

HEAD = '<ir_version: 8, opset_import: ["": 17]>'


def y_of(runner: Runner, feeds: Feeds) -> Any:
    return runner.run(feeds)["y"]


def test_results_and_arrays_come_back():
    assert 120 == run_isolated(math.factorial, 5)
    assert [3.0, 4.0] == run_isolated(np.sum, np.array([[1.0, 2.0], [2.0, 2.0]]), 0).tolist()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a matter of POSIX")
def test_crash_in_native_code_is_named():
    with pytest.raises(ExecutionError, match="string_at crashed in native code with SIGSEGV"):
        run_isolated(ctypes.string_at, 0)
    with pytest.raises(ExecutionError, match="raise_signal crashed in native code with SIGFPE"):
        run_isolated(signal.raise_signal, int(signal.SIGFPE))


def test_exit_and_timeout_are_told_apart():
    with pytest.raises(ExecutionError, match="ended its child process with exit code 7"):
        run_isolated(os._exit, 7)
    started = time.monotonic()
    with pytest.raises(ExecutionError, match=r"sleep took longer than 0\.5 s"):
        run_isolated(time.sleep, 60, timeout=0.5)
    assert time.monotonic() - started < 10


def test_errors_keep_their_class_or_become_execution_errors():
    with pytest.raises(ExecutionError, match="ZeroDivisionError in a child process: division by zero"):
        run_isolated(operator.truediv, 1, 0)
    with pytest.raises(ExecutionError, match="is no file"):
        load_isolated("/nowhere/none.onnx")
    with pytest.raises(ExecutionError, match="does not pickle"):
        run_isolated(threading.Lock)


def test_worker_serves_many_calls_and_keeps_objects():
    with Worker() as worker:
        assert [1, 2, 6] == [worker.call(math.factorial, n) for n in (1, 2, 3)]
        handle = worker.create(np.zeros, 3)
        assert (3,) == worker.invoke(handle, "shape")
        assert 0.0 == worker.invoke(handle, "sum")
        with pytest.raises(ExecutionError, match="AttributeError in a child process"):
            worker.invoke(handle, "no_such_thing")
        assert worker.alive
    assert not worker.alive


def test_a_child_finds_modules_that_came_after_it(tmp_path, monkeypatch):
    with Worker() as worker:
        assert 6 == worker.call(math.factorial, 3)
        (tmp_path / "late_comer.py").write_text("def answer():\n    return 42\n", encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert 42 == worker.call(importlib.import_module("late_comer").answer)
    monkeypatch.delitem(sys.modules, "late_comer")


def test_what_the_child_prints_does_not_disturb_it(capfd):
    with Worker() as worker:
        assert worker.call(print, "hello") is None
        assert 1 == worker.call(math.factorial, 1)
    assert ("", "") == capfd.readouterr()


def test_memory_limit_holds_in_the_child():
    with pytest.raises(ExecutionError, match="MemoryError in a child process"):
        run_isolated(bytes, 1 << 33, memory=1 << 32)


def test_isolated_runner_gives_the_same_numbers():
    proto = parse_model(HEAD + "g (float[n] x, float[1] w = {2.0}) => (float[n] y) { y = Mul(x, w) }")
    with load_isolated(proto, timeout=60) as runner:
        assert ["x"] == [spec.name for spec in runner.inputs]
        assert ["w"] == [spec.name for spec in runner.overridable]
        assert ["y"] == [spec.name for spec in runner.outputs]
        assert [2.0, 4.0] == y_of(runner, {"x": np.array([1, 2], np.float32)}).tolist()
        with pytest.raises(ExecutionError, match="input 'x' is missing"):
            runner.run({})
        assert [6.0] == y_of(runner, {"x": np.array([3], np.float32)}).tolist()
