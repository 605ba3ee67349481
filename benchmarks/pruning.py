"""How good and how fast models are after each pruner: accuracy, operations, latency, time, and the lines that a user writes.

* digits and crops: `python -m benchmarks.pruning --models FOLDER --mnist FILE`. A residual network for digits is judged by labels, a
  classifier of photographs by how often it says what the original says. Data to calibrate with is never judged on.
* `python -m benchmarks.pruning --zoo FOLDER`: all models of a folder at one ratio, see `benchmarks.pruning_zoo`.

Each pruner runs in a child process. Latencies of all results of a case are taken in one more process, in turns, in a random order and its
reverse; a speed is the latency of the original over that of a result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from benchmarks import pruning_cases, pruning_zoo
from benchmarks.latency import measured_in_child
from benchmarks.measure import run_process, save_record
from benchmarks.numbers import session
from benchmarks.pruning_costs import flops_of_model, sparsity_of
from benchmarks.pruning_plot import plot
from benchmarks.pruning_tools import PRUNERS, lines_of
from benchmarks.quantizers import Array, batches, read_arrays

__all__ = ["Row", "main", "measure_case"]

ORIGINAL, TWIN = "original", "original again"
LIMIT_SECONDS: Final = 240.0
#: What is asked of each kind of pruner, by case: shares of operations that are left, and of weights that become zero.
AMOUNTS: Final[dict[str, dict[str, tuple[float, ...]]]] = {
    "mnist_resnet_bn": {"channels": (0.7, 0.5, 0.3), "zeros": (0.8,), "2:4": (0.5,)},
    "efficientnet_lite0": {"channels": (0.9, 0.8, 0.7)},
}
#: Pruners of which one amount is enough, by case: the others say how the curve goes.
ONE_AMOUNT: Final = {"graphopt, then int8": {"mnist_resnet_bn": 0.5, "efficientnet_lite0": 0.8}}


@dataclass(slots=True)
class Row:
    """What one pruner made of one case.

    Attributes:
        amount: what was asked for: share of operations left, or of weights that are zero.
        flops: operations left, as a share of the original's.
        zeros: share of the weights that are zero.
        lines: that a user writes.
        accuracy: share of test samples of the right class, where there are labels.
        agreement: share of test samples of the class that the original gives.
        speed: latency of the original over that of the result; low and high are its quartiles over the rounds.
    """

    case: str
    tool: str
    kind: str
    amount: float
    status: str
    flops: float | None = None
    zeros: float | None = None
    lines: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    bytes: int = 0
    accuracy: float | None = None
    agreement: float | None = None
    milliseconds: float | None = None
    speed: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def measure_case(case: Path, tools: Sequence[str], *, threads: int, seconds: float, limit_s: float) -> list[Row]:
    """Return a row of the original, one of its twin and one of each pruner and amount.

    Args:
        case: the folder; its name is a key of `AMOUNTS`.
        tools: keys of `benchmarks.pruning_tools.PRUNERS`.
        threads: of the sessions that are timed.
        seconds: for all rounds.
        limit_s: seconds that one pruner may take.
    """
    model, stated = case / "model.onnx", json.loads((case / "case.json").read_text(encoding="utf-8"))
    test = read_arrays(case / "test.npz")
    labels = read_arrays(case / "labels.npz")["labels"] if (case / "labels.npz").exists() else None
    expected, whole = _outputs(model, test, stated["batch"]), flops_of_model(onnx.load(model))
    files = {ORIGINAL: model, TWIN: model}
    rows = {name: Row(case.name, name, "", 1.0, "ok", flops=1.0) for name in files}
    with tempfile.TemporaryDirectory() as scratch:
        for tool in tools:
            for amount in _amounts(case.name, tool):
                name, target = f"{tool} {amount}", Path(scratch) / f"made{len(rows)}.onnx"
                rows[name] = _made(case, tool, amount, target, limit_s)
                if rows[name].status == "ok":
                    files[name] = target
        for name, path in list(files.items()):
            try:
                _judge(rows[name], path, _outputs(path, test, stated["batch"]), expected, labels)
                rows[name].flops = flops_of_model(onnx.load(path)) / whole
            except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
                rows[name].status, rows[name].reason = "invalid", " ".join(str(err).split())[:300]
                del files[name]
        feeds = next(batches(test, stated["timed_batch"]))
        timed = {name: str(path) for name, path in files.items()}
        taken = measured_in_child(Path(scratch), timed, feeds, threads, seconds)
    for name, row in rows.items():
        if isinstance(taken, str):
            row.reason = row.reason or taken
        elif name in taken:
            ratios = [before / after for before, after in zip(taken[ORIGINAL], taken[name], strict=True)]
            row.milliseconds = statistics.median(taken[name])
            row.low, row.speed, row.high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
    return list(rows.values())


def _amounts(case: str, tool: str) -> Sequence[float]:
    if tool in ONE_AMOUNT:
        return (ONE_AMOUNT[tool][case],)
    return AMOUNTS[case].get(PRUNERS[tool].kind, ())


def _made(case: Path, tool: str, amount: float, target: Path, limit_s: float) -> Row:
    """Run a pruner in a child process."""
    pruner, result = PRUNERS[tool], target.with_suffix(".json")
    arguments = [tool, str(amount), str(case.resolve()), str(target), str(result)]
    code, text = run_process([sys.executable, "-m", "benchmarks.pruning_tools", *arguments], limit_s)
    row = Row(case.name, tool, pruner.kind, amount, "timeout" if code is None else "crash", reason=text.strip()[-300:])
    row.lines = lines_of(pruner.function)
    if result.exists():
        found = json.loads(result.read_text(encoding="utf-8"))
        row.status, row.reason = found["status"], found["reason"]
        row.seconds, row.peak_bytes = found["seconds"], found["peak_bytes"]
    return row


def _outputs(model: Path, arrays: dict[str, Array], size: int) -> Array:
    """The first output for all samples."""
    run = session(model, optimize=True)
    return np.concatenate([np.asarray(run.run(None, feeds)[0], np.float64) for feeds in batches(arrays, size)])


def _judge(row: Row, path: Path, found: Array, expected: Array, labels: Array | None) -> None:
    row.bytes, row.zeros = path.stat().st_size, sparsity_of(path)
    row.agreement = float((found.argmax(-1) == expected.argmax(-1)).mean())
    if labels is not None:
        row.accuracy = float((found.argmax(-1) == labels[: len(found)]).mean())


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "case", "tool", "asked", "FLOPs", "zeros", "accuracy", "agreement", "speed", "ms", "MB", "seconds", "lines"
    )
    for row in rows:
        table.add_row(
            row.case,
            row.tool,
            f"{row.amount:g}" if row.kind else "",
            _figure(row.flops, "{:.1%}"),
            _figure(row.zeros, "{:.1%}"),
            _figure(row.accuracy, "{:.2%}"),
            _figure(row.agreement, "{:.1%}"),
            f"{row.speed:.2f} ({row.low:.2f}-{row.high:.2f})" if row.speed is not None else row.status,
            _figure(row.milliseconds, "{:.2f}"),
            f"{row.bytes / 1e6:.2f}" if row.bytes else "",
            f"{row.seconds:.1f}" if row.seconds else "",
            f"{row.lines}" if row.lines else "",
        )
    return table


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, store the record and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__)
    parser.add_argument(
        "--models", type=Path, help="folder with mnist_resnet_bn.onnx and efficientnet_lite0_trained_bn.onnx"
    )
    parser.add_argument("--mnist", type=Path, help="labelled digits, .npz")
    parser.add_argument("--zoo", type=Path, nargs="+", help="folders of models, of which each is pruned at --ratio")
    parser.add_argument(
        "--inputs", type=Path, help="for --zoo: folder with NAME.npz, inputs of a model; others are drawn"
    )
    parser.add_argument("--ratio", type=float, default=0.3, help="for --zoo: part of each group that goes")
    parser.add_argument("--tools", nargs="*", default=list(PRUNERS), help="default: all")
    parser.add_argument("--cases", nargs="*", default=list(AMOUNTS), help="default: all")
    parser.add_argument("--crops", type=int, nargs=2, default=(128, 200), help="to calibrate, and to judge")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds-per-case", type=float, default=15.0)
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds one pruner may take")
    parser.add_argument("--plot", type=Path, help="where the curves go, as SVG")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/pruning.json)")
    options = parser.parse_args(argv)
    if options.zoo:
        return pruning_zoo.measure(options.zoo, options.inputs, options.ratio, options.json)
    if options.models is None:
        parser.error("no models: give --models and --mnist, or --zoo")
    console, rows = Console(width=None if sys.stdout.isatty() else 200), list[Row]()
    with tempfile.TemporaryDirectory() as folder:
        for case in pruning_cases.write_cases(options.models, options.mnist, Path(folder), options.crops):
            if case.name in options.cases:
                made = measure_case(
                    case,
                    options.tools,
                    threads=options.threads,
                    seconds=options.seconds_per_case,
                    limit_s=options.limit,
                )
                console.print(_table(made))
                rows += made
    settings = {"seconds_per_case": options.seconds_per_case, "threads": options.threads, "crops": list(options.crops)}
    record = [asdict(row) for row in rows]
    console.print(f"record: {save_record('pruning', {'rows': record}, settings=settings, path=options.json)}")
    if options.plot is not None:
        options.plot.write_text(plot(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
