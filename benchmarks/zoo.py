"""What each level does to real models: nodes, bytes, time, numbers and latency, the peers' node counts beside.

A folder of models and a folder of inputs (NAME.npz, and NAME.alt.npz with other dynamic sizes; without them inputs are
drawn). Numbers are compared with the original's in ONNX Runtime with its optimizer off. Latencies are ONNX Runtime's
with everything on, two threads, in interleaved turns; the original runs twice in them, which shows the noise. Optimizing
happens in child processes with a time limit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Spread, run_tool, save_record, spread
from benchmarks.numbers import count_nodes, difference, draw_inputs, latencies, outputs
from benchmarks.tools import PEERS

__all__ = ["Row", "main", "measure_model"]

Array = npt.NDArray[Any]
LEVELS = ("graphopt O1", "graphopt O2", "graphopt O3")
TOLERANCE, GROWTH = 1e-3, 1.01
TWIN = "original again"
#: Peers whose results are models for any runtime.
SIMPLIFIERS = ("onnxslim", "onnxsim", "onnxscript", "onnxoptimizer")


@dataclass(slots=True)
class Row:
    """One tool on one model; `differences` are relative to the largest magnitude of each output, by input file."""

    model: str
    tool: str
    status: str
    nodes: int = 0
    bytes: int = 0
    seconds: float = 0.0
    differences: dict[str, float] = field(default_factory=dict)
    latency_ms: Spread | None = None
    speed: float | None = None
    """Latency of the original over that of this model: the median over the turns, a turn holding both."""
    speed_at_best: float | None = None
    """The same of the shortest turns of each, which a busy machine disturbs least."""
    reason: str = ""

    def is_right(self) -> bool:
        """Tell whether the model was made, runs, and gives the original's numbers."""
        return self.status == "ok" and all(value <= TOLERANCE for value in self.differences.values())


def measure_model(
    source: Path,
    inputs: Mapping[str, Mapping[str, Array]],
    tools: Sequence[str],
    peers: Sequence[str],
    *,
    folder: Path,
    seconds: float,
    limit_s: float,
) -> list[Row]:
    """Return a row of the original, one of each tool with numbers and latency, and one of each peer with its nodes.

    Args:
        source: the model.
        inputs: one set of inputs or more by name; latency is taken on the first.
        tools: keys of `benchmarks.tools.TOOLS` that are checked in full.
        peers: keys whose node counts stand beside.
        folder: where optimized models may lie.
        seconds: length of the latency measurement; 0 leaves it out.
        limit_s: seconds one tool may take.
    """
    rows = [Row(source.stem, "original", "ok", count_nodes(source), source.stat().st_size)]
    expected = {name: outputs(source, feeds) for name, feeds in inputs.items()}
    files: dict[str, Path | bytes] = {"original": source, TWIN: source}
    for tool in (*tools, *peers):
        target = folder / f"{tool.replace(' ', '_')}.onnx"
        target.unlink(missing_ok=True)
        outcome = run_tool(tool, source, target, limit_s=limit_s)
        row = Row(source.stem, tool, outcome.status, seconds=outcome.seconds, reason=outcome.reason)
        rows.append(row)
        if outcome.status != "ok":
            continue
        row.nodes, row.bytes = count_nodes(target), target.stat().st_size
        try:
            row.differences = {
                name: difference(outputs(target, feeds), expected[name]) for name, feeds in inputs.items()
            }
        except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
            row.status, row.reason = "invalid", " ".join(str(err).split())[:300]
            continue
        if tool in tools:
            files[tool] = target
    if seconds:
        _add_latencies(rows, files, next(iter(inputs.values())), seconds)
    return rows


def _add_latencies(
    rows: list[Row], files: Mapping[str, Path | bytes], feeds: Mapping[str, Array], seconds: float
) -> None:
    taken = latencies(files, feeds, seconds=seconds)
    rows.insert(1, Row(rows[0].model, TWIN, "ok", rows[0].nodes, rows[0].bytes))
    for row in rows:
        if row.tool in taken:
            row.latency_ms = spread(taken[row.tool])
            turns = zip(taken["original"], taken[row.tool], strict=True)
            row.speed = statistics.median(original / mine for original, mine in turns)
            row.speed_at_best = min(taken["original"]) / min(taken[row.tool])


def read_inputs(model: Path, folder: Path | None) -> dict[str, dict[str, Array]]:
    """Return the inputs of NAME.npz and NAME.alt.npz by the ending, or drawn ones when there is no file."""
    found: dict[str, dict[str, Array]] = {}
    for ending in ("", ".alt"):
        path = None if folder is None else folder / f"{model.stem}{ending}.npz"
        if path is not None and path.exists():
            with np.load(path) as arrays:
                found[ending or "inputs"] = dict(arrays)
    return found or {"drawn": draw_inputs(model)}


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "tool", "nodes", "bytes", "seconds", "difference", "latency ms", "speed", "at best", "", title=rows[0].model
    )
    for row in rows:
        notes = [] if row.is_right() else ["WRONG" if row.status == "ok" else f"{row.status} {row.reason[:60]}"]
        if row.bytes > GROWTH * rows[0].bytes and row.tool in LEVELS:
            notes.append("LARGER")
        off = ", ".join(f"{value:.1g}" if value else "0" for value in row.differences.values())
        speeds = ["" if value is None else f"{value:.2f}" for value in (row.speed, row.speed_at_best)]
        cells = (f"{row.nodes:,}", f"{row.bytes:,}", f"{row.seconds:.2f}", off, str(row.latency_ms or ""))
        table.add_row(row.tool, *cells, *speeds, " ".join(notes))
    return table


def _summary(rows: Sequence[Row]) -> Table:
    table = Table("tool", "right", "of", "nodes", "larger by > 1 %", "seconds", "speed, geometric mean", "slowest")
    before = {row.model: row for row in rows if row.tool == "original"}
    for tool in dict.fromkeys(row.tool for row in rows):
        mine = [row for row in rows if row.tool == tool]
        right = [row for row in mine if row.is_right()]
        larger = sum(row.bytes > GROWTH * before[row.model].bytes for row in right)
        speeds = {row.model: row.speed for row in right if row.speed is not None}
        mean = f"{statistics.geometric_mean(speeds.values()):.3f}" if speeds else ""
        slowest = min(speeds, key=lambda name: speeds[name]) if speeds else ""
        nodes = sum(row.nodes if row.is_right() else before[row.model].nodes for row in mine)
        cells = (f"{nodes:,}", str(larger), f"{sum(row.seconds for row in mine):.1f}", mean)
        table.add_row(
            tool, str(len(right)), str(len(mine)), *cells, f"{slowest} {speeds[slowest]:.2f}" if slowest else ""
        )
    return table


def _beside_peers(rows: Sequence[Row]) -> Table:
    """Nodes and seconds at O2 beside the peer that leaves the fewest nodes, and beside the quickest one."""
    table = Table(
        "model",
        "nodes",
        "O2",
        "fewest of a peer",
        "",
        "O2 s",
        "quickest peer, s",
        "",
        title="graphopt O2 beside its peers",
    )
    for model in dict.fromkeys(row.model for row in rows):
        found = {row.tool: row for row in rows if row.model == model and row.is_right()}
        ours, peers = found.get("graphopt O2"), [found[name] for name in SIMPLIFIERS if name in found]
        if ours is None or not peers:
            continue
        few, quick = min(peers, key=lambda row: row.nodes), min(peers, key=lambda row: row.seconds)
        nodes = (str(found["original"].nodes), str(ours.nodes), f"{few.nodes} {few.tool}")
        more = f"{ours.nodes - few.nodes} more" if ours.nodes > few.nodes else ""
        slower = f"{ours.seconds / quick.seconds:.1f} times" if ours.seconds > quick.seconds else ""
        table.add_row(model, *nodes, more, f"{ours.seconds:.2f}", f"{quick.seconds:.2f} {quick.tool}", slower)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table per model and a summary, store the record; return 1 when a checked tool went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of .onnx files, or one file")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz and NAME.alt.npz")
    parser.add_argument("--tools", nargs="*", default=list(LEVELS), help="checked in full")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), help="node counts and numbers only")
    parser.add_argument("--seconds", type=float, default=3.0, help="latency measurement of a model; 0 leaves it out")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds one tool may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/zoo.json)")
    options = parser.parse_args(argv)
    sources = sorted(options.models.glob("*.onnx")) if options.models.is_dir() else [options.models]
    console, rows = Console(), list[Row]()
    for source in track(sources, "models", transient=True):
        with tempfile.TemporaryDirectory() as scratch:
            measured = measure_model(
                source, read_inputs(source, options.inputs), options.tools, options.peers,
                folder=Path(scratch), seconds=options.seconds, limit_s=options.limit,
            )  # fmt: skip
        console.print(_table(measured))
        rows += measured
    console.print(_summary(rows))
    console.print(_beside_peers(rows))
    settings = {"seconds": options.seconds, "limit_s": options.limit, "threads": 2, "tolerance": TOLERANCE}
    path = save_record("zoo", [asdict(row) for row in rows], settings=settings, path=options.json)
    console.print(f"record: {path}")
    return int(any(row.tool in options.tools and not row.is_right() for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
