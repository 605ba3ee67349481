"""TensorRT on a GPU: whether engines load, whether all models of a folder give what ONNX Runtime gives, then how fast they are.

For whoever has a GPU; no claim of speed on one is made without this record. Each model is a child process of its own. Correctness comes
first, in float32 without TF32, float16 and int8 with Q/DQ; a model is timed where it is right. `--fake` does all of it on a device that is
none, whose engines are computed by the evaluator: it shows that the script works, and its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.gpu_models import PRECISIONS, Gpu, ModelCheck, check_model
from benchmarks.measure import run_process, save_record
from graphopt.backends.tensorrt.api import load
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_of_model
from graphopt.errors import GraphoptError
from graphopt.runtime import RunOptions

__all__ = ["find_gpu", "loads", "main"]

#: Compute capabilities that engines are built for to see which load: all, that of the device, others.
CAPABILITIES = ("", "device", "80", "86", "89", "86,89")


def find_gpu(*, fake: bool) -> Gpu:
    """The library and the device.

    Raises:
        ExecutionError: if one of them is not there.
    """
    if fake:
        from graphopt.testing.tensorrt.fake_library import fake_api  # here: for dry runs only
        from graphopt.testing.tensorrt.host_cuda import HostCuda

        return Gpu(fake_api(), HostCuda())
    from graphopt.runtime.tensorrt.driver import connect  # here: needs a driver

    return Gpu(load(), connect())


def loads(gpu: Gpu) -> dict[str, str]:
    """What became of an engine of a small model by the compute capabilities that it was built for: `ok`, or why it does not load."""
    from graphopt.backends.tensorrt.backend import TensorRtBackend
    from graphopt.backends.tensorrt.building import EngineOptions, build_engine
    from graphopt.data import digits_model

    environment = Environment()
    model = environment.legalized(environment.lift(digits_model()), "tensorrt")
    backend = environment.backend("tensorrt")
    assert isinstance(backend, TensorRtBackend), "the built-in backend of that name"
    found: dict[str, str] = {}
    for stated in CAPABILITIES:
        chosen = [gpu.cuda.capability] if stated == "device" else [item for item in stated.split(",") if item]
        options = EngineOptions(capabilities=chosen, sizes={"batch": (1, 4, 8)})
        try:
            data = build_engine(backend.network(model, gpu.api), options)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "digits.engine"
                path.write_bytes(data)
                gpu.runtime.open(path, RunOptions()).close()
            found[stated or "all"] = "ok"
        except GraphoptError as err:
            found[stated or "all"] = " ".join(str(err).split())[:400]
    return found


def _worker(model: Path, inputs: Path, precision: str, result: Path, options: argparse.Namespace) -> None:
    feeds = feeds_of_model(
        model, environment=Environment(), inputs=inputs if inputs.exists() else None, seed=0, sizes={}
    )
    arrays = {name: value for name, value in feeds.items() if isinstance(value, np.ndarray)}
    found = check_model(model, arrays, precision, find_gpu(fake=options.fake), seconds=options.seconds)
    result.write_text(json.dumps(asdict(found)), encoding="utf-8")


def _in_child(model: Path, inputs: Path, precision: str, options: argparse.Namespace) -> ModelCheck:
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu_check",
            str(model),
            "--worker",
            str(inputs),
            precision,
            str(result),
        ]
        command += ["--seconds", str(options.seconds), *(["--fake"] if options.fake else [])]
        code, text = run_process(command, options.limit)
        if result.exists():
            return ModelCheck(**json.loads(result.read_text(encoding="utf-8")))
    lines = text.strip().splitlines()
    reason = f"not finished in {options.limit:g} s" if code is None else (lines[-1] if lines else f"exit code {code}")
    return ModelCheck(model.stem, precision, reason=reason[:300])


def _table(rows: Sequence[ModelCheck]) -> Table:
    runners = list(dict.fromkeys(name for row in rows for name in row.milliseconds))
    table = Table("model", "precision", "status", "error", "share", "parts", *(f"{name}, ms" for name in runners))
    for row in rows:
        error = "" if row.error is None else f"{row.error:.1e}"
        times = [f"{row.milliseconds[name]:.3f}" if name in row.milliseconds else "" for name in runners]
        table.add_row(row.model, row.precision, row.status, error, f"{row.share:.1%}", str(len(row.parts)), *times)
    return table


def _remarks(rows: Sequence[ModelCheck]) -> list[str]:
    """Why models failed, and why peers are absent, once each."""
    failed = [f"{row.model}, {row.precision}: {row.reason}" for row in rows if row.reason]
    absent = Counter((name, reason) for row in rows for name, reason in row.absent.items())
    return failed + [f"{name} is absent {count} times: {reason}" for (name, reason), count in absent.most_common()]


def main(argv: Sequence[str] | None = None) -> int:
    """Check, time, print, store the record; 1 if a model differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help="files, or folders of .onnx files")
    parser.add_argument(
        "--inputs", type=Path, default=Path("inputs"), help="folder with inputs, NAME.npz for NAME.onnx"
    )
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing by model; 0 for none")
    parser.add_argument("--fake", action="store_true", help="a device that is none: a dry run")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a model may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/gpu_check.json)")
    parser.add_argument("--worker", nargs=3, metavar=("INPUTS", "PRECISION", "RESULT"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        inputs, precision, result = options.worker
        _worker(options.models[0], Path(inputs), precision, Path(result), options)
        return 0
    try:
        gpu = find_gpu(fake=options.fake)
    except GraphoptError as err:
        print(f"gpu_check: {err}", file=sys.stderr)
        return 2
    console = Console()
    loaded = loads(gpu)
    console.print(f"{gpu.api.name} {gpu.api.version} on {gpu.cuda.name}, compute capability {gpu.cuda.capability}")
    for name, state in loaded.items():
        console.print(f"engine for {name}: {state}")
    files = [file for path in options.models for file in (sorted(path.glob("*.onnx")) if path.is_dir() else [path])]
    cases = [(file, precision) for file in files for precision in options.precisions]
    rows = [
        _in_child(file, options.inputs / f"{file.stem}.npz", precision, options)
        for file, precision in track(cases, description="models", transient=True)
    ]
    console.print(_table(rows))
    for line in _remarks(rows):
        console.print(line)
    record = save_record(
        "gpu_check",
        {"loads": loaded, "models": [asdict(row) for row in rows]},
        settings={
            "library": f"{gpu.api.name} {gpu.api.version}",
            "device": gpu.cuda.name,
            "capability": gpu.cuda.capability,
            "fake": options.fake,
            "seconds": options.seconds,
        },
        path=options.json,
    )
    console.print(f"record: {record}")
    return int(any(row.status == "different" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
