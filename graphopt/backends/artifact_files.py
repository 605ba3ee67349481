"""Artifacts to files, for backends that do not write files themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

from graphopt.backends.base import Artifact
from graphopt.backends.onnx.atomic import check_output, new_files

__all__ = ["save_artifact"]

_BLOCK = 1 << 20


def save_artifact(artifact: Artifact, path: Path, *, force: bool) -> list[Path]:
    """Write an artifact as one file; it appears whole or not at all.

    Args:
        artifact: what a backend emitted.
        path: where to.
        force: whether a file that is there may be replaced.

    Returns:
        The file.

    Raises:
        OutputError: if the file exists, or cannot be written.
    """
    place = check_output(path, force=force)
    with new_files([place]) as [file]:
        if artifact.path is not None:
            with artifact.path.open("rb") as made:
                shutil.copyfileobj(made, file, _BLOCK)
        elif artifact.data is not None:
            file.write(artifact.data)
        elif artifact.proto is not None:
            file.write(artifact.proto.SerializeToString())
    return [path]
