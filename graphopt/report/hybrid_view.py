"""A model that was built in parts, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from rich.console import Group, RenderableType

from graphopt.report.layout import columns, facts
from graphopt.report.units import count_text, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.hybrid import Hybrid

__all__ = ["hybrid_dict", "hybrid_view"]


def hybrid_dict(built: Hybrid) -> dict[str, object]:
    """What was built as plain values; times in seconds."""
    manifest: dict[str, object] = msgspec.to_builtins(built.manifest)
    return manifest | {
        "folder": str(built.folder),
        "check": None if built.verdict is None else built.verdict.to_json(),
        "checked_in": built.checked_in,
        "seconds": {name: round(value, 4) for name, value in built.seconds.items()},
        "notes": [*built.report.notes, *built.notes],
    }


def hybrid_view(built: Hybrid) -> RenderableType:
    """What was built, part by part, and why nodes are left to ONNX Runtime."""
    manifest = built.manifest
    engines = sum(bool(part.built) for part in manifest.parts)
    told = {
        "target": f"{manifest.target}, {', '.join(f'{name} {number}' for name, number in manifest.versions.items())}",
        "precision": manifest.precision,
        "parts": f"{len(manifest.parts):,}, {engines:,} of them engines that do {manifest.share:.1%} of the operations",
        "check": _check(built),
        "time": ", ".join(f"{name} {seconds_text(value)}" for name, value in built.seconds.items()),
    }
    rows = [
        (
            part.file,
            part.backend,
            f"{part.nodes:,}",
            count_text(part.flops),
            f"{len(part.inputs):,}",
            f"{len(part.outputs):,}",
        )
        for part in manifest.parts
    ]
    parts: list[RenderableType] = [
        facts(told),
        "",
        columns(("part", "runs in", "nodes>", "FLOPs>", "inputs>", "outputs>"), rows),
    ]
    reasons = Counter((node.op, reason) for node, reason in built.cut.partition.reasons.items())
    if reasons:
        lines = [(op, f"{count:,}", reason) for (op, reason), count in reasons.most_common()]
        parts += ["", columns(("left to ONNX Runtime", "nodes>", "why"), lines)]
    notes = [*built.report.notes, *built.notes]
    return Group(*parts, *(["", *notes] if notes else []))


def _check(built: Hybrid) -> str:
    if built.verdict is None:
        return "not asked for"
    where = "in ONNX Runtime, each as ONNX" if built.checked_in == "onnxruntime" else "where they run"
    return f"{built.verdict.status}, of the parts one after the other {where}"
