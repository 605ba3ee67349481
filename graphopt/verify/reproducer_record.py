"""What a reproducer folder says in ``reproducer.json``: written here and read here, so that both agree."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from graphopt.errors import ModelError

__all__ = ["FORMAT", "RECORD_NAME", "NotedApplication", "NotedPlugin", "ReproducerRecord", "read_record"]

#: Version of the form of the record; grows when an older graphopt could not replay a newer folder.
FORMAT: Final = 1
RECORD_NAME: Final = "reproducer.json"
_LARGEST: Final = 64 << 20


class NotedApplication(msgspec.Struct, frozen=True, rename={"pass_name": "pass"}):
    """The rewrite at fault.

    Attributes:
        number: of the application.
        pass_name: the pass.
        rule: the rule, or the pass itself.
        site: name of the first output of the root.
    """

    number: int
    pass_name: str
    rule: str
    site: str


class NotedPlugin(msgspec.Struct, frozen=True):
    """A plugin that was in use.

    Attributes:
        name: of its entry point.
        package: distribution and version that it came with.
        api: the hook API version that it states, ``None`` when it states none.
    """

    name: str
    package: str = ""
    api: int | None = None


class ReproducerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that replaying needs besides the model and the inputs.

    Attributes:
        format: version of this form.
        command: shows the failure again, in the folder.
        optimize: does the same step by hand.
        kind: of the failure.
        reason: of the failure, in a line.
        original: name of the model's file in the folder; ``""`` when it stays where it was.
        original_path: where the model was, when it is not in the folder.
        inputs: name of the file with inputs, ``None`` when they are drawn by seed.
        pipeline: text.
        target: the backend.
        seed: of all random numbers.
        samples: how many sets of inputs are drawn.
        rtol: difference that is allowed, ``None`` for what the passes declare.
        disabled: passes and rules that were left out.
        imports: passes and rules that no plugin registers, as ``module:name``.
        application: the rewrite at fault, if it is known.
        options: further options of the command line.
        verdict: of the check.
        versions: of packages.
        plugins: that were in use.
    """

    format: int
    command: str = ""
    optimize: str = ""
    kind: str = ""
    reason: str = ""
    original: str = ""
    original_path: str = ""
    inputs: str | None = None
    pipeline: str
    target: str = "onnxruntime"
    seed: int = 0
    samples: int = 4
    rtol: float | None = None
    disabled: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    application: NotedApplication | None = None
    options: dict[str, str] = {}
    verdict: dict[str, object] | None = None
    versions: dict[str, str] = {}
    plugins: tuple[NotedPlugin, ...] = ()

    def text(self) -> str:
        """The record as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


def read_record(folder: str | os.PathLike[str]) -> ReproducerRecord:
    """The record of a folder; the files that it names are there, in the folder itself.

    Raises:
        ModelError: if that is no reproducer folder, or what it says can't be meant.
    """
    where = f"reproducer {os.fspath(folder)!r}"
    path = Path(folder) / RECORD_NAME
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise ModelError(f"{where}: {RECORD_NAME} is no regular file; name a folder that graphopt wrote")
        if status.st_size > _LARGEST:
            raise ModelError(f"{where}: {RECORD_NAME} has {status.st_size:,} bytes, which no reproducer has")
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(
            f"{where}: {RECORD_NAME} can't be read: {err.strerror}; name a folder that graphopt wrote with --reproducer"
        ) from err
    try:
        found = msgspec.json.decode(data, type=ReproducerRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise ModelError(f"{where}: {RECORD_NAME} is not what graphopt writes: {err}") from err
    if found.format != FORMAT:
        raise ModelError(
            f"{where}: is of format {found.format}, this graphopt reads {FORMAT}; use the one that wrote it"
        )
    if found.seed < 0 or found.samples < 1 or (found.rtol is not None and not found.rtol >= 0):
        raise ModelError(f"{where}: seed, samples or rtol is out of range in {RECORD_NAME}")
    for name in (found.original, found.inputs or ""):
        if name:
            _check_name(where, Path(folder), name)
    return found


def _check_name(where: str, folder: Path, name: str) -> None:
    """A file of the folder, and not one to which a name or link leads out of it."""
    if name in (".", "..") or Path(name).name != name or "\\" in name or "\0" in name:
        raise ModelError(f"{where}: names the file {name!r}, expected the name of a file in the folder")
    place = folder / name
    if not place.is_file():
        raise ModelError(f"{where}: the file {name!r} is missing")
    if place.resolve().parent != folder.resolve():
        raise ModelError(f"{where}: {name!r} leads out of the folder; copy the file into it if you trust it")
