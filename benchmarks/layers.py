"""Time and peak memory of `graphopt compare --by-layer` beside a script that makes all values outputs and runs both models once.

Each model given is compared with what graphopt makes of it at O2, on the same drawn inputs and at the same values, on one thread. Memory
is the peak of the process that runs the models, above that of a process that imports onnx and onnxruntime only. Each run is a child
process of its own; methods take turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Spread, run_process, run_tool, save_record, spread

__all__ = ["LayerRun", "main", "measure"]

AT_ONCE = "all values at once"


@dataclass(frozen=True, slots=True)
class LayerRun:
    """What one method took on one model; `reason` says why it has no numbers."""

    model: str
    method: str
    values: int = 0
    value_bytes: int = 0
    slices: int = 0
    seconds: Spread | None = None
    peak_bytes: Spread | None = None
    reason: str = ""


def measure(source: Path, optimized: Path, megabytes: Sequence[int], *, repeats: int, baseline: int) -> list[LayerRun]:
    """Return what each method took on one model and its optimized form.

    Args:
        source: the model.
        optimized: the other one.
        megabytes: budgets of `--memory`.
        repeats: runs of each method.
        baseline: bytes of a process with the imports alone.
    """
    methods = {AT_ONCE: 0, **{f"--memory {size}": size for size in megabytes}}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    failed: dict[str, str] = {}
    for _ in track(range(repeats), source.stem, transient=True):
        for name, size in methods.items():
            if name not in failed:
                record = _child(source, optimized, size)
                if isinstance(record, str):
                    failed[name] = record
                else:
                    taken[name].append(record)
    found = []
    for name, records in taken.items():
        if name in failed:
            found.append(LayerRun(source.stem, name, reason=failed[name]))
            continue
        peak = [record["peak_bytes"] - baseline for record in records]
        values, held, slices = (int(records[0][key]) for key in ("values", "value_bytes", "slices"))
        seconds = spread([record["seconds"] for record in records])
        found.append(LayerRun(source.stem, name, values, held, slices, seconds, spread(peak)))
    return found


def _child(source: Path, optimized: Path, size: int) -> dict[str, float] | str:
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.layers",
            "--child",
            str(source),
            str(optimized),
            str(size),
            str(result),
        ]
        code, text = run_process(command, 300.0)
        if code != 0 or not result.exists():
            return (
                "not finished in 300 s"
                if code is None
                else text.strip().splitlines()[-1][:200]
                if text.strip()
                else f"{code}"
            )
        record: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
        return record


# -- in the child -----------------------------------------------------------------------------------------------------------------


def run_sliced(source: str, optimized: str, size: int) -> dict[str, float]:
    """What graphopt takes with a budget, in MB."""
    from graphopt.verify.attribution import LayerOptions, compare_layers

    started = time.perf_counter()
    found = compare_layers(source, optimized, options=LayerOptions(memory=size << 20, threads=1))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "values": len(found.layers),
        "slices": found.slices,
        "value_bytes": found.slice_bytes,
    }


def run_at_once(source: str, optimized: str) -> dict[str, float]:
    """What it takes to make all values outputs and keep those of both models."""
    import numpy as np
    import onnx

    from graphopt.frontends.onnx import lift
    from graphopt.runtime import OrtRunner
    from graphopt.verify.attribution.correspondence import find_correspondences
    from graphopt.verify.attribution.statistics import measure as measure_values
    from graphopt.verify.feeds import find_samples
    from graphopt.verify.hints import model_hints

    started = time.perf_counter()
    pairs = find_correspondences(lift(source), lift(optimized)).pairs
    with OrtRunner(source, threads=1) as runner:
        feeds = find_samples(runner, model_hints(lift(source)), count=1).samples[0].feeds
    outputs = []
    for path, names in ((source, [pair.name for pair in pairs]), (optimized, [pair.counterpart for pair in pairs])):
        proto = onnx.load(path)
        del proto.graph.output[:]
        proto.graph.output.extend([onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names)])
        with OrtRunner(proto, threads=1) as runner:
            found = runner.run(feeds)
        outputs.append([found[name] for name in names])
    for one, other in zip(*outputs, strict=True):
        measure_values(one, other, 1e-4)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = sum(value.nbytes for values in outputs for value in values if isinstance(value, np.ndarray))
    return {"seconds": seconds, "peak_bytes": peak, "values": len(pairs), "slices": 1, "value_bytes": held}


# -- the whole --------------------------------------------------------------------------------------------------------------------


def _table(runs: Sequence[LayerRun]) -> Table:
    table = Table("method", "values", "runs", "MB of values", "seconds", "MB above imports", title=runs[0].model)
    for run in runs:
        if run.seconds is None or run.peak_bytes is None:
            table.add_row(run.method, "", "", "", "", run.reason)
            continue
        peak = Spread(
            run.peak_bytes.min / 1e6, run.peak_bytes.median / 1e6, run.peak_bytes.max / 1e6, run.peak_bytes.repeats
        )
        values = f"{run.value_bytes / 1e6:,.1f}"
        table.add_row(run.method, str(run.values), str(run.slices), values, str(run.seconds), str(peak))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table per model, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="files, or folders of .onnx files")
    parser.add_argument("--memory", type=int, nargs="+", default=[256, 16], help="budgets in MB (default: 256 16)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/layers.json)")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        source, optimized, size, result = options.child
        record = run_sliced(source, optimized, int(size)) if int(size) else run_at_once(source, optimized)
        Path(result).write_text(json.dumps(record), encoding="utf-8")
        return 0
    console = Console()
    sources = [file for path in options.models for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    baseline = int(spread([run_tool("imports alone", Path("none")).peak_bytes for _ in range(3)]).median)
    runs: list[LayerRun] = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            optimized = Path(scratch) / source.name
            outcome = run_tool("graphopt O2", source, optimized)
            if outcome.status != "ok":
                console.print(f"{source.stem}: {outcome.status}: {outcome.reason}")
                continue
            found = measure(source, optimized, options.memory, repeats=options.repeats, baseline=baseline)
            console.print(_table(found))
            runs += found
    settings = {"repeats": options.repeats, "memory_mb": options.memory}
    results = {"imports_alone_bytes": baseline, "runs": [asdict(run) for run in runs]}
    console.print(f"record: {save_record('layers', results, settings=settings, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
