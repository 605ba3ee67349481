"""A folder with everything that shows a failure again: models, inputs, pipeline, versions and the command."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec
from onnx import ModelProto

from graphopt.errors import ExecutionError, OutputError
from graphopt.rewriting import Application
from graphopt.runtime.base import Feeds
from graphopt.runtime.onnxruntime_runner import ModelSource
from graphopt.verify.reproducer_record import FORMAT, RECORD_NAME, NotedApplication, NotedPlugin, ReproducerRecord
from graphopt.verify.user_inputs import save_inputs
from graphopt.verify.verdict import Verdict

__all__ = ["Reproducer", "check_folder", "current_versions", "write_reproducer"]

_LARGEST_COPY: Final = 512 << 20
_PACKAGES: Final = ("graphopt", "onnx", "onnxruntime", "numpy", "protobuf", "ml-dtypes")


@dataclass(frozen=True, slots=True)
class Reproducer:
    """What was written.

    Attributes:
        folder: where it is.
        command: shows the failure again, when run in ``folder``.
    """

    folder: Path
    command: str


def check_folder(folder: str | os.PathLike[str]) -> None:
    """See that a reproducer can be written, before the work that it is about.

    Raises:
        OutputError: if it is a file, or the nearest folder above it that is there is no folder or can't be written.
    """
    wanted = Path(folder)
    if wanted.exists() and not wanted.is_dir():
        raise OutputError(f"reproducer {str(wanted)!r} is a file, expected a folder; choose another path")
    above = next((place for place in wanted.absolute().parents if place.exists()), None)
    reason = "Not a directory" if above is not None and not above.is_dir() else "Permission denied"
    if above is None or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"reproducer {str(wanted)!r} cannot be written: {reason}; choose another folder")


def write_reproducer(
    folder: str | os.PathLike[str],
    *,
    original: ModelSource,
    optimized: ModelSource | None,
    verdict: Verdict | None,
    pipeline: str,
    application: Application | None = None,
    options: Mapping[str, str] | None = None,
    kind: str = "",
    reason: str = "",
    inputs: Feeds | None = None,
    target: str = "onnxruntime",
    seed: int = 0,
    samples: int = 4,
    rtol: float | None = None,
    disabled: Sequence[str] = (),
    plugins: Sequence[NotedPlugin] = (),
    imports: Sequence[str] = (),
) -> Reproducer:
    """Write a folder that shows a failure again, with ``graphopt replay``. It appears whole or not at all.

    ``original.onnx`` (or, for a model above 512 MB, only its path), ``optimized.onnx``, ``inputs.npz``, ``reproducer.json`` and ``README``.

    Args:
        folder: is made; if it exists, one beside it gets a number.
        original: path, bytes or message.
        optimized: the wrong model, ``None`` when there is none.
        verdict: what the check found, ``None`` when the failure is none of numbers.
        pipeline: text of the pipeline.
        application: the rewrite at fault, if it is known.
        options: further options of the command line, for the command that does it by hand.
        kind: of the failure; that of the verdict by default.
        reason: of the failure; that of the verdict by default.
        inputs: that show it; those of the verdict by default.
        target: name of the backend.
        seed: of all random numbers.
        samples: how many sets of inputs are drawn when there are none in the folder.
        rtol: difference that is allowed, ``None`` for what the passes declare.
        disabled: passes and rules that are left out.
        plugins: that are in use.
        imports: places (``module:name``, or ``path/to/file.py:name``) of passes and rules that no plugin registers. Rules stand in
            ``pipeline`` as one pass that has their names joined by ``+``. They are imported by ``graphopt replay --trust`` only.

    Raises:
        OutputError: if the folder cannot be written.
    """
    record = ReproducerRecord(
        format=FORMAT,
        kind=kind or (verdict.failure if verdict is not None else "") or "wrong-numbers",
        reason=reason or (verdict.reason if verdict is not None else ""),
        pipeline=pipeline,
        target=target,
        seed=seed,
        samples=samples,
        rtol=rtol,
        disabled=tuple(disabled),
        imports=tuple(imports),
        application=None
        if application is None
        else NotedApplication(application.number, application.pass_name, application.rule, application.site),
        options=dict(options or {}),
        verdict=None if verdict is None else verdict.to_json(),
        versions=current_versions(),
        plugins=tuple(plugins),
    )
    feeds = inputs if inputs is not None else verdict.failing_feeds if verdict is not None else None
    wanted = Path(folder)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{wanted.name}.", dir=wanted.parent))
    except OSError as err:
        raise OutputError(
            f"reproducer {str(wanted)!r} cannot be written: {err.strerror}; choose another folder"
        ) from err
    try:
        command = _fill(draft, original, optimized, feeds, record)
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
    draft: Path, original: ModelSource, optimized: ModelSource | None, feeds: Feeds | None, record: ReproducerRecord
) -> str:
    source = _copy(original, draft / "original.onnx")
    if optimized is not None:
        _copy(optimized, draft / "optimized.onnx")
    inside = source == "original.onnx"
    stored = None
    if feeds is not None:
        with contextlib.suppress(ExecutionError):  # maps can't be stored; the seed draws them again
            save_inputs(draft / "inputs.npz", feeds)
            stored = "inputs.npz"
    command = ["graphopt", "replay", "."]
    if not inside:
        command += ["--model", source]
    if record.imports:
        command += ["--trust"]
    record = msgspec.structs.replace(
        record,
        command=shlex.join(command),
        optimize=_by_hand(source, stored, record),
        original="original.onnx" if inside else "",
        original_path="" if inside else source,
        inputs=stored,
    )
    (draft / RECORD_NAME).write_text(record.text(), encoding="utf-8")
    (draft / "README").write_text(_readme(record), encoding="utf-8")
    return record.command


def _by_hand(source: str, inputs: str | None, record: ReproducerRecord) -> str:
    """The command that optimizes with the same options, up to the rewrite at fault."""
    parts = ["graphopt", "optimize", source, "-o", "again.onnx", "--passes", record.pipeline]
    if inputs is not None:
        parts += ["--inputs", inputs]
    if record.application is not None and record.kind != "exception":
        parts += [f"--opt-bisect-limit={record.application.number}"]
    for name in record.disabled:
        parts += ["--disable", name]
    for option, value in {"--target": record.target, "--seed": str(record.seed), **record.options}.items():
        parts += [option, value]
    return shlex.join(parts)


def _readme(record: ReproducerRecord) -> str:
    lines = [f"{record.kind}: {record.reason}"]
    if record.application is not None:
        found = record.application
        lines.append(f"The first wrong rewrite: {Application(found.number, found.pass_name, found.rule, found.site)}")
    lines += ["To see it again, in this folder:", "", record.command, "", "Step by step:", "", record.optimize]
    return "\n".join(lines) + "\n"


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


def current_versions() -> dict[str, str]:
    """Versions of Python, of the system and of the packages that decide what a pipeline does."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
