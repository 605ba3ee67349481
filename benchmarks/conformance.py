"""How many cases of the ONNX backend suite each tool leaves right, of those that ONNX Runtime runs correctly.

With `--rest` the cases are run that ONNX Runtime does not run correctly; `benchmarks.judge` says what is right there.
The cases run in a worker process per tool; when a tool takes the worker down or never ends, that case is counted as
crashed or timed out and a new worker goes on behind it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.judge import KINDS, check_case, check_rest
from benchmarks.measure import save_record
from benchmarks.tools import TOOLS
from benchmarks.workers import CASE_SECONDS, print_result, run_in_workers
from tests.onnx_suite import Case, load_cases, ort_correct_names

__all__ = ["main", "run_cases"]

DEFAULT_TOOLS = (
    "graphopt O2",
    "graphopt O3",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "onnxslim",
    "graphsurgeon",
    "onnxoptimizer",
)
Check = Callable[[Case, str, Path], tuple[str, str]]


def run_cases(
    tool: str, names: Sequence[str], *, rest: bool = False, limit_s: float = CASE_SECONDS
) -> dict[str, tuple[str, str]]:
    """Return kind and reason by case name, from worker processes that are replaced when a case takes one down."""
    arguments = ["--tools", tool, *(["--rest"] if rest else [])]
    return run_in_workers(tool, "benchmarks.conformance", arguments, names, limit_s=limit_s)


def _work(listed: Path, tool: str, check: Check) -> None:
    for module in TOOLS[tool].modules:
        importlib.import_module(module)
    cases = {case.name: case for case in load_cases()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in json.loads(listed.read_text(encoding="utf-8")):
            kind, reason = check(cases[name], tool, Path(scratch))
            print_result(name, kind, reason)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and what went wrong, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--tools", nargs="+", default=list(DEFAULT_TOOLS))
    parser.add_argument("--rest", action="store_true", help="the cases that ONNX Runtime does not run correctly")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/conformance.json)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker is not None:
        _work(options.worker, options.tools[0], check_rest if options.rest else check_case)
        return 0
    names = ort_correct_names()
    if options.rest:
        names = sorted({case.name for case in load_cases()} - set(names))
    console = Console()
    title = f"{len(names):,} cases that ONNX Runtime {'does not run' if options.rest else 'runs'} correctly"
    table = Table("tool", *KINDS, title=title)
    record: dict[str, object] = {}
    failures: list[str] = []
    for tool in options.tools:
        results = run_cases(tool, names, rest=options.rest)
        counts = Counter(kind for kind, _ in results.values())
        table.add_row(tool, *(f"{counts[kind]:,}" for kind in KINDS))
        wrong = {name: result for name, result in results.items() if result[0] != "right"}
        record[tool] = {"counts": {kind: counts[kind] for kind in KINDS}, "not_right": wrong}
        failures += [f"{tool}: {name}: {kind}: {reason}" for name, (kind, reason) in wrong.items()]
    for line in failures:
        if line.startswith("graphopt"):
            console.print(line, markup=False)
    console.print(table)
    name = "conformance_rest" if options.rest else "conformance"
    path = save_record(name, record, settings={"cases": len(names)}, path=options.json)
    console.print(f"record: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
