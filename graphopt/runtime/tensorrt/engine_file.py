"""Files of engines: whole, and those that their manifests tell of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from graphopt.backends.tensorrt.manifest import ManifestRecord, read_manifest
from graphopt.errors import ExecutionError

__all__ = ["read_engine"]


def read_engine(path: Path) -> tuple[bytes, ManifestRecord | None]:
    """An engine that is what its manifest says, as far as there is one.

    Raises:
        ExecutionError: if the file can't be read, is empty, or is not the one that was built.
    """
    manifest = read_manifest(path)
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ExecutionError(f"{str(path)!r} can't be read: {err.strerror or err}; check the path") from err
    again = "copy it again, or build it: graphopt build"
    if not data:
        raise ExecutionError(f"{str(path)!r} is empty, expected an engine; {again}")
    if manifest is None:
        return data, None
    if len(data) != manifest.bytes:
        kind = "is truncated" if len(data) < manifest.bytes else "is another file"
        raise ExecutionError(
            f"{str(path)!r} {kind}: it has {len(data):,} bytes, the engine of its manifest has {manifest.bytes:,}; {again}"
        )
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ExecutionError(f"{str(path)!r} is not the engine of its manifest: its digest is another one; {again}")
    return data, manifest
