"""How fast models run in ONNX Runtime after each tool, beside the original: interleaved, in both orders, one process a model.

For each model: every tool makes its result in a child process, the result must give the original's numbers, and then one more child
process runs all of them in ONNX Runtime with everything on. A round runs each once in a random order and once in the reverse of it; what a
round took, of the original by that of a tool, is one sample of the tool's speed. The original runs twice in each round, as a tool of its
own: its speed says how much is noise. Tables and plot show medians with quartiles.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.latency_plot import plot
from benchmarks.measure import run_process, run_tool, save_record
from benchmarks.numbers import count_nodes, difference, outputs, session
from benchmarks.zoo import read_inputs

__all__ = ["Speed", "main", "measure_model", "measured_in_child", "rounds", "summary"]

ORIGINAL, TWIN = "original", "original again"
TOOLS = ("graphopt O2", "graphopt O3", "onnxruntime", "onnxscript", "onnxslim", "onnxsim", "onnxoptimizer")
TOLERANCE = 1e-3
TURN_SECONDS = 0.01
LEAST_ROUNDS = 5
SCRATCH_SECONDS = 120.0


@dataclass(slots=True)
class Speed:
    """How fast one tool's result of one model is: latency of the original over its own, with quartiles over the rounds."""

    model: str
    tool: str
    threads: int
    status: str
    nodes: int = 0
    milliseconds: float = 0.0
    speed: float | None = None
    quartiles: tuple[float, float] | None = None
    speed_at_best: float | None = None
    rounds: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def rounds(
    files: Mapping[str, str], feeds: Mapping[str, Any], *, threads: int, seconds: float, seed: int = 0
) -> dict[str, list[float]]:
    """Return milliseconds of a run by tool and round, each round in a random order and in its reverse.

    Args:
        files: models by tool.
        feeds: inputs of all of them.
        threads: of each session.
        seconds: for all rounds together; five rounds at least.
        seed: of the orders.
    """
    sessions = {name: session(Path(path), optimize=True, threads=threads) for name, path in files.items()}
    longest = 0.0
    for each in sessions.values():
        for _ in range(2):
            start = time.perf_counter()
            each.run(None, dict(feeds))
            last = time.perf_counter() - start
        longest = max(longest, last)
    repeats = max(1, int(TURN_SECONDS / max(longest, 1e-6)))
    orders, taken = random.Random(seed), {name: list[float]() for name in sessions}
    names, begin = list(sessions), time.perf_counter()
    while len(taken[names[0]]) < LEAST_ROUNDS or time.perf_counter() - begin < seconds:
        orders.shuffle(names)
        spent = dict.fromkeys(names, 0.0)
        for name in (*names, *reversed(names)):
            run, given = sessions[name].run, dict(feeds)
            start = time.perf_counter()
            for _ in range(repeats):
                run(None, given)
            spent[name] += time.perf_counter() - start
        for name, value in spent.items():
            taken[name].append(value / (2 * repeats) * 1e3)
    return taken


def measure_model(
    source: Path, inputs: Path | None, tools: Sequence[str], threads: Sequence[int], *, seconds: float, limit_s: float
) -> list[Speed]:
    """Return a row of the original, one of its twin and one of each tool, for each number of threads.

    Args:
        source: the model.
        inputs: folder of NAME.npz and NAME.alt.npz, drawn without one.
        tools: keys of `benchmarks.tools.TOOLS`.
        threads: numbers of threads.
        seconds: for the rounds of one number of threads.
        limit_s: seconds that one tool may take.
    """
    feeds = read_inputs(source, inputs)
    expected = {name: outputs(source, given) for name, given in feeds.items()}
    rows: dict[str, Speed] = {name: Speed(source.stem, name, 0, "ok", count_nodes(source)) for name in (ORIGINAL, TWIN)}
    files = {ORIGINAL: str(source), TWIN: str(source)}
    with tempfile.TemporaryDirectory() as scratch:
        for tool in tools:
            target = Path(scratch) / f"{tool.replace(' ', '_')}.onnx"
            outcome = run_tool(tool, source, target, limit_s=limit_s)
            row = rows[tool] = Speed(source.stem, tool, 0, outcome.status, reason=outcome.reason)
            if outcome.status != "ok":
                continue
            try:
                row.nodes = count_nodes(target)
                row.differences = {
                    name: difference(outputs(target, given), expected[name]) for name, given in feeds.items()
                }
            except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
                row.status, row.reason = "invalid", " ".join(str(err).split())[:300]
                continue
            if max(row.differences.values()) > TOLERANCE:
                row.status = "wrong"
                continue
            files[tool] = str(target)
        found: list[Speed] = []
        for count in threads:
            taken = measured_in_child(Path(scratch), files, next(iter(feeds.values())), count, seconds)
            for name, row in rows.items():
                mine = Speed(**{**asdict(row), "threads": count})
                if isinstance(taken, str):
                    mine.status, mine.reason = ("failed", taken) if mine.status == "ok" else (mine.status, mine.reason)
                elif name in taken:
                    _fill(mine, taken[ORIGINAL], taken[name])
                found.append(mine)
    return found


def measured_in_child(
    scratch: Path, files: Mapping[str, str], feeds: Mapping[str, Any], threads: int, seconds: float
) -> dict[str, list[float]] | str:
    """Return samples by tool from a process of their own, or why there are none; see :func:`rounds`."""
    arrays: dict[str, Any] = dict(feeds)
    np.savez(scratch / "feeds.npz", **arrays)
    result = scratch / f"result{threads}.json"
    task = {"files": dict(files), "feeds": str(scratch / "feeds.npz"), "threads": threads, "seconds": seconds}
    (scratch / "task.json").write_text(json.dumps(task), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.latency", "--child", str(scratch / "task.json"), str(result)]
    code, text = run_process(command, 10 * seconds + SCRATCH_SECONDS)
    if not result.exists():
        return (
            "not finished in time" if code is None else (text.strip().splitlines() or [f"exit code {code}"])[-1][:300]
        )
    found: dict[str, list[float]] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _child(task: Path, result: Path) -> int:
    stated = json.loads(task.read_text(encoding="utf-8"))
    with np.load(stated["feeds"]) as arrays:
        feeds = dict(arrays)
    taken = rounds(stated["files"], feeds, threads=stated["threads"], seconds=stated["seconds"])
    result.write_text(json.dumps(taken), encoding="utf-8")
    return 0


def _fill(row: Speed, original: Sequence[float], mine: Sequence[float]) -> None:
    ratios = [before / after for before, after in zip(original, mine, strict=True)]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    row.milliseconds, row.rounds = statistics.median(mine), len(mine)
    row.speed, row.quartiles = float(middle), (float(low), float(high))
    row.speed_at_best = min(original) / min(mine)


def summary(rows: Sequence[Speed]) -> dict[str, dict[str, float]]:
    """Return by tool: geometric mean of its speeds, of those at best, of the slowest model, and how many models.

    A tool that has no right result of a model keeps the original, which has a speed of 1.
    """
    models = {(row.model, row.threads) for row in rows}
    found: dict[str, dict[str, float]] = {}
    for tool in dict.fromkeys(row.tool for row in rows if row.tool != ORIGINAL):
        mine = {(row.model, row.threads): row for row in rows if row.tool == tool and row.speed is not None}
        speeds = [mine[key].speed or 1.0 if key in mine else 1.0 for key in models]
        best = [mine[key].speed_at_best or 1.0 if key in mine else 1.0 for key in models]
        found[tool] = {
            "geometric_mean": statistics.geometric_mean(speeds),
            "geometric_mean_at_best": statistics.geometric_mean(best),
            "slowest": min(speeds),
            "right": len(mine),
            "of": len(models),
        }
    return found


def _table(rows: Sequence[Speed], threads: int) -> Table:
    tools = list(dict.fromkeys(row.tool for row in rows if row.tool != ORIGINAL))
    table = Table("model", "ms", *tools, title=f"speed, {threads} thread{'s' * (threads > 1)}")
    mine = {(row.model, row.tool): row for row in rows if row.threads == threads}
    for model in dict.fromkeys(row.model for row in rows):
        cells = []
        for tool in tools:
            row = mine[model, tool]
            low, high = row.quartiles or (0.0, 0.0)
            cells.append(f"{row.speed:.2f} ({low:.2f}-{high:.2f})" if row.speed is not None else row.status)
        table.add_row(model, f"{mine[model, ORIGINAL].milliseconds:.2f}", *cells)
    means = summary([row for row in rows if row.threads == threads])
    table.add_section()
    table.add_row("geometric mean", "", *(f"{means[tool]['geometric_mean']:.3f}" for tool in tools))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables, store record and plot; return 1 when a result of graphopt is wrong or none."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", help="folders of .onnx files, or files")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz and NAME.alt.npz; drawn without it")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), help="default: graphopt O2 and O3, and the peers")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seconds-per-model", type=float, default=8.0, help="for all rounds of a model (default: 8)")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds one tool may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/latency.json)")
    parser.add_argument("--plot", type=Path, help="where an SVG goes (default: beside the record)")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return _child(*options.child)
    sources = [path for item in options.models for path in (sorted(item.glob("*.onnx")) if item.is_dir() else [item])]
    if not sources:
        parser.error("no models: name a folder of .onnx files, or files")
    console, rows = Console(width=None if sys.stdout.isatty() else 200), list[Speed]()
    for source in track(sources, "models", transient=True):
        seconds = options.seconds_per_model / max(1, len(options.threads))
        try:
            rows += measure_model(
                source, options.inputs, options.tools, options.threads, seconds=seconds, limit_s=options.limit
            )
        except Exception as err:  # noqa: BLE001  the original does not run: nothing to compare with
            console.print(f"{source.name}: left out, it does not run: {' '.join(str(err).split())[:200]}")
            continue
        done = [row for row in rows if row.model == source.stem and row.speed is not None and row.tool != ORIGINAL]
        console.print(f"{source.stem}: {', '.join(f'{row.tool} {row.speed:.2f}' for row in done)}", soft_wrap=True)
    for count in options.threads:
        console.print(_table(rows, count))
    settings = {"seconds_per_model": options.seconds_per_model, "threads": options.threads, "tolerance": TOLERANCE}
    record = {"summary": summary(rows), "rows": [asdict(row) for row in rows]}
    path = save_record("latency", record, settings=settings, path=options.json)
    picture = options.plot or path.with_suffix(".svg")
    picture.write_text(plot([asdict(row) for row in rows]), encoding="utf-8")
    console.print(f"record: {path}, plot: {picture}")
    return int(any(row.tool.startswith("graphopt") and row.speed is None for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
