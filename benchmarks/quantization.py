"""How good and how fast models are after each quantizer, beside float: accuracy, output SQNR, latency, size, time and memory, in one run.

A case is a folder as `benchmarks.quantizers` has it; `benchmarks.quantization_cases` makes some. Each quantizer runs in a child process.
Results are judged on test samples against the float model in ONNX Runtime, everything on; latencies are taken of all results of a case in
one more process, in turns, in a random order and its reverse. A speed is the latency of the float model over that of a result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.latency import measured_in_child
from benchmarks.measure import run_process, save_record
from benchmarks.numbers import session
from benchmarks.quantizers import QUANTIZERS, Array, batches, read_arrays

__all__ = ["Row", "main", "measure_case", "summary"]

FLOAT, TWIN = "float", "float again"
LIMIT_SECONDS = 900.0


@dataclass(slots=True)
class Row:
    """What one quantizer made of one case.

    Attributes:
        accuracy: share of test samples of the right class, where there are labels.
        agreement: share of test samples of the class that the float model gives.
        sqnr: of the first output, in dB, over all test samples.
        speed: latency of the float model over that of the result; low and high are its quartiles over the rounds.
    """

    case: str
    tool: str
    status: str
    seconds: float = 0.0
    peak_bytes: int = 0
    bytes: int = 0
    accuracy: float | None = None
    agreement: float | None = None
    sqnr: float | None = None
    milliseconds: float | None = None
    speed: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def measure_case(
    case: Path,
    tools: Sequence[str],
    *,
    threads: int,
    seconds: float,
    limit_s: float,
    pythons: Mapping[str, str] | None = None,
) -> list[Row]:
    """Return a row of the float model, one of its twin and one of each quantizer.

    Args:
        case: the folder.
        tools: keys of `benchmarks.quantizers.QUANTIZERS`.
        threads: of the sessions that are timed.
        seconds: for all rounds.
        limit_s: seconds that one quantizer may take.
        pythons: interpreters of quantizers that are installed elsewhere.
    """
    stated = json.loads((case / "case.json").read_text(encoding="utf-8"))
    test = read_arrays(case / "test.npz")
    labels = read_arrays(case / "labels.npz")["labels"] if (case / "labels.npz").exists() else None
    model = case / "model.onnx"
    expected = _outputs(model, test, stated["batch"])
    files = {FLOAT: str(model), TWIN: str(model)}
    rows = {name: Row(case.name, name, "ok") for name in files}
    with tempfile.TemporaryDirectory() as scratch:
        for tool in tools:
            target, result = Path(scratch) / str(len(rows)) / "made.onnx", Path(scratch) / "result.json"
            target.parent.mkdir()
            result.unlink(missing_ok=True)
            python = (pythons or {}).get(tool, sys.executable)
            command = [python, "-m", "benchmarks.quantizers", tool, str(case), str(target), str(result)]
            code, text = run_process(command, limit_s)
            row = rows[tool] = Row(case.name, tool, "timeout" if code is None else "crash", reason=text.strip()[-300:])
            if result.exists():
                found = json.loads(result.read_text(encoding="utf-8"))
                row.status, row.reason = found["status"], found["reason"]
                row.seconds, row.peak_bytes = found["seconds"], found["peak_bytes"]
            if row.status == "ok":
                files[tool] = str(target)
        for name, path in list(files.items()):
            try:
                _judge(rows[name], Path(path), test, expected, labels, stated["batch"])
            except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
                rows[name].status, rows[name].reason = "invalid", " ".join(str(err).split())[:300]
                del files[name]
        feeds = next(batches(test, stated.get("timed_batch", 1)))
        taken = measured_in_child(Path(scratch), files, feeds, threads, seconds)
    for name, row in rows.items():
        if isinstance(taken, str):
            row.reason = row.reason or taken
        elif name in taken:
            ratios = [before / after for before, after in zip(taken[FLOAT], taken[name], strict=True)]
            row.milliseconds = statistics.median(taken[name])
            row.low, row.speed, row.high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
    return list(rows.values())


def _outputs(model: Path, arrays: Mapping[str, Array], size: int) -> Array:
    """The first output for all samples."""
    run = session(model, optimize=True)
    return np.concatenate([np.asarray(run.run(None, feeds)[0], np.float64) for feeds in batches(arrays, size)])


def _judge(row: Row, path: Path, test: Mapping[str, Array], expected: Array, labels: Array | None, size: int) -> None:
    found = _outputs(path, test, size)
    noise = float(np.square(found - expected).sum())
    row.sqnr = 10 * float(np.log10(np.square(expected).sum() / noise)) if noise else float("inf")
    row.bytes = sum(file.stat().st_size for file in _files(path))
    if found.ndim >= 2:
        row.agreement = float((found.argmax(-1) == expected.argmax(-1)).mean())
    if labels is not None:
        row.accuracy = float((found.argmax(-1) == labels[: len(found)]).mean())


def _files(path: Path) -> list[Path]:
    """A model with what a quantizer put beside it: weights may be in a file of their own."""
    return list(path.parent.iterdir()) if path.name == "made.onnx" else [path]


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return by tool: geometric mean of speeds, the slowest, the lowest SQNR, and how many cases it did.

    A case that a tool does not do keeps the float model, which has a speed of 1.
    """
    cases = {row.case for row in rows}
    found: dict[str, dict[str, float]] = {}
    for tool in dict.fromkeys(row.tool for row in rows if row.tool != FLOAT):
        mine = [row for row in rows if row.tool == tool and row.speed is not None]
        speeds = [row.speed or 1.0 for row in mine] + [1.0] * (len(cases) - len(mine))
        found[tool] = {
            "geometric_mean": statistics.geometric_mean(speeds),
            "slowest": min(speeds),
            "lowest_sqnr": min((row.sqnr for row in mine if row.sqnr is not None), default=float("nan")),
            "done": len(mine),
            "of": len(cases),
        }
    return found


def _table(rows: Sequence[Row]) -> Table:
    table = Table("case", "tool", "speed", "ms", "SQNR, dB", "agreement", "accuracy", "MB", "seconds", "peak MB")
    last = ""
    for row in rows:
        if row.case != last:
            table.add_section()
        speed = f"{row.speed:.2f} ({row.low:.2f}-{row.high:.2f})" if row.speed is not None else row.status
        table.add_row(
            row.case if row.case != last else "",
            row.tool,
            speed,
            _figure(row.milliseconds, "{:.2f}"),
            _figure(row.sqnr, "{:.1f}"),
            _figure(row.agreement, "{:.1%}"),
            _figure(row.accuracy, "{:.2%}"),
            f"{row.bytes / 1e6:.2f}" if row.bytes else "",
            f"{row.seconds:.1f}" if row.seconds else "",
            f"{row.peak_bytes / 1e6:.0f}" if row.peak_bytes else "",
        )
        last = row.case
    return table


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization", description=__doc__)
    parser.add_argument("cases", type=Path, nargs="+", help="folders of cases, or folders of such folders")
    parser.add_argument("--tools", nargs="*", default=list(QUANTIZERS), help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds-per-case", type=float, default=10.0)
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds one quantizer may take")
    parser.add_argument(
        "--python",
        nargs="*",
        default=[],
        metavar="TOOL=PATH",
        help="interpreter of a quantizer that is installed elsewhere",
    )
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/quantization.json)")
    options = parser.parse_args(argv)
    cases = [
        path.parent for item in options.cases for path in sorted([*item.glob("case.json"), *item.glob("*/case.json")])
    ]
    if not cases:
        parser.error("no cases: make some with python -m benchmarks.quantization_cases")
    console, rows = Console(width=None if sys.stdout.isatty() else 200), list[Row]()
    for case in track(cases, "cases", transient=True):
        made = measure_case(
            case,
            options.tools,
            threads=options.threads,
            seconds=options.seconds_per_case,
            limit_s=options.limit,
            pythons=dict(item.split("=", 1) for item in options.python),
        )
        console.print(_table(made))
        rows += made
    for tool, item in summary(rows).items():
        console.print(f"{tool}: " + ", ".join(f"{name} {value:.3g}" for name, value in item.items()))
    settings = {"seconds_per_case": options.seconds_per_case, "threads": options.threads, "limit_s": options.limit}
    record = {"summary": summary(rows), "rows": [asdict(row) for row in rows]}
    console.print(f"record: {save_record('quantization', record, settings=settings, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
