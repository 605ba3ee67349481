"""Engines lowered layer by layer beside those of NVIDIA's own ONNX parser: time, peak memory, size of the engine.

Each run is a child process of its own (`benchmarks.tensorrt_builders`): it reads the model's file and writes an engine. The seconds of
`lower` are from a legalized model to a network, those of `parse` from the file to a network, as the parser does all at once; `read` is what
graphopt does before: reading, optimizing (`--level`) and legalizing, without a check. The peak is the process's VmHWM.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.table import Table

from benchmarks import models
from benchmarks.measure import Spread, run_process, save_record, spread
from benchmarks.tensorrt_builders import MAKERS

__all__ = ["main"]

PHASES = ("import", "read", "lower", "parse", "build", "save")


def _open_dims(source: Path) -> list[str]:
    """Names of the open sizes of all inputs."""
    graph = onnx.load(source, load_external_data=False).graph
    given = {item.name for item in graph.initializer}
    dims = [dim.dim_param for info in graph.input if info.name not in given for dim in info.type.tensor_type.shape.dim]
    return sorted({name for name in dims if name})


def _in_child(maker: str, source: Path, asked: dict[str, object], limit_s: float) -> dict[str, Any]:
    """What one run came to, its reason under `failed` when it did not work."""
    with tempfile.TemporaryDirectory() as scratch:
        result, target = Path(scratch) / "result.json", Path(scratch) / "made.engine"
        asked = asked | {"maker": maker, "source": str(source), "target": str(target), "result": str(result)}
        code, text = run_process([sys.executable, "-m", "benchmarks.tensorrt_builders", json.dumps(asked)], limit_s)
        if code is None:
            return {"failed": f"not finished in {limit_s:g} s"}
        if not result.exists():
            lines = text.strip().splitlines()
            return {"failed": (lines[-1] if lines else f"exit code {code}")[:300]}
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Spread of seconds by phase and of the peak, over repeats that all worked."""
    failed = next((run["failed"] for run in runs if "failed" in run), None)
    if failed is not None:
        return {"failed": failed}
    phases = [phase for phase in PHASES if phase in runs[0]["seconds"]]
    return {
        "seconds": {phase: spread([run["seconds"][phase] for run in runs]) for phase in phases},
        "peak_bytes": spread([run["peak_bytes"] for run in runs]),
        "imports_bytes": spread([run["imports_bytes"] for run in runs]),
        "bytes": runs[0]["bytes"],
        "layers": runs[0]["layers"],
    }


def _ratios(found: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """What graphopt takes over what the parser takes, medians; empty where one of them failed."""
    if any(item is None or "failed" in item for item in (found.get("graphopt"), found.get("parser"))):
        return {}
    ours, theirs = found["graphopt"], found["parser"]
    above = [item["peak_bytes"].median - item["imports_bytes"].median for item in (ours, theirs)]
    return {
        "lower_over_parse": ours["seconds"]["lower"].median / theirs["seconds"]["parse"].median,
        "build": ours["seconds"]["build"].median / theirs["seconds"]["build"].median,
        "peak": ours["peak_bytes"].median / theirs["peak_bytes"].median,
        "peak_above_imports": above[0] / above[1],
        "engine_bytes": ours["bytes"] / theirs["bytes"],
    }


def _table(name: str, found: Mapping[str, dict[str, Any]]) -> Table:
    table = Table(
        "maker", *(f"{phase} s" for phase in PHASES), "peak MB", "imports MB", "engine MB", "layers", title=name
    )
    for maker, item in found.items():
        if "failed" in item:
            table.add_row(maker, item["failed"])
            continue
        times = [str(item["seconds"].get(phase, "")) for phase in PHASES]
        memory = [_megabytes(item[key]) for key in ("peak_bytes", "imports_bytes")]
        table.add_row(maker, *times, *memory, f"{item['bytes'] / 1e6:,.2f}", str(item["layers"]))
    for what, ratio in _ratios(found).items():
        table.add_row(f"x {what.replace('_', ' ')}", f"{ratio:.2f}")
    return table


def _megabytes(found: Spread) -> str:
    return f"{found.median / 1e6:,.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table for each model, store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_build", description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", help="files, or folders of .onnx files")
    parser.add_argument("--makers", nargs="+", choices=list(MAKERS), default=list(MAKERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--capability", default="86")
    parser.add_argument("--level", default="O2", help="pipeline of graphopt's way (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="for sizes that a model leaves open")
    parser.add_argument("--megabytes", type=int, default=200, help="weights of the generated model; 0 leaves it out")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/tensorrt_build.json)")
    options = parser.parse_args(argv)
    console = Console(width=140)
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        sources: list[Path] = []
        for path in options.models:
            sources += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if options.megabytes:
            sources.append(Path(scratch) / f"heavy_{options.megabytes}mb.onnx")
            onnx.save(models.heavy(options.megabytes), sources[-1])
        for source in sources:
            asked = {"capability": options.capability, "level": options.level, "batch": options.batch}
            runs: dict[str, list[dict[str, Any]]] = {maker: [] for maker in options.makers}
            for turn in range(options.repeats):  # interleaved, and the other way round every second time
                for maker in options.makers[:: -1 if turn % 2 else 1]:
                    runs[maker].append(_in_child(maker, source, asked | {"dims": _open_dims(source)}, options.limit))
            found = {maker: _summary(items) for maker, items in runs.items()}
            results[source.stem] = {"makers": found, "graphopt_over_parser": _ratios(found)}
            console.print(_table(source.stem, found))
    settings = {"repeats": options.repeats, "capability": options.capability, "level": options.level}
    record = {"library": _library(), "models": results}
    console.print(f"record: {save_record('tensorrt_build', record, settings=settings, path=options.json)}")
    return 0


def _library() -> str:
    from graphopt.backends.tensorrt.api import load  # only here: children measure its import

    api = load()
    return f"{api.name} {api.version}"


if __name__ == "__main__":
    raise SystemExit(main())
