"""Files of engines, and the manifests beside them: what an engine was built with, and whether it is whole."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from graphopt.errors import ExecutionError
from graphopt.passes.json_files import read_json_file

__all__ = ["EngineManifest", "read_engine", "read_engine_manifest"]


@dataclass(frozen=True)
class EngineManifest:
    """What a manifest says that matters when its engine is loaded; more may be in it.

    Attributes:
        library: module that the engine was built with, ``""`` if nobody says.
        version: of the library.
        capabilities: compute capabilities that it was compiled for; all that the library supports if there are none.
        types: element types that the model has where the engine has another one, by name of the input or output.
        bytes: length of the engine, 0 if nobody says.
        sha256: of the engine.
    """

    library: str = ""
    version: str = ""
    capabilities: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    sha256: str = ""


def read_engine_manifest(path: Path) -> EngineManifest:
    """The manifest of an engine, an empty one where there is none.

    Raises:
        ExecutionError: if it can't be read, or is no manifest.
    """
    beside = path.with_name(f"{path.name}.json")
    if not os.path.lexists(beside):
        return EngineManifest()
    return read_json_file(
        beside,
        EngineManifest,
        f"the manifest {str(beside)!r}",
        ExecutionError,
        "remove it, or build the engine again: graphopt build",
    )


def read_engine(path: Path) -> tuple[bytes, EngineManifest]:
    """An engine that is what its manifest says, as far as there is one.

    Raises:
        ExecutionError: if the file can't be read, is empty, or is not the one that was built.
    """
    manifest = read_engine_manifest(path)
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ExecutionError(f"{str(path)!r} can't be read: {err.strerror or err}; check the path") from err
    again = "copy it again, or build it: graphopt build"
    if not data:
        raise ExecutionError(f"{str(path)!r} is empty, expected an engine; {again}")
    if manifest.bytes and len(data) != manifest.bytes:
        kind = "is truncated" if len(data) < manifest.bytes else "is another file"
        raise ExecutionError(
            f"{str(path)!r} {kind}: it has {len(data):,} bytes, the engine of its manifest has {manifest.bytes:,}; {again}"
        )
    if manifest.sha256 and hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ExecutionError(f"{str(path)!r} is not the engine of its manifest: its digest is another one; {again}")
    return data, manifest
