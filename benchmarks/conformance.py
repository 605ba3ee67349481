"""How many cases of the ONNX backend suite each tool leaves right, of those that ONNX Runtime runs correctly.

A tool's model is right when it has the inputs and outputs of the original (names, order, types, known dimensions), ONNX
Runtime runs it, and the outputs are the expected ones within the case's tolerance. The cases run in a worker process per
tool; when a tool takes the worker down or never ends, that case is counted as crashed or timed out and a new worker goes
on behind it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue

import onnx
from onnx import ModelProto, TypeProto
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.measure import ROOT, save_record
from benchmarks.tools import TOOLS
from tests.onnx_suite import Case, load_cases, mismatch, ort_correct_names, run_with_ort

__all__ = ["check_case", "interface_change", "main", "run_cases"]

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
KINDS = ("right", "exception", "interface", "invalid", "wrong", "crash", "timeout")
CASE_SECONDS = 60.0


def check_case(case: Case, tool: str, folder: Path) -> tuple[str, str]:
    """Return one of KINDS and the reason for one case optimized by one tool in this process."""
    source, target = folder / "case.onnx", folder / "optimized.onnx"
    target.unlink(missing_ok=True)
    source.write_bytes(case.model.SerializeToString())
    try:
        TOOLS[tool].function(str(source), str(target))
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        return "exception", f"{type(err).__name__}: {err}"
    optimized = onnx.load(target)
    changed = interface_change(case.model, optimized)
    if changed is not None:
        return "interface", changed
    for data_set in case.data_sets:
        try:
            outputs = run_with_ort(optimized, data_set.inputs)
        except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
            return "invalid", f"{type(err).__name__}: {err}"
        reason = mismatch(outputs, data_set.outputs, rtol=case.rtol, atol=case.atol)
        if reason is not None:
            return "wrong", reason
    return "right", ""


def interface_change(before: ModelProto, after: ModelProto) -> str | None:
    """Return what differs between the inputs and outputs of two models, or None; a dimension may become known."""
    for what in ("input", "output"):
        old, new = getattr(before.graph, what), getattr(after.graph, what)
        if [value.name for value in old] != [value.name for value in new]:
            return f"{what}s {[value.name for value in old]} became {[value.name for value in new]}"
        for was, now in zip(old, new, strict=True):
            if not _is_kept(was.type, now.type):
                return f"{what} {was.name!r} changed its type"
    return None


def _is_kept(was: TypeProto, now: TypeProto) -> bool:
    kind = was.WhichOneof("value")
    if kind != now.WhichOneof("value") or kind is None:
        return kind is None
    if kind == "sequence_type":
        return _is_kept(was.sequence_type.elem_type, now.sequence_type.elem_type)
    if kind == "optional_type":
        return _is_kept(was.optional_type.elem_type, now.optional_type.elem_type)
    if kind != "tensor_type":
        return bool(was == now)
    if was.tensor_type.elem_type != now.tensor_type.elem_type:
        return False
    if not was.tensor_type.HasField("shape"):
        return True
    old, new = was.tensor_type.shape.dim, now.tensor_type.shape.dim
    if len(old) != len(new):
        return False
    return all(a.WhichOneof("value") is None or a == b for a, b in zip(old, new, strict=True))


def run_cases(tool: str, names: Sequence[str], *, limit_s: float = CASE_SECONDS) -> dict[str, tuple[str, str]]:
    """Return kind and reason by case name, from worker processes that are replaced when a case takes one down."""
    results: dict[str, tuple[str, str]] = {}
    left = list(names)
    with Progress(transient=True) as progress:
        task = progress.add_task(tool, total=len(left))
        while left:
            ended = _run_worker(tool, left, results, limit_s)
            left = [name for name in left if name not in results]
            if left and ended is not None:
                results[left[0]] = ended
                left = left[1:]
            progress.update(task, completed=len(results))
    return results


def _run_worker(
    tool: str, names: Sequence[str], results: dict[str, tuple[str, str]], limit_s: float
) -> tuple[str, str] | None:
    """Fill `results` until the worker ends; return how the case it was at ended it, or None when all were done."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "names.json"
        listed.write_text(json.dumps(list(names)), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.conformance", "--worker", str(listed), "--tools", tool]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: Queue[str | None] = Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        try:
            while (line := lines.get(timeout=limit_s)) is not None:
                if line.startswith("{"):
                    results.update({key: (kind, reason) for key, (kind, reason) in json.loads(line).items()})
        except Empty:
            process.kill()
            process.wait()
            return "timeout", f"not finished in {limit_s:g} s"
        except BaseException:
            process.kill()
            raise
        code = process.wait()
        return None if code == 0 else ("crash", f"worker ended with {code}")


def _read(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _work(listed: Path, tool: str) -> None:
    for module in TOOLS[tool].modules:
        importlib.import_module(module)
    cases = {case.name: case for case in load_cases()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in json.loads(listed.read_text(encoding="utf-8")):
            kind, reason = check_case(cases[name], tool, Path(scratch))
            print("\n" + json.dumps({name: [kind, " ".join(reason.split())[:300]]}), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table and what went wrong, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--tools", nargs="+", default=list(DEFAULT_TOOLS))
    parser.add_argument(
        "--json", type=Path, help="where the record goes (default: benchmarks/results/conformance.json)"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker is not None:
        _work(options.worker, options.tools[0])
        return 0
    names = ort_correct_names()
    console = Console()
    table = Table("tool", *KINDS, title=f"{len(names):,} cases that ONNX Runtime runs correctly")
    record: dict[str, object] = {}
    failures: list[str] = []
    for tool in options.tools:
        results = run_cases(tool, names)
        counts = Counter(kind for kind, _ in results.values())
        table.add_row(tool, *(f"{counts[kind]:,}" for kind in KINDS))
        wrong = {name: result for name, result in results.items() if result[0] != "right"}
        record[tool] = {"counts": {kind: counts[kind] for kind in KINDS}, "not_right": wrong}
        failures += [f"{tool}: {name}: {kind}: {reason}" for name, (kind, reason) in wrong.items()]
    for line in failures:
        if line.startswith("graphopt"):
            console.print(line, markup=False)
    console.print(table)
    path = save_record("conformance", record, settings={"cases": len(names)}, path=options.json)
    console.print(f"record: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
