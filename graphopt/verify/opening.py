"""How a check loads models: in which runtime, in this process or a child, and with what settings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Protocol

from graphopt.errors import ExecutionError
from graphopt.passes import Lazy
from graphopt.runtime.base import Runner
from graphopt.runtime.isolated_runner import load_isolated
from graphopt.runtime.onnxruntime_runner import Level, ModelSource, OrtRunner
from graphopt.runtime.reference_runner import Kernels, ReferenceRunner
from graphopt.runtime.runtimes import RunOptions, Runtime, open_file, open_file_isolated
from graphopt.transforms.input_sizes import InputSizes

__all__ = ["CheckOptions", "Opener", "OrtOpener", "ReferenceOpener", "RuntimeOpener"]


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How a check goes about it.

    Attributes:
        samples: sets of inputs.
        seed: same seed, same inputs.
        seconds: when to stop looking for more inputs once there are some.
        threads: within an operator, ``None`` for all cores.
        isolate: run the models in child processes, so that a crash is an error.
        timeout: seconds that a load or a run in a child process may take.
        folder: where external data of models that are no paths is.
        kernels: numpy kernels of plugins' operators, for the reference evaluator.
        sizes: what is stated of the sizes of inputs: made-up inputs have these, and the optimized model need take no others.
    """

    samples: int = 4
    seed: int = 0
    seconds: float = 20.0
    threads: int | None = None
    isolate: bool = False
    timeout: float | None = None
    folder: str | None = None
    kernels: Kernels | None = None
    sizes: InputSizes | None = None


class Opener(Protocol):
    """Loads models in one runtime."""

    @property
    def name(self) -> str:
        """Name of the runtime, for people."""

    @property
    def has_optimizer(self) -> bool:
        """Whether the runtime can optimize by itself."""

    def open(self, model: ModelSource, *, optimize: bool | Level = False) -> Runner:
        """A runner for a model.

        Raises:
            ExecutionError: if the runtime does not load it.
        """


@dataclass(frozen=True, slots=True)
class OrtOpener:
    """ONNX Runtime, its optimizer off unless asked for."""

    options: CheckOptions
    name: str = "ONNX Runtime"
    has_optimizer: bool = True

    def open(self, model: ModelSource, *, optimize: bool | Level = False) -> Runner:
        """A runner for a model, in a child process if the options say so."""
        options = self.options
        if options.isolate:
            return load_isolated(
                model, optimize=optimize, threads=options.threads, folder=options.folder, timeout=options.timeout
            )
        return OrtRunner(model, optimize=optimize, threads=options.threads, folder=options.folder)


@dataclass(frozen=True, slots=True)
class ReferenceOpener:
    """The reference evaluator, for what ONNX Runtime does not run."""

    options: CheckOptions
    name: str = "the reference evaluator"
    has_optimizer: bool = False

    def open(self, model: ModelSource, *, optimize: bool | Level = False) -> Runner:
        """A runner for a model; there is nothing to optimize."""
        return ReferenceRunner(model, kernels=self.options.kernels)


@dataclass(frozen=True, slots=True)
class RuntimeOpener:
    """The runtime of a backend, for the files that the backend saved.

    Attributes:
        name: of the backend.
        runtime: it, or where it is imported from.
        options: threads, isolation and time.
        has_optimizer: runtimes of backends do what they do.
    """

    name: str
    runtime: Runtime | Lazy
    options: CheckOptions = field(default_factory=CheckOptions)
    has_optimizer: bool = False

    def open(self, model: ModelSource, *, optimize: bool | Level = False) -> Runner:
        """A runner for a file.

        Raises:
            ExecutionError: if the runtime does not load it, or it is no file.
        """
        if not isinstance(model, str | os.PathLike):
            raise ExecutionError(f"backend {self.name!r} runs files; save the model first")
        options = RunOptions(self.options.threads, optimize=bool(optimize) and optimize != "none", low_memory=True)
        if self.options.isolate:
            return open_file_isolated(self.name, self.runtime, model, options, timeout=self.options.timeout)
        return open_file(self.name, self.runtime, model, options)
