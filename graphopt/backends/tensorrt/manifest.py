"""Manifests beside engines, as they are read: from what, with what and how an engine was built."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from graphopt.errors import ExecutionError
from graphopt.passes.json_files import read_json_file

__all__ = ["LayerRecord", "ManifestRecord", "read_manifest"]


class LayerRecord(msgspec.Struct):
    """A layer of an engine, as its manifest has it; see :class:`graphopt.backends.tensorrt.engine_layers.EngineLayer`."""

    name: str
    kind: str = ""
    precision: str = ""
    reads: list[str] = []
    holds: list[str] = []
    gives: list[str] = []
    nodes: list[str] = []


class ManifestRecord(msgspec.Struct):
    """A manifest as it is read; more may be in it."""

    format: int
    library: str
    version: str
    bytes: int
    sha256: str
    source: str = ""
    source_sha256: str = ""
    pipeline: str = ""
    precision: str = "fp32"
    graphopt: str = ""
    capabilities: list[str] = []
    profiles: list[dict[str, dict[str, list[list[int]]]]] = []
    options: dict[str, Any] = {}
    layers: dict[str, int] = {}
    types: dict[str, str] = {}
    sparse: list[str] = []
    structure: str = ""
    weights: dict[str, str] = {}
    engine: list[LayerRecord] = []


def read_manifest(engine: Path) -> ManifestRecord | None:
    """The manifest beside an engine, ``None`` where there is none.

    Raises:
        ExecutionError: if it can't be read, or is no manifest.
    """
    beside = engine.with_name(f"{engine.name}.json")
    if not os.path.lexists(beside):
        return None
    return read_json_file(
        beside,
        ManifestRecord,
        f"the manifest {str(beside)!r}",
        ExecutionError,
        "remove it, or build the engine again: graphopt build",
    )
