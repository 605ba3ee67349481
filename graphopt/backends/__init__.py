"""Backends: IR to what a runtime loads; each legalizes, then emits. Import from here what a backend of a plugin is made of."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphopt.backends.base import Artifact, Backend, SavingBackend
from graphopt.target import Target

if TYPE_CHECKING:
    from graphopt.backends.artifact_files import beside, save_artifact
    from graphopt.backends.onnx.atomic import check_output, new_files
    from graphopt.backends.onnx.files import save as save_onnx

__all__ = [
    "Artifact",
    "Backend",
    "SavingBackend",
    "Target",
    "beside",
    "check_output",
    "new_files",
    "save_artifact",
    "save_onnx",
]

_HOMES = {
    "beside": "artifact_files:beside",
    "check_output": "onnx.atomic:check_output",
    "new_files": "onnx.atomic:new_files",
    "save_artifact": "artifact_files:save_artifact",
    "save_onnx": "onnx.files:save",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
