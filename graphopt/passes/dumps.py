"""Models as text after passes, and what replays a failure."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TextIO

from graphopt.ir import Model
from graphopt.ir.clone import clone_model
from graphopt.ir.printer import print_model
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.passes.instrumentation import Instrumentation
from graphopt.passes.record import PassRecord

if TYPE_CHECKING:
    from graphopt.passes.pipeline import Pipeline

__all__ = ["PrintIR", "Reproducer", "installed_versions"]


class PrintIR(Instrumentation):
    """Writes the text form of the model after passes, and after one that fails.

    Args:
        when: ``"all"`` or ``"change"``, which leaves out passes that changed nothing.
        folder: where to put ``NNN_pass-name.txt``; made when it is not there.
        stream: where to write when there is no folder, standard error by default.
    """

    def __init__(
        self, when: Literal["all", "change"] = "all", *, folder: Path | None = None, stream: TextIO | None = None
    ) -> None:
        self.when = when
        self.folder = folder
        self.stream = stream
        self._number = 0

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Write what passes are given."""
        self._number = 0
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write(model, "input", "before all passes")

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Write what a pass left."""
        self._number += 1
        if result.changed or self.when == "all":
            self._write(model, item.name, f"after {record.text}" + ("" if result.changed else " (no change)"))

    def after_failed_pass(self, item: Pass, model: Model, error: Exception, record: PassRecord) -> None:
        """Write what a failed pass left, as far as it can be written."""
        self._number += 1
        try:
            self._write(model, f"{item.name}_failed", f"after {record.text} failed")
        except Exception as err:  # noqa: BLE001 - the model may be in any state; the failure itself is what counts
            error.add_note(f"the model can't be printed: {type(err).__name__}: {err}")

    def _write(self, model: Model, name: str, title: str) -> None:
        text = print_model(model)
        if self.folder is not None:
            (self.folder / f"{self._number:03d}_{name}.txt").write_text(text, encoding="utf-8")
            return
        stream = self.stream or sys.stderr
        stream.write(f"# {title}\n{text}\n")


#: Packages whose version decides what a pass does.
_PACKAGES: Final = ("graphopt", "numpy", "onnx", "onnxruntime", "ml-dtypes")


def installed_versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Versions of installed packages, of Python and of the system.

    Args:
        packages: names as pip knows them; those that are not installed are left out.
    """
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class Reproducer(Instrumentation):
    """When a pass fails, writes the model as it was before, and the command that runs the pass on it again.

    The folder then holds ``model.onnx``, ``pipeline.txt`` (the whole pipeline), ``replay.txt`` (the failed pass alone, with the
    command), ``versions.json``, and ``reproducer.json``, with which ``graphopt replay`` does it. Before each pass that follows a change
    the model is copied; weights are shared, not copied.

    Args:
        folder: where to; made when it is not there.
        save: writes a model to a path.
        command: replays it; ``{model}`` and ``{passes}`` stand for what was written.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Model, Path], None],
        command: str = "graphopt optimize {model} -o replayed.onnx --passes {passes} --verify-each",
    ) -> None:
        self.folder = folder
        self.save = save
        self.command = command
        self._pipeline = ""
        self._before: Model | None = None

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Note the pipeline."""
        self._pipeline = pipeline.to_text()
        self._before = None

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Keep the model, unless it is still the one that was kept."""
        if self._before is None:
            self._before = clone_model(model)

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Let go of the copy when the model changed."""
        if result.changed:
            self._before = None

    def after_failed_pass(self, item: Pass, model: Model, error: Exception, record: PassRecord) -> None:
        """Write everything, and say where it is."""
        if self._before is None:  # type inference failed: the model is what the pipeline was given
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "model.onnx"
        command = self.command.format(model=shlex.quote(str(path)), passes=shlex.quote(record.text))
        (self.folder / "pipeline.txt").write_text(self._pipeline + "\n", encoding="utf-8")
        (self.folder / "replay.txt").write_text(f"{record.text}\n{command}\n{error}\n", encoding="utf-8")
        versions = installed_versions()
        (self.folder / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
        told = {
            "format": 1,
            "command": "graphopt replay .",
            "optimize": command,
            "kind": "exception",
            "reason": str(error),
            "original": "model.onnx",
            "pipeline": record.text,
            "versions": versions,
        }
        (self.folder / "reproducer.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        try:
            self.save(self._before, path)
        except Exception as err:  # noqa: BLE001 - a second failure must not hide the first
            error.add_note(f"the model before the pass can't be written: {type(err).__name__}: {err}")
            return
        error.add_note(f"replay it with: {command}")
