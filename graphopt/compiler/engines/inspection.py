"""What an engine is: what its manifest says, and where the engine runs here, what TensorRT's own inspector tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from graphopt.backends.tensorrt.manifest import ManifestRecord
from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt.engine_file import read_engine

__all__ = ["InspectedEngine", "inspect_engine"]


@dataclass(frozen=True)
class InspectedEngine:
    """An engine that was looked into.

    Attributes:
        path: of the file.
        facts: of the manifest, or how large the file is if there is none.
        layers: of the engine, as plain values.
        told_by: who told the layers.
    """

    path: Path
    facts: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    told_by: str


def inspect_engine(path: Path) -> InspectedEngine:
    """What an engine is.

    Its manifest has the layers as the builder told them, with the nodes that each came from, which needs no device. An engine without a
    manifest is loaded and asked, which does.

    Raises:
        ExecutionError: if the file can't be read, or is not the one of its manifest; if it has none, and nothing loads it here.
    """
    data, record = read_engine(path)
    if record is not None and record.engine:
        return InspectedEngine(
            path, _facts(record), [msgspec.to_builtins(item) for item in record.engine], "the manifest"
        )
    facts = {"bytes": len(data)} if record is None else _facts(record)
    try:
        return InspectedEngine(path, facts, _asked(path, data, record), "the engine inspector of the library")
    except ExecutionError as err:
        if record is None:
            raise ExecutionError(
                f"{str(path)!r} has no manifest that tells its layers, and can't be loaded here to be asked: {err}"
            ) from err
        return InspectedEngine(path, facts, (), f"nobody: {err}")


def _facts(record: ManifestRecord) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(record)
    del found["engine"]
    return found


def _asked(path: Path, data: bytes, record: ManifestRecord | None) -> list[dict[str, object]]:
    from graphopt.backends.tensorrt.api import load  # lazily, as the next ones: only engines without layers need it
    from graphopt.backends.tensorrt.engine_layers import layers_from_json
    from graphopt.runtime.tensorrt.driver import connect
    from graphopt.runtime.tensorrt.loading import load_engine

    api = load()
    engine = load_engine(path, data, record, api, connect(), api.log())
    told = engine.create_engine_inspector().get_engine_information(api.module.LayerInformationFormat.JSON)
    try:
        return [layer.to_dict() for layer in layers_from_json(told)]
    except ValueError as err:
        raise ExecutionError(f"the engine inspector of {api.name} {api.version} tells something else: {err}") from err
