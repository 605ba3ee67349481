"""ONNX Runtime as the runtime of the backends that emit ONNX; imported when a model is opened, since asking for its suffix is cheap."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from graphopt.numerics import Exact, Numerics
from graphopt.runtime.base import Runner
from graphopt.runtime.runtimes import RunOptions

__all__ = ["OrtRuntime"]


class OrtRuntime:
    """ONNX Runtime on the processor."""

    suffix: ClassVar[str] = ".onnx"
    numerics: ClassVar[Numerics] = Exact()

    def open(self, path: Path, options: RunOptions) -> Runner:
        """A session for a model file."""
        from graphopt.runtime.onnxruntime_runner import OrtRunner  # lazily: takes longer to import than all else

        return OrtRunner(
            path,
            optimize=options.optimize,
            threads=options.threads,
            low_memory=options.low_memory,
            settings=options.session,
        )
