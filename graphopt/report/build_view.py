"""An engine that was built, as tables for the terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from graphopt.report.layout import columns, facts
from graphopt.report.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.building import Engine

__all__ = ["build_dict", "build_view"]


def build_dict(engine: Engine) -> dict[str, object]:
    """What was built as plain values; times in seconds."""
    return {
        **engine.manifest,
        "nodes": sum(engine.report.ops_after.values()),
        "seconds": {name: round(value, 4) for name, value in engine.seconds.items()},
        "notes": list(engine.report.notes),
    }


def build_view(engine: Engine) -> RenderableType:
    """What was built, with the layers of the network."""
    manifest = engine.manifest
    verdict = engine.report.verdict
    told = {
        "library": f"{manifest['library']} {manifest['version']}",
        "precision": str(manifest["precision"]),
        "compiled for": ", ".join(f"compute capability {item}" for item in manifest["capabilities"])
        or "all devices that it supports",
        "nodes": f"{sum(engine.report.ops_before.values()):,} -> {sum(engine.report.ops_after.values()):,}",
        "layers": f"{sum(engine.layers.values()):,}",
        "engine": bytes_text(int(manifest["bytes"])),
        "check": "not asked for" if verdict is None else f"{verdict.status}, of the optimized model as ONNX",
        "time": ", ".join(f"{name} {seconds_text(value)}" for name, value in engine.seconds.items()),
    }
    rows = [(kind.lower().replace("_", " "), f"{count:,}") for kind, count in engine.layers.items()]
    changed = [f"{name} is {dtype} in the model" for name, dtype in manifest["types"].items()]
    notes = [*changed, *engine.report.notes]
    parts: list[RenderableType] = [facts(told), "", columns(("layer", "how many>"), rows)]
    return Group(*parts, *(["", *notes] if notes else []))
