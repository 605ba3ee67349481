"""Backends: IR to what a runtime loads; each legalizes, then emits. Import from here what a backend of a plugin is made of."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphopt.backends.base import Artifact, Backend, SavingBackend

if TYPE_CHECKING:
    from graphopt.backends.artifact_files import beside, save_artifact
    from graphopt.backends.onnx.atomic import check_output, new_files

__all__ = ["Artifact", "Backend", "SavingBackend", "beside", "check_output", "new_files", "save_artifact"]

_HOMES = {
    "beside": "artifact_files",
    "check_output": "onnx.atomic",
    "new_files": "onnx.atomic",
    "save_artifact": "artifact_files",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
