"""An engine that was built, as tables for the terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from graphopt.report.engine_view import LayerFacts, layer_table, precisions_text, profiles_text, sparse_text
from graphopt.report.layout import columns, facts
from graphopt.report.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.engines.building import Engine

__all__ = ["build_dict", "build_view"]


def build_dict(engine: Engine) -> dict[str, object]:
    """What was built as plain values; times in seconds."""
    return {
        **engine.manifest,
        "nodes": sum(engine.report.ops_after.values()),
        "seconds": {name: round(value, 4) for name, value in engine.seconds.items()},
        "notes": [*engine.report.notes, *engine.notes],
    }


def build_view(engine: Engine, *, layers: bool = False) -> RenderableType:
    """What was built, with the layers of the network; with those of the engine if they are asked for."""
    manifest = engine.manifest
    verdict = engine.report.verdict
    made = [LayerFacts.of(item) for item in manifest["engine"]]
    told = {
        "library": f"{manifest['library']} {manifest['version']}",
        "precision": str(manifest["precision"]),
        "compiled for": ", ".join(f"compute capability {item}" for item in manifest["capabilities"])
        or "all devices that it supports",
        "sizes": profiles_text(manifest["profiles"]),
        "nodes": f"{sum(engine.report.ops_before.values()):,} -> {sum(engine.report.ops_after.values()):,}",
        "layers": f"{sum(engine.layers.values()):,} in the network"
        + (f", {len(made):,} in the engine: {precisions_text(made)}" if made else ""),
        "sparse": sparse_text(manifest["sparse"]),
        "engine": bytes_text(int(manifest["bytes"])),
        "check": "not asked for" if verdict is None else f"{verdict.status}, of the optimized model as ONNX",
        "time": ", ".join(f"{name} {seconds_text(value)}" for name, value in engine.seconds.items()),
    }
    changed = [f"{name} is {dtype} in the model" for name, dtype in manifest["types"].items()]
    notes = [*changed, *engine.report.notes, *engine.notes]
    if layers and made:
        table = layer_table(made, manifest["sparse"])
    else:
        rows = [(kind.lower().replace("_", " "), f"{count:,}") for kind, count in engine.layers.items()]
        table = columns(("layer of the network", "how many>"), rows)
    parts: list[RenderableType] = [facts({name: text for name, text in told.items() if text}), "", table]
    return Group(*parts, *(["", *notes] if notes else []))
