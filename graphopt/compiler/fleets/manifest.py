"""What a folder of optimized models says of itself: from which model each file was made, how, and with which versions."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from graphopt.backends.onnx.atomic import new_files
from graphopt.compiler.environment import Environment
from graphopt.errors import ExecutionError, GraphoptError, OutputError
from graphopt.ir.storage import BytesInFile, StoredData

__all__ = ["MANIFEST", "Manifest", "ManifestEntry", "bytes_to_send", "digest_of_file", "digest_of_model"]

#: Name of the file in the folder.
MANIFEST: Final = "graphopt-manifest.json"
_FORMAT: Final = 1


@dataclass(frozen=True)
class ManifestEntry:
    """A model that was made.

    Attributes:
        source: path of the original.
        digest: of the original, its external data included.
        settings: how it was made: pipeline, target, check and the like.
        versions: of graphopt, of what it works with, and of plugins.
        files: digest of each file that was written, by name.
        summary: what the report said of it.
    """

    source: str
    digest: str
    settings: dict[str, str]
    versions: dict[str, str]
    files: dict[str, str]
    summary: dict[str, object] = field(default_factory=dict)

    def is_of(self, other: ManifestEntry) -> bool:
        """Whether the same model was made in the same way."""
        return (self.digest, self.settings, self.versions) == (other.digest, other.settings, other.versions)


@dataclass
class Manifest:
    """The manifest of a folder.

    Attributes:
        models: what was made, by the name of the model file, relative to the folder.
        format: version of this form.
    """

    models: dict[str, ManifestEntry] = field(default_factory=dict)
    format: int = _FORMAT

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a folder; an empty one where there is none.

        Raises:
            OutputError: if the file can't be read, or is no manifest.
        """
        path = folder / MANIFEST
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return cls()
        except OSError as err:
            raise OutputError(f"{str(path)!r} can't be read: {err.strerror or err}; check the path") from err
        except msgspec.MsgspecError as err:
            raise OutputError(
                f"{str(path)!r} is no manifest of graphopt: {err}; remove it, or choose another folder"
            ) from err
        if found.format != _FORMAT:
            raise OutputError(
                f"{str(path)!r} has form {found.format}, expected {_FORMAT}; use that version of graphopt, or another folder"
            )
        return found

    def write(self, folder: Path) -> None:
        """Replace the file; it is whole at any time.

        Raises:
            OutputError: if it can't be written.
        """
        text = msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
        with new_files([folder.resolve() / MANIFEST]) as [file]:
            file.write(text)

    def holds(self, folder: Path, name: str, wanted: ManifestEntry) -> bool:
        """Whether a model is there, made as it is wanted now, and every file as it was written."""
        found = self.models.get(name)
        return found is not None and found.is_of(wanted) and self.is_untouched(folder, name)

    def is_untouched(self, folder: Path, name: str) -> bool:
        """Whether the files of a model are those that were written."""
        entry = self.models[name]
        place = (folder / name).parent
        return bool(entry.files) and all(
            (place / file).is_file() and digest_of_file(place / file) == digest for file, digest in entry.files.items()
        )


def bytes_to_send(path: Path, environment: Environment) -> bytes:
    """A model for another machine.

    Raises:
        ExecutionError: if its weights are in files of their own.
    """
    if digest_of_model(path, environment) != digest_of_file(path):
        raise ExecutionError(
            f"{str(path)!r} has weights in files beside it, which are not sent to other machines; use --executor processes"
        )
    return path.read_bytes()


def digest_of_file(path: Path) -> str:
    """SHA-256 of what is in a file.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_model(path: Path, environment: Environment) -> str:
    """SHA-256 of a model file and of the files that its weights are in.

    Raises:
        OSError: if a file can't be read.
    """
    own = digest_of_file(path)
    if not _may_have_external_data(path):
        return own
    try:
        model = environment.lift(path)
    except GraphoptError:  # optimizing it will say what is wrong
        return own
    files: set[Path] = set()
    for graph in model.graphs():
        for value in graph.initializers():
            data = value.const.data if value.const is not None else None
            if isinstance(data, StoredData) and isinstance(data.source, BytesInFile):
                files.add(data.source.path.resolve())
    parts = [own, *(digest_of_file(file) for file in sorted(files - {path.resolve()}))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest() if len(parts) > 1 else own


def _may_have_external_data(path: Path) -> bool:
    """Whether the key of such data is anywhere in a file: cheaper than reading the model."""
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(b"location") >= 0
