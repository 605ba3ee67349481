"""A model that was built in parts, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from rich.console import Group, RenderableType

from graphopt.report.layout import columns, facts
from graphopt.report.units import count_text, seconds_text

if TYPE_CHECKING:
    from graphopt.compiler.hybrid import Hybrid
    from graphopt.runtime.hybrid.manifest import HybridManifest

__all__ = ["hybrid_dict", "hybrid_view", "manifest_view"]


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
    done = {
        "check": _check(built),
        "time": ", ".join(f"{name} {seconds_text(value)}" for name, value in built.seconds.items()),
    }
    parts: list[RenderableType] = [manifest_view(built.manifest, done)]
    reasons = Counter((node.op, reason) for node, reason in built.cut.partition.reasons.items())
    if reasons:
        lines = [(op, f"{count:,}", reason) for (op, reason), count in reasons.most_common()]
        parts += ["", columns(("left to ONNX Runtime", "nodes>", "why"), lines)]
    notes = [*built.report.notes, *built.notes]
    return Group(*parts, *(["", *notes] if notes else []))


def manifest_view(manifest: HybridManifest, done: Mapping[str, str] | None = None) -> RenderableType:
    """What a folder says of itself.

    Args:
        manifest: of the folder.
        done: what more is known, by what it is.
    """
    mine = sum(part.backend != "onnxruntime" for part in manifest.parts)
    told = {
        "model": manifest.source or "in memory",
        "made with": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        "precision": manifest.precision,
        "parts": f"{len(manifest.parts):,}, {mine:,} of them for {manifest.target}, which do {manifest.share:.1%} of the operations",
        "inputs": ", ".join(f"{name}: {kind}" for name, kind in manifest.inputs.items()),
        "outputs": ", ".join(f"{name}: {kind}" for name, kind in manifest.outputs.items()),
        **(done or {}),
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
    return Group(facts(told), "", columns(("part", "runs in", "nodes>", "FLOPs>", "inputs>", "outputs>"), rows))


def _check(built: Hybrid) -> str:
    if built.verdict is None:
        return "not asked for"
    where = "in ONNX Runtime, each as ONNX" if built.checked_in == "onnxruntime" else "where they run"
    return f"{built.verdict.status}, of the parts one after the other {where}"
