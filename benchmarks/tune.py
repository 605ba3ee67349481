"""What `graphopt tune` brings on real models beside the original with ONNX Runtime's defaults.

Each model of a folder is tuned for so many seconds of measuring, on inputs of a folder (NAME.npz; without them inputs are drawn). The
speed-up is that of the last trial, which measures what was found anew, in turns with the original; where nothing was faster it is 1.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import save_record
from graphopt import tune
from graphopt.errors import GraphoptError
from graphopt.report.tune_view import tune_dict

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Tune each model, print a table, store the record; return 1 when a model could not be tuned."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of .onnx files, or one file")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz")
    parser.add_argument("--seconds", type=float, default=60.0, help="measuring of a model (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="*", help="numbers of threads that may be used")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/tune.json)")
    options = parser.parse_args(argv)
    sources = sorted(options.models.glob("*.onnx")) if options.models.is_dir() else [options.models]
    found = [_tuned(source, options) for source in track(sources, "models", transient=True)]
    console = Console()
    console.print(_table(found))
    speeds = [float(str(row["speedup"])) for row in found if "speedup" in row]
    if speeds:
        console.print(f"geometric mean over {len(speeds)} models: {statistics.geometric_mean(speeds):.3f}")
    settings = {"seconds": options.seconds, "threads": options.threads}
    console.print(f"record: {save_record('tune', found, settings=settings, path=options.json)}")
    return int(len(speeds) < len(found))


def _tuned(source: Path, options: argparse.Namespace) -> dict[str, object]:
    inputs = None if options.inputs is None else options.inputs / f"{source.stem}.npz"
    start = time.perf_counter()
    try:
        tuned = tune(
            source,
            seconds=options.seconds,
            threads=options.threads,
            inputs=inputs if inputs is not None and inputs.exists() else None,
        )
    except GraphoptError as err:
        return {"model": source.stem, "reason": str(err), "seconds": round(time.perf_counter() - start, 3)}
    return {"model": source.stem} | tune_dict(tuned)


def _table(rows: Sequence[dict[str, object]]) -> Table:
    table = Table("model", "speed-up", "half of the rounds", "level", "without", "session", "s")
    for row in rows:
        if "speedup" not in row:
            table.add_row(str(row["model"]), "", "", str(row["reason"]), "", "", f"{row['seconds']:.0f}")
            continue
        measured = row["measured"]
        spread = f"{measured['low']:.2f} to {measured['high']:.2f}" if isinstance(measured, dict) else "nothing faster"
        session = ", ".join(f"{name}={value}" for name, value in _mapping(row["session"]).items())
        without = ", ".join(_sequence(row["disable"]))
        table.add_row(
            str(row["model"]), f"{row['speedup']:.2f}", spread, str(row["level"]), without, session, f"{row['seconds']:.0f}"
        )  # fmt: skip
    return table


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


if __name__ == "__main__":
    raise SystemExit(main())
