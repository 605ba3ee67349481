"""Compares models with one original, in a child process: a crash of a runtime is a verdict and not the end of this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from graphopt.backends.onnx.files import save
from graphopt.compiler.compilation import Compilation
from graphopt.compiler.request import CheckRequest
from graphopt.compiler.requested import stated_sizes
from graphopt.compiler.target_form import TargetForm
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.ir import Model
from graphopt.numerics import Numerics
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import Worker, shared_worker
from graphopt.transforms.input_sizes import InputSizes
from graphopt.verify import Verdict

if TYPE_CHECKING:
    from graphopt.verify import Expectation

__all__ = ["Checker", "expect_file"]

_BINARY_SUFFIXES = (".onnx", ".ort", ".pb", ".model", "")
_Inputs = str | Feeds | Sequence[Feeds]


class Checker:
    """Compares models with one original. Use it in a ``with`` statement: it has temporary files and a place in a child process.

    Models run in the child; only those with operators of plugins that have kernels in Python are run here.

    Args:
        work: how the original is read.
        request: inputs and seed.
    """

    def __init__(self, work: Compilation, request: CheckRequest) -> None:
        self._work = work
        self._request = request
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-check-", ignore_cleanup_errors=True)
        self._handle: int | None = None
        self._worker: Worker | None = None
        self._here: Expectation | None = None
        self._original_needs_kernels: bool | None = None
        self._problem_of_original: str | None = None
        self._sizes = stated_sizes(work.pipeline)
        self._form = TargetForm(work.environment, work.target, self._folder.name, as_onnx=request.as_onnx)
        self.original = self._original()

    def _original(self) -> str:
        """A file with the original."""
        source = self._work.source
        if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() in _BINARY_SUFFIXES:
            return os.path.abspath(source)
        place = os.path.join(self._folder.name, "original.onnx")
        if isinstance(source, bytes | bytearray | memoryview):
            Path(place).write_bytes(source)
        else:
            save(self._work.lift(), place)
        return place

    def check(self, model: Model, numerics: Numerics) -> Verdict:
        """The verdict on a legalized model.

        Raises:
            ExecutionError: if the original crashes its runtime, or the inputs that were brought don't fit.
            UnsupportedOpError: if the target has no form for a node.
        """
        broken = self._save(model)
        if broken:
            return Verdict("failed", f"the result can't be written: {broken}", str(numerics), failure="invalid-model")
        form = self._form
        path = self.result if form.opener is None else form.save(model)
        return form.told(self._compared(model, path, form.allowed(numerics)))

    def _compared(self, model: Model, path: str, numerics: Numerics) -> Verdict:
        """The verdict on a file, in the child or here."""
        opener = self._form.opener
        if not self._form.travels or self._needs_kernels(model):
            if self._here is None:
                self._here = self._expect()
            isolated = opener and replace(opener, options=replace(opener.options, isolate=True))
            return self._here.check(path, numerics, isolated)
        if self._worker is None or not self._worker.alive or self._handle is None:
            self._worker = shared_worker()
            arguments = (self.original, self._inputs(), self._request.seed, self._request.samples, self._sizes)
            self._handle = self._worker.create(expect_file, *arguments)
        try:
            return cast("Verdict", self._worker.invoke(self._handle, "check", path, numerics, opener))
        except ExecutionError as err:
            if self._worker.alive:
                raise
            return Verdict("failed", f"the result crashes its runtime: {err}", str(numerics), failure="crash")

    def problem(self, model: Model) -> str:
        """What makes a legalized model invalid though the original is valid: onnx.checker's word, ``""`` for nothing."""
        if self._problem_of_original is None:
            self._problem_of_original = self._invalidity(self.original)
        if self._problem_of_original:
            return ""
        broken = self._save(model)
        return f"the result can't be written: {broken}" if broken else self._invalidity(self.result)

    @staticmethod
    def _invalidity(path: str) -> str:
        from graphopt.verify.validity import invalidity  # lazily: imports onnx

        try:
            return shared_worker().call(invalidity, path)
        except ExecutionError as err:  # the checker itself crashed, or can't read the file
            return str(err)

    def _save(self, model: Model) -> str:
        """Write the result; why that is impossible, ``""`` when it is done."""
        try:
            save(model, self.result, force=True)
        except GraphoptError as err:
            return str(err)
        except Exception as err:  # noqa: BLE001 - the border to a stranger's rewrites, which may leave anything
            return f"{type(err).__name__}: {err}"
        return ""

    def _needs_kernels(self, model: Model) -> bool:
        """Whether original or result have operators that run in Python."""
        kernels = self._work.environment.kernels
        if not kernels:
            return False
        if self._original_needs_kernels is None:
            self._original_needs_kernels = _has_ops(self._work.lift(), kernels)
        return self._original_needs_kernels or _has_ops(model, kernels)

    def _expect(self) -> Expectation:
        from graphopt.verify import CheckOptions, expect  # lazily: imports ONNX Runtime

        request = self._request
        options = CheckOptions(
            seed=request.seed,
            samples=request.samples,
            kernels=self._work.environment.kernels,
            sizes=self._sizes,
        )
        return expect(self.original, inputs=self._inputs(), options=options)

    def _inputs(self) -> _Inputs | None:
        inputs = self._request.inputs
        if isinstance(inputs, str | os.PathLike):
            return os.path.abspath(inputs)
        if isinstance(inputs, Sequence):
            return cast(
                "Sequence[Feeds]",
                [os.path.abspath(item) if isinstance(item, str | os.PathLike) else item for item in inputs],
            )
        return cast("Feeds | None", inputs)

    @property
    def note(self) -> str:
        """What makes verdicts say less than they seem to, ``""`` for nothing."""
        return self._form.note

    @property
    def result(self) -> str:
        """The file of the model that was checked last, as ONNX."""
        return os.path.join(self._folder.name, "result.onnx")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None and self._handle is not None and self._worker.alive and error is None:
            self._worker.release(self._handle)
        self._folder.cleanup()


def _has_ops(model: Model, ops: Container[str]) -> bool:
    return any(node.op in ops for owner in model.owners() for node in owner.graph.walk())


def expect_file(
    path: str, inputs: _Inputs | None, seed: int, samples: int, sizes: InputSizes | None = None
) -> Expectation:
    """What :func:`graphopt.verify.expect` gives, with arguments that travel to a child process."""
    from graphopt.verify import CheckOptions, expect  # lazily: imports ONNX Runtime, which the parent does without

    return expect(path, inputs=inputs, options=CheckOptions(seed=seed, samples=samples, sizes=sizes))
