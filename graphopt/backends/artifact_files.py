"""Artifacts to files, for backends that do not write files themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

from graphopt.backends.base import Artifact
from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.errors import OutputError

__all__ = ["beside", "save_artifact"]

_BLOCK = 1 << 20


def save_artifact(artifact: Artifact, path: Path, *, force: bool) -> list[Path]:
    """Write an artifact as a file, or as several beside each other; they appear whole or not at all.

    Args:
        artifact: what a backend emitted.
        path: where to; of several files, the one that is opened.
        force: whether files that are there may be replaced.

    Returns:
        The files, ``path`` first.

    Raises:
        OutputError: if the files exist, cannot be written, or the name does not end as the format wants it.
    """
    if artifact.files is not None:
        return _save_several(artifact.kind, dict(artifact.files), path, force=force)
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


def beside(path: Path, kind: str, suffixes: list[str], *, force: bool) -> list[Path]:
    """Real paths of several files that belong together, if they may be written.

    Args:
        path: of the first.
        kind: name of the format, for errors.
        suffixes: how their names end.
        force: whether files that are there may be replaced.

    Raises:
        OutputError: if the name does not end in the first suffix, or a file may not be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> [place.name for place in beside(folder / "model.xml", "openvino", [".xml", ".bin"], force=False)]
        ['model.xml', 'model.bin']
    """
    first = suffixes[0]
    if path.suffix != first:
        raise OutputError(
            f"{str(path)!r} does not end in {first!r}, as the form {kind!r} of {' and '.join(suffixes)} files wants it; "
            f"name it {path.with_suffix(first).name!r}"
        )
    place = check_output(path, force=force)
    return [place, *(check_output(place.with_suffix(suffix), force=force) for suffix in suffixes[1:])]


def _save_several(kind: str, contents: dict[str, bytes | memoryview], path: Path, *, force: bool) -> list[Path]:
    places = beside(path, kind, list(contents), force=force)
    with new_files(list(reversed(places))) as files:  # the one that is opened appears last
        for file, content in zip(reversed(files), contents.values(), strict=True):
            file.write(content)
    return [path, *(path.with_name(place.name) for place in places[1:])]
