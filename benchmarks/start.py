"""How long `import graphopt` and `graphopt --help` take beside `import onnx` and an empty interpreter.

All commands run in turn, in fresh processes, so that a busy machine slows all of them; the ratios are of medians. One
round before the measured ones fills the bytecode and disk caches.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Spread, run_process, save_record, spread

__all__ = ["COMMANDS", "main", "measure"]

CLI = "from graphopt.cli import main; main()"
COMMANDS: Mapping[str, list[str]] = {
    "python": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import onnx": [sys.executable, "-c", "import onnx"],
    "import onnx, onnxruntime": [sys.executable, "-c", "import onnx, onnxruntime"],
    "import graphopt": [sys.executable, "-c", "import graphopt"],
    "graphopt --help": [sys.executable, "-c", CLI, "--help"],
    "graphopt list passes": [sys.executable, "-c", CLI, "list", "passes"],
}


def measure(commands: Mapping[str, list[str]], *, repeats: int, limit_s: float = 60.0) -> dict[str, Spread | str]:
    """Return by name the wall seconds of each command over interleaved repeats, or why it has none."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    for _ in track(range(repeats + 1), "rounds", transient=True):
        for name, command in commands.items():
            if name in failed:
                continue
            start = time.perf_counter()
            code, text = run_process(command, limit_s)
            taken[name].append(time.perf_counter() - start)
            if code != 0:
                failed[name] = text.strip().splitlines()[-1][:200] if text.strip() else f"exit code {code}"
    return {name: failed.get(name) or spread(values[1:]) for name, values in taken.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and store the record; return 1 when a command failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/start.json)")
    options = parser.parse_args(argv)
    results = measure(COMMANDS, repeats=options.repeats)
    base = results["import onnx"]
    table = Table("command", "seconds", "x import onnx", title="start, fresh processes")
    ratios: dict[str, float] = {}
    for name, result in results.items():
        if isinstance(result, str) or isinstance(base, str):
            table.add_row(name, str(result), "")
            continue
        ratios[name] = result.median / base.median
        table.add_row(name, str(result), f"{ratios[name]:.2f}")
    console = Console()
    console.print(table)
    record = {"seconds": results, "times_import_onnx": ratios}
    path = save_record("start", record, settings={"repeats": options.repeats}, path=options.json)
    console.print(f"record: {path}")
    return int(any(isinstance(result, str) for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
