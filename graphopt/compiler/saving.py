"""Legalized models, written in the form of their backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.backends.base import SavingBackend
from graphopt.errors import OutputError
from graphopt.ir import Model

if TYPE_CHECKING:
    from graphopt.backends.base import Backend

__all__ = ["save_for"]


def save_for(
    backend: Backend, model: Model, path: Path, *, external_data: bool | None = None, force: bool = False
) -> list[Path]:
    """Write a legalized model in the form of its backend.

    Args:
        backend: what the model was legalized for.
        model: it; not changed.
        path: the main file.
        external_data: whether weights go to a file beside it, where the format has that; ``None`` lets the size decide.
        force: whether files that are there may be replaced.

    Returns:
        The files written.

    Raises:
        OutputError: if the files exist, or cannot be written.
        UnsupportedOpError: if the backend has no form for a node.
    """
    if isinstance(backend, SavingBackend):
        return backend.save(model, path, external_data=external_data, force=force)
    if external_data:
        raise OutputError(f"target {backend.name!r} has no external data; leave out external data (--external-data)")
    from graphopt.backends.artifact_files import save_artifact  # lazily: imports onnx

    return save_artifact(backend.emit(model), path, force=force)
