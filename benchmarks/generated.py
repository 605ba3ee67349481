"""What each tool makes of the same generated models: right, wrong results, invalid models, exceptions, crashes.

The models are those of `graphopt.testing.models()`, which ONNX Runtime runs, drawn once, each of its own seed, so that each tool gets
the same ones. A result must have the inputs and outputs of the original (names, order, element types, ranks), be accepted by onnx.checker
as the original is, run in ONNX Runtime with its optimizer off, and give the same numbers to a relative 1e-4 of the largest magnitude on
each set of inputs, where numbers are finite and do not move by themselves. Each tool runs in a child process with its defaults.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pickle
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.judge import interface_change
from benchmarks.measure import save_record
from benchmarks.tools import TOOLS
from benchmarks.workers import print_result, run_in_workers
from graphopt.errors import ExecutionError
from graphopt.numerics import Reassociates
from graphopt.testing import GeneratedModel
from graphopt.testing.oracles.original import Original
from graphopt.testing.strategies.bulk import model_of

__all__ = ["KINDS", "check", "draw", "main"]

KINDS = ("right", "wrong", "invalid", "interface", "default lost", "exception", "crash", "timeout")
DEFAULT_TOOLS = ("graphopt O2", "onnxruntime", "onnxscript", "onnxsim", "onnxslim", "onnxoptimizer")
_RTOL = 1e-4


def draw(count: int, start: int = 0) -> tuple[list[GeneratedModel], dict[str, float]]:
    """Draw models, and tell how many were drawn in vain, how many nodes were refused, and how long it took.

    Args:
        count: how many.
        start: seed of the first one; the next ones follow.
    """
    found: list[GeneratedModel] = []
    started_at = time.perf_counter()
    rejected, number = 0, start
    with Progress(transient=True) as progress:
        task = progress.add_task("models", total=count)
        while len(found) < count:
            model = model_of(number)
            number += 1
            rejected += model is None
            if model is not None:
                found.append(model)
            progress.update(task, completed=len(found))
    seconds = time.perf_counter() - started_at
    nodes = sum(len(model.proto.graph.node) for model in found)
    refused = sum(model.refused for model in found)
    return found, {
        "rejected_share": rejected / max(1, rejected + len(found)),
        "refused_nodes_share": refused / max(1, refused + nodes),
        "ms_per_model": 1000 * seconds / max(1, len(found)),
        "nodes_per_model": nodes / max(1, len(found)),
        "operators": len({node.op_type for model in found for node in _nodes(model)}),
        "sets_of_inputs": sum(len(model.feeds) for model in found) / max(1, len(found)),
    }


def _nodes(model: GeneratedModel) -> list[onnx.NodeProto]:
    graphs, found = [model.proto.graph], [node for function in model.proto.functions for node in function.node]
    while graphs:
        graph = graphs.pop()
        found += graph.node
        graphs += [item.g for node in graph.node for item in node.attribute if item.HasField("g")]
    return found


def check(model: GeneratedModel, tool: str, folder: Path) -> tuple[str, str]:
    """Return one of KINDS and the reason for one model optimized by one tool in this process."""
    source, target = folder / "model.onnx", folder / "optimized.onnx"
    target.unlink(missing_ok=True)
    source.write_bytes(model.proto.SerializeToString())
    try:
        TOOLS[tool].function(str(source), str(target))
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        return "exception", f"{type(err).__name__}: {err}"
    result = onnx.load(target)
    changed = interface_change(model.proto, result, sizes=False)
    if changed is not None:
        return changed
    if tool != "onnxruntime":  # its offline models may have operators of its own, of which the checker knows nothing
        try:
            onnx.checker.check_model(result)
        except Exception as err:  # noqa: BLE001  the checker raises ValueError and RuntimeError too
            return "invalid", str(err)
    try:
        fault, _compared, _skipped = Original(model.proto, model.feeds, wild=model.is_wild).find_fault(
            result, Reassociates(_RTOL)
        )
    except ExecutionError as err:
        return "right", f"the original does not run: {err}"
    if fault is None:
        return "right", ""
    return ("invalid" if "does not load" in fault.detail else "wrong"), fault.detail


def _work(listed: Path, tool: str, cache: Path) -> None:
    warnings.simplefilter("ignore")
    for module in TOOLS[tool].modules:
        importlib.import_module(module)
    cases: list[GeneratedModel] = pickle.loads(cache.read_bytes())
    with tempfile.TemporaryDirectory() as scratch:
        for name in json.loads(listed.read_text(encoding="utf-8")):
            print_result(name, *check(cases[int(name)], tool, Path(scratch)))


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, measure, print the table and what went wrong with graphopt, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generated", description=__doc__)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tools", nargs="+", default=list(DEFAULT_TOOLS))
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/generated.json)")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker is not None:
        _work(options.worker, options.tools[0], options.cache)
        return 0
    console = Console()
    found, drawing = draw(options.models, options.seed)
    console.print(drawing)
    table = Table("tool", *KINDS, title=f"{len(found):,} generated models")
    record: dict[str, object] = {"drawing": drawing}
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "models.pickle"
        cache.write_bytes(pickle.dumps(found))
        for tool in options.tools:
            arguments = ["--tools", tool, "--cache", str(cache)]
            results = run_in_workers(
                tool, "benchmarks.generated", arguments, [str(index) for index in range(len(found))]
            )
            counts = Counter(kind for kind, _ in results.values())
            table.add_row(tool, *(f"{counts[kind]:,}" for kind in KINDS))
            wrong = {name: result for name, result in results.items() if result[0] != "right"}
            record[tool] = {"counts": {kind: counts[kind] for kind in KINDS}, "not_right": _shortened(wrong)}
            if tool.startswith("graphopt"):
                for name, (kind, reason) in wrong.items():
                    console.print(f"{tool}: model {name}: {kind}: {reason}\n{found[int(name)]!r}", markup=False)
    console.print(table)
    path = save_record("generated", record, settings={"models": len(found), "seed": options.seed}, path=options.json)
    console.print(f"record: {path}")
    return 0


def _shortened(wrong: dict[str, tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """A few of each kind: enough to look one up, not a file of thousands of lines."""
    kept: dict[str, list[tuple[str, str]]] = {}
    for name, (kind, reason) in wrong.items():
        group = kept.setdefault(kind, [])
        if len(group) < 5:
            group.append((name, reason))
    return kept


if __name__ == "__main__":
    sys.exit(main())
