"""Folders of parts built for, and run on, a GPU that is none; and a backend that refuses what a test wants refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.compiler.hybrid import Hybrid, build_hybrid
from graphopt.ir import Node
from graphopt.passes import Lazy
from graphopt.runtime import Outputs, RunOptions
from graphopt.runtime.hybrid.runner import HybridRuntime
from graphopt.runtime.runtimes import open_file
from tests.runtime.tensorrt.engines import Bench

__all__ = ["Machine", "refuse"]

ORT = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)


@dataclass
class Machine:
    """Where folders are built and run."""

    bench: Bench

    @classmethod
    def new(cls) -> Machine:
        return cls(Bench.new())

    @property
    def runtime(self) -> HybridRuntime:
        return HybridRuntime({"tensorrt": self.bench.runtime, "onnxruntime": ORT})

    def build(self, source: object, folder: Path, *, sizes: Any = None, **options: Any) -> Hybrid:
        engines = EngineOptions(sizes=sizes or {})
        return build_hybrid(source, folder, options=engines, library=self.bench.api, **options)

    def run(self, folder: Path, feeds: Any) -> Outputs:
        with open_file("hybrid", self.runtime, folder / "manifest.json", RunOptions(threads=1)) as runner:
            return runner.run(feeds)


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[Node], bool]) -> None:
    """Let the backend say that it has no layers for some nodes."""
    supports = TensorRtBackend.supports
    monkeypatch.setattr(
        TensorRtBackend, "supports", lambda self, node: "refused" if refused(node) else supports(self, node)
    )
