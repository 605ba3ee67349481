"""How long each tool takes from load to save as the graph grows: the chain, the wide graph, the nest, equal initializers.

Tools run one after the other on the same file, each in a child process with a time limit; turns are interleaved, so that
a busy machine slows all of them. A tool that ran out of time is not started again on a larger chain, and the table says
so. Imports are measured apart. Up to 10,000 nodes the numbers of each result are compared with the original's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import models
from benchmarks.measure import Outcome, run_tool, save_record, spread
from benchmarks.numbers import count_nodes, difference, draw_inputs, outputs
from benchmarks.tools import PEERS

__all__ = ["Measured", "main", "measure_model"]

SIZES = (1_000, 10_000, 50_000, 100_000)
CHECKED_NODES = 10_000
SLOW_SECONDS = 15.0
TOOLS = ("graphopt O2", *(tool for tool in PEERS if tool != "graphsurgeon"), "shape inference")


@dataclass(frozen=True, slots=True)
class Measured:
    """One tool on one model: every repeat, the nodes of its result, and how far its numbers are off (None: not run)."""

    model: str
    nodes: int
    tool: str
    outcomes: list[Outcome]
    nodes_after: int | None = None
    difference: float | None = None

    @property
    def status(self) -> str:
        """How the last repeat ended."""
        return self.outcomes[-1].status

    @property
    def seconds(self) -> float:
        """Median of the repeats."""
        return spread([outcome.seconds for outcome in self.outcomes]).median


def measure_model(
    name: str, source: Path, tools: Sequence[str], *, repeats: int, limit_s: float, folder: Path
) -> list[Measured]:
    """Return what each tool took on one model file, in interleaved repeats; a slow or failed run is not repeated."""
    nodes = count_nodes(source)
    taken: dict[str, list[Outcome]] = {tool: [] for tool in tools}
    turns = [tool for _ in range(repeats) for tool in tools]
    for tool in track(turns, f"{name}, {nodes:,} nodes", transient=True):
        last = taken[tool][-1] if taken[tool] else None
        if last is None or (last.status == "ok" and last.seconds < SLOW_SECONDS):
            taken[tool].append(run_tool(tool, source, _target(folder, tool), limit_s=limit_s))
    return [_finish(name, nodes, source, tool, outcomes, folder) for tool, outcomes in taken.items()]


def _target(folder: Path, tool: str) -> Path:
    return folder / f"{tool.replace(' ', '_')}.onnx"


def _finish(name: str, nodes: int, source: Path, tool: str, outcomes: list[Outcome], folder: Path) -> Measured:
    if outcomes[-1].status != "ok":
        return Measured(name, nodes, tool, outcomes)
    target = _target(folder, tool)
    after = count_nodes(target)
    off: float | None = None
    if nodes <= CHECKED_NODES:
        inputs = draw_inputs(source, dynamic=3)
        try:
            off = difference(outputs(target, inputs), outputs(source, inputs))
        except Exception:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
            off = float("inf")
    return Measured(name, nodes, tool, outcomes, after, off)


def _table(rows: Sequence[Measured]) -> Table:
    table = Table("tool", "seconds", "us a node", "x ORT", "nodes after", "numbers")
    table.title = f"{rows[0].model}: {rows[0].nodes:,} nodes, load to save"
    ort = {row.model: row.seconds for row in rows if row.tool == "onnxruntime" and row.status == "ok"}
    for row in rows:
        table.add_row(row.tool, *_cells(row, ort.get(row.model)))
    return table


def _cells(row: Measured, ort: float | None) -> list[str]:
    if row.status != "ok":
        return [row.status, "", "", "", row.outcomes[-1].reason[:60]]
    numbers = "" if row.difference is None else f"off by {row.difference:.1g}" if row.difference else "equal"
    return [
        str(spread([outcome.seconds for outcome in row.outcomes])),
        f"{1e6 * row.seconds / row.nodes:.1f}",
        f"{row.seconds / ort:.2f}" if ort else "",
        f"{row.nodes_after:,}",
        numbers,
    ]


def _slopes(rows: Sequence[Measured], small: int, large: int) -> dict[str, float]:
    """Return by tool the time per node on the chain of `large` nodes over that on the chain of `small` nodes."""
    times = {(row.tool, row.nodes): row.seconds for row in rows if row.model.startswith("chain") and row.status == "ok"}
    tools = [tool for tool, nodes in times if nodes == large and (tool, small) in times]
    return {tool: times[tool, large] / large / (times[tool, small] / small) for tool in tools}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and the slopes, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="nodes of the chains")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=200.0, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--chains-only", action="store_true", help="leave out wide, nest and equal initializers")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/growth.json)")
    options = parser.parse_args(argv)
    makers: dict[str, Callable[[], onnx.ModelProto]] = {f"chain_{n}": partial(models.chain, n) for n in options.sizes}
    if not options.chains_only:
        makers |= {"wide": models.wide, "nest": partial(models.nest, 30), "equal": models.equal_initializers}
    rows: list[Measured] = []
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in makers.items():
            source = Path(scratch) / f"{name}.onnx"
            onnx.save(make(), source)
            late = {row.tool for row in rows if row.status == "timeout" and name.startswith("chain")}
            tools = [tool for tool in options.tools if tool not in late]
            measured = measure_model(
                name, source, tools, repeats=options.repeats, limit_s=options.limit, folder=Path(scratch)
            )
            skipped = [Outcome(tool, "skipped", reason="ran out of time on a smaller chain") for tool in sorted(late)]
            measured += [Measured(name, measured[0].nodes, outcome.tool, [outcome]) for outcome in skipped]
            console.print(_table(measured))
            rows += measured
    slopes = _slopes(rows, 10_000, 100_000)
    for tool, slope in slopes.items():
        console.print(f"{tool}: time a node at 100,000 nodes is {slope:.2f} times that at 10,000")
    console.print(f"{sum(row.status == 'skipped' for row in rows)} runs skipped after a time limit")
    settings = {"sizes": options.sizes, "repeats": options.repeats, "limit_s": options.limit}
    record = {"runs": [asdict(row) for row in rows], "slope_100k_over_10k": slopes}
    console.print(f"record: {save_record('growth', record, settings=settings, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
