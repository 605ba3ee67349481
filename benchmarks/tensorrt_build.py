"""Engines lowered layer by layer beside those of NVIDIA's own ONNX parser: time, peak memory, size of the engine.

Each run is a child process of its own: it reads the model's file and writes an engine. The seconds of `lower` are from a legalized model
to a network, those of `parse` from the file to a network, as the parser does all at once; `read` is what graphopt does before:
reading, optimizing (`--level`) and legalizing, without a check. The peak is the process's VmHWM, imports included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
from rich.console import Console
from rich.table import Table

from benchmarks import models
from benchmarks.measure import machine, run_process, save_record, spread

__all__ = ["build_once", "main"]

MAKERS = ("graphopt", "parser")
PHASES = ("import", "read", "lower", "parse", "build", "save")


def build_once(maker: str, source: Path, target: Path, *, capability: str, level: str, batch: int) -> dict[str, object]:
    """Build one engine in this process; return seconds by phase, and the size of the engine.

    Args:
        maker: one of `MAKERS`.
        source: an ONNX file.
        target: where the engine goes.
        capability: compute capability.
        level: pipeline of graphopt's path.
        batch: for sizes that the model leaves open.
    """
    seconds: dict[str, float] = {}
    return (_by_graphopt if maker == "graphopt" else _by_parser)(source, target, capability, level, batch, seconds)


def _by_graphopt(
    source: Path, target: Path, capability: str, level: str, batch: int, seconds: dict[str, float]
) -> dict[str, object]:
    start = time.perf_counter()
    from graphopt.compiler.building import build  # here: what imports take is measured

    seconds["import"] = time.perf_counter() - start
    names = {dim for info in _inputs(source) for dim in info}
    engine = build(
        source,
        level=level,
        capabilities=[capability],
        sizes=dict.fromkeys(names, (batch,) * 3),
        check=False,
    )
    lowered, built = engine.seconds["lower"], engine.seconds["build"]
    now = time.perf_counter()
    seconds["read"] = now - start - seconds["import"] - lowered - built
    seconds |= {"lower": lowered, "build": built}
    engine.save(target, force=True)
    seconds["save"] = time.perf_counter() - now
    return {"seconds": seconds, "bytes": target.stat().st_size, "layers": sum(engine.layers.values())}


def _inputs(source: Path) -> list[list[str]]:
    """Names of the open sizes of each input."""
    model = onnx.load(source, load_external_data=False)
    return [[dim.dim_param for dim in info.type.tensor_type.shape.dim if dim.dim_param] for info in model.graph.input]


def _by_parser(
    source: Path, target: Path, capability: str, level: str, batch: int, seconds: dict[str, float]
) -> dict[str, object]:
    start = time.perf_counter()
    from graphopt.backends.tensorrt.api import load  # here: as above; it imports little

    api = load()
    log = api.log()
    seconds["import"] = time.perf_counter() - start
    now = time.perf_counter()
    builder = api.builder(log)
    network = api.network(builder)
    reader = api.module.OnnxParser(network, log.logger)
    if not reader.parse_from_file(str(source)):
        raise ValueError(str(reader.get_error(0).desc()) if reader.num_errors else "it does not parse")
    seconds["parse"] = time.perf_counter() - now
    now = time.perf_counter()
    config = api.config(builder, [capability])
    profile = builder.create_optimization_profile()
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        if -1 in tuple(tensor.shape):
            shape = [batch if size == -1 else size for size in tensor.shape]
            profile.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise ValueError(log.errors())
    seconds["build"] = time.perf_counter() - now
    now = time.perf_counter()
    target.write_bytes(made)
    seconds["save"] = time.perf_counter() - now
    return {"seconds": seconds, "bytes": target.stat().st_size, "layers": network.num_layers}


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _in_child(maker: str, source: Path, options: argparse.Namespace) -> dict[str, object]:
    """What one run came to, its reason under `failed` when it did not work."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [sys.executable, "-m", "benchmarks.tensorrt_build", str(source), "--worker", maker, str(result)]
        command += ["--capability", options.capability, "--level", options.level, "--batch", str(options.batch)]
        code, text = run_process(command, options.limit)
        if code is None:
            return {"failed": f"not finished in {options.limit:g} s"}
        if not result.exists():
            lines = text.strip().splitlines()
            return {"failed": (lines[-1] if lines else f"exit code {code}")[:300]}
        found: dict[str, object] = json.loads(result.read_text(encoding="utf-8"))
        return found


def _summary(runs: Sequence[dict[str, object]]) -> dict[str, object]:
    """Spread of seconds by phase and of the peak, over repeats that all worked."""
    failed = next((run["failed"] for run in runs if "failed" in run), None)
    if failed is not None:
        return {"failed": failed}
    seconds = [dict(run["seconds"]) for run in runs]  # type: ignore[call-overload]  # plain JSON
    return {
        "seconds": {phase: spread([item[phase] for item in seconds]) for phase in PHASES if phase in seconds[0]},
        "peak_bytes": spread([float(str(run["peak_bytes"])) for run in runs]),
        "bytes": runs[0]["bytes"],
        "layers": runs[0]["layers"],
    }


def _table(name: str, found: dict[str, dict[str, object]]) -> Table:
    table = Table("maker", *PHASES, "peak MB", "engine MB", "layers", title=name)
    for maker, item in found.items():
        if "failed" in item:
            table.add_row(maker, str(item["failed"]))
            continue
        seconds: dict[str, object] = dict(item["seconds"])  # type: ignore[call-overload]  # as above
        times = [str(seconds.get(phase, "")) for phase in PHASES]
        peak = item["peak_bytes"]
        megabytes = getattr(peak, "median", 0.0) / 1e6
        table.add_row(maker, *times, f"{megabytes:,.0f}", f"{int(str(item['bytes'])) / 1e6:,.2f}", str(item["layers"]))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table for each model, store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_build", description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", help="files, or folders of .onnx files")
    parser.add_argument("--makers", nargs="+", default=list(MAKERS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--capability", default="86")
    parser.add_argument("--level", default="O2")
    parser.add_argument("--batch", type=int, default=1, help="for sizes that a model leaves open")
    parser.add_argument("--megabytes", type=int, default=200, help="weights of the generated model; 0 leaves it out")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/tensorrt_build.json)")
    parser.add_argument("--worker", nargs=2, metavar=("MAKER", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        maker, result = options.worker
        with tempfile.TemporaryDirectory() as scratch:
            found = build_once(
                maker,
                options.models[0],
                Path(scratch) / "made.engine",
                capability=options.capability,
                level=options.level,
                batch=options.batch,
            )
        Path(result).write_text(json.dumps(found | {"peak_bytes": _peak_bytes()}), encoding="utf-8")
        return 0
    console = Console()
    results: dict[str, dict[str, dict[str, object]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        sources: list[Path] = []
        for path in options.models:
            sources += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if options.megabytes:
            sources.append(Path(scratch) / f"heavy_{options.megabytes}mb.onnx")
            onnx.save(models.heavy(options.megabytes), sources[-1])
        for source in sources:
            runs: dict[str, list[dict[str, object]]] = {maker: [] for maker in options.makers}
            for turn in range(options.repeats):  # interleaved, and the other way round every second time
                for maker in options.makers[:: -1 if turn % 2 else 1]:
                    runs[maker].append(_in_child(maker, source, options))
            results[source.stem] = {maker: _summary(items) for maker, items in runs.items()}
            console.print(_table(source.stem, results[source.stem]))
    settings = {"repeats": options.repeats, "capability": options.capability, "level": options.level}
    record = save_record(
        "tensorrt_build", {"library": _library(), "models": results}, settings=settings, path=options.json
    )
    console.print(f"record: {record}")
    return 0


def _library() -> str:
    from graphopt.backends.tensorrt.api import load  # only here: the parent does not need it

    api = load()
    return f"{api.name} {api.version}, {machine()['cores']} cores"


if __name__ == "__main__":
    raise SystemExit(main())
