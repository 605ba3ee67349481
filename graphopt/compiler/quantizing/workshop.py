"""Makes models: a pipeline run on a copy, legalized, saved where a child process finds it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphopt.backends.base import Backend
from graphopt.compiler.environment import Environment
from graphopt.compiler.saving import save_for
from graphopt.compiler.targets import find_onnx_backend
from graphopt.ir import Model, clone_model
from graphopt.passes import CalibrationSource, PassRecord, Pipeline

__all__ = ["Made", "Workshop"]


@dataclass(frozen=True)
class Made:
    """A model that was made. It is on disk: many are made, and few are looked at again.

    Attributes:
        path: where it is.
        size: bytes of its files.
        read: gives it, legalized.
        passes: what each pass did.
        pipeline: text of what ran.
    """

    path: str
    size: int
    read: Callable[[], Model]
    passes: tuple[PassRecord, ...] = ()
    pipeline: str = ""

    @property
    def model(self) -> Model:
        """It, legalized; read anew each time."""
        return self.read()


class Workshop:
    """Makes models.

    Args:
        environment: plugins.
        target: name of the target.
        folder: for the models.
        seed: of random numbers that passes draw.
        progress: told what is going on, in a few words.
    """

    def __init__(
        self, environment: Environment, target: str, folder: Path, seed: int, progress: Callable[[str], None]
    ) -> None:
        self.environment = environment
        self.backend: Backend = find_onnx_backend(environment.plugins, target)
        self._folder = folder
        self._seed = seed
        self._tell = progress
        self._numbers = itertools.count()

    def run(
        self, model: Model, pipeline: Pipeline, calibration: CalibrationSource | None = None
    ) -> tuple[Model, tuple[PassRecord, ...]]:
        """A copy of a model after a pipeline, with what each pass did.

        Raises:
            GraphoptError: as the passes do.
        """
        copy = clone_model(model)
        ctx = self.environment.context(self.backend, seed=self._seed, calibration=calibration, progress=self._tell)
        return copy, tuple(self.environment.run_pipeline(copy, pipeline, ctx).records)

    def make(self, model: Model, pipeline: Pipeline, calibration: CalibrationSource | None = None) -> Made:
        """A model that the target can run, on disk.

        Raises:
            GraphoptError: as the passes do, or if the target can't have a node.
        """
        copy, records = self.run(model, pipeline, calibration)
        self.environment.legalize(copy, self.backend, self.environment.context(self.backend))
        files = save_for(self.backend, copy, self._folder / f"{next(self._numbers)}.onnx")
        size = sum(path.stat().st_size for path in files)
        if len(files) > 1:  # weights that stand in a temporary file would be gone with it
            return Made(str(files[0]), size, lambda: copy, records, pipeline.to_text())
        read = functools.partial(_read, self.environment, files[0], copy.source)
        return Made(str(files[0]), size, read, records, pipeline.to_text())


def _read(environment: Environment, path: Path, source: str) -> Model:
    """A model from a temporary file that nobody knows."""
    model = environment.lift(path)
    model.source = source
    return model
