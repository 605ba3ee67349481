"""A folder with everything that shows a failure again: models, inputs, pipeline, versions and the command."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from onnx import ModelProto

from graphopt.errors import ExecutionError, OutputError
from graphopt.rewriting import Application
from graphopt.runtime.onnxruntime_runner import ModelSource
from graphopt.verify.user_inputs import save_inputs
from graphopt.verify.verdict import Verdict

__all__ = ["Reproducer", "write_reproducer"]

_LARGEST_COPY: Final = 512 << 20
_PACKAGES: Final = ("graphopt", "onnx", "onnxruntime", "numpy", "protobuf")


@dataclass(frozen=True, slots=True)
class Reproducer:
    """What was written.

    Attributes:
        folder: where it is.
        command: shows the failure again, when run in ``folder``.
    """

    folder: Path
    command: str


def write_reproducer(
    folder: str | os.PathLike[str],
    *,
    original: ModelSource,
    optimized: ModelSource | None,
    verdict: Verdict,
    pipeline: str,
    application: Application | None = None,
    options: Mapping[str, str] | None = None,
) -> Reproducer:
    """Write a folder that shows a failure again. It appears whole or not at all.

    ``original.onnx`` (or, for a model above 512 MB, only its path), ``optimized.onnx``, ``inputs.npz``, ``reproducer.json`` and ``README``.

    Args:
        folder: is made; if it exists, one beside it gets a number.
        original: path, bytes or message.
        optimized: the wrong model, ``None`` when there is none.
        verdict: what the check found.
        pipeline: text of the pipeline.
        application: the rewrite at fault, if it is known.
        options: further options of the command line, such as ``{"--target": "onnxruntime"}``.

    Raises:
        OutputError: if the folder cannot be written.
    """
    wanted = Path(folder)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{wanted.name}.", dir=wanted.parent))
    except OSError as err:
        raise OutputError(
            f"reproducer {str(wanted)!r} cannot be written: {err.strerror}; choose another folder"
        ) from err
    try:
        command = _fill(draft, original, optimized, verdict, pipeline, application, options or {})
        os.chmod(draft, 0o755)
        return Reproducer(_publish(draft, wanted), command)
    except OSError as err:
        raise OutputError(
            f"reproducer {str(wanted)!r} cannot be written: {err.strerror}; choose another folder"
        ) from err
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, wanted: Path) -> Path:
    for number in range(1, 1000):
        place = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if place.exists():
            continue
        with contextlib.suppress(OSError):  # somebody else may have taken the name since
            os.rename(draft, place)
            return place
    raise OSError(None, "a thousand others are there already")


def _fill(
    draft: Path,
    original: ModelSource,
    optimized: ModelSource | None,
    verdict: Verdict,
    pipeline: str,
    application: Application | None,
    options: Mapping[str, str],
) -> str:
    source = _copy(original, draft / "original.onnx")
    if optimized is not None:
        _copy(optimized, draft / "optimized.onnx")
    parts = ["graphopt", "optimize", source, "-o", "again.onnx", "--passes", pipeline]
    if verdict.failing_feeds is not None:
        with contextlib.suppress(ExecutionError):  # maps can't be stored; the seed draws them again
            save_inputs(draft / "inputs.npz", verdict.failing_feeds)
            parts += ["--inputs", "inputs.npz"]
    if application is not None:
        parts += [f"--opt-bisect-limit={application.number}"]
    for name, value in options.items():
        parts += [name, value]
    command = shlex.join(parts)
    record = {
        "command": command,
        "pipeline": pipeline,
        "application": None if application is None else {
            "number": application.number, "pass": application.pass_name, "rule": application.rule, "site": application.site
        },
        "verdict": verdict.to_json(),
        "original": source,
        "versions": _versions(),
    }  # fmt: skip
    (draft / "reproducer.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    wrong = "" if application is None else f"The first wrong rewrite: {application}\n"
    (draft / "README").write_text(
        f"{verdict.summary}\n{wrong}To see it again, in this folder:\n\n{command}\n", encoding="utf-8"
    )
    return command


def _copy(model: ModelSource, place: Path) -> str:
    """Put a model into the folder, unless it is large or has parts in other files; returns where it is."""
    if isinstance(model, bytes):
        place.write_bytes(model)
    elif isinstance(model, ModelProto):
        try:
            place.write_bytes(model.SerializeToString())
        except ValueError as err:
            raise OSError(None, f"the model is too large for a file of its own ({err})") from err
    else:
        path = Path(model).resolve()
        if path.stat().st_size > _LARGEST_COPY or _has_external_data(path):
            return str(path)
        shutil.copyfile(path, place)
    return place.name


def _has_external_data(path: Path) -> bool:
    """Whether a model file may refer to other files: the key that each reference must have occurs in it."""
    found, overlap, tail = b"location", 16, b""
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            if found in tail + piece:
                return True
            tail = piece[-overlap:]
    return False


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
