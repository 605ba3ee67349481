"""Time and peak memory of calibration, by the number of examples, beside the calibrators of `onnxruntime.quantization`.

On a convolutional MNIST model and on an image model with crops of photographs. Each run is a child process of its own that reads the
same file of examples batch by batch; imports and reading the model's file are apart from the clock, peak memory is the process's VmHWM.
A run that takes longer than the limit, or that the system kills for its memory, is a result.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.crops import crops, normalized
from benchmarks.measure import run_process, save_record
from benchmarks.tools import peak_bytes

__all__ = ["TOOLS", "Run", "main"]

Array = npt.NDArray[Any]
DIGITS: Final = "mnist_resnet_bn"
PICTURES: Final = "efficientnet_lite0_trained_bn"
#: Numbers of examples of each model; those behind are for graphopt only, because the others would need all memory there is.
COUNTS: Final[Mapping[str, tuple[int, ...]]] = {DIGITS: (64, 512, 4096), PICTURES: (64, 128, 512)}
_OURS_ONLY: Final = {(PICTURES, 512)}
BATCH: Final = {DIGITS: 8, PICTURES: 1}


@dataclass(frozen=True, slots=True)
class Run:
    """What one calibrator took for some examples of a model."""

    model: str
    tool: str
    examples: int
    status: str
    seconds: float
    peak_bytes: int
    tensors: int
    reason: str = ""


def _graphopt(model: Path, data: Path, count: int, batch: int, *, calibrator: str) -> int:
    graphopt: Any = importlib.import_module("graphopt")
    return len(graphopt.calibrate(str(model), data, calibrator=calibrator, limit=count, batch=batch).ranges)


class _Reader:
    """ONNX Runtime's reader of calibration data; as ours it has one batch at a time in memory."""

    def __init__(self, name: str, data: Path, count: int, batch: int) -> None:
        self._rest = self._batches(name, np.load(data, mmap_mode="r"), count, batch)

    @staticmethod
    def _batches(name: str, rows: Array, count: int, batch: int) -> Iterator[dict[str, Array]]:
        for start in range(0, count, batch):
            yield {name: np.array(rows[start : start + batch])}

    def get_next(self) -> dict[str, Array] | None:
        return next(self._rest, None)


def _onnxruntime(model: Path, data: Path, count: int, batch: int, *, method: str) -> int:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    registry: Any = importlib.import_module("onnxruntime.quantization.registry")
    calibrate: Any = importlib.import_module("onnxruntime.quantization.calibrate")
    onnx: Any = importlib.import_module("onnx")
    name = onnx.load(model, load_external_data=False).graph.input[0].name
    operators = list({*registry.QLinearOpsRegistry, *registry.QDQRegistry})
    with tempfile.TemporaryDirectory() as folder:
        made = calibrate.create_calibrator(
            model,
            operators,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=getattr(quantization.CalibrationMethod, method),
        )
        made.collect_data(_Reader(name, data, count, batch))
        return len(made.compute_data().keys())


TOOLS: Final[dict[str, Callable[[Path, Path, int, int], int]]] = {
    **{
        f"graphopt {name}": partial(_graphopt, calibrator=name) for name in ("min-max", "percentile", "entropy", "auto")
    },
    **{f"onnxruntime {name}": partial(_onnxruntime, method=name) for name in ("MinMax", "Percentile", "Entropy")},
}


def _worker(tool: str, model: str, data: str, count: str, batch: str, result: str) -> int:
    for name in ("onnx", "graphopt.compiler" if tool.startswith("graphopt") else "onnxruntime.quantization"):
        importlib.import_module(name)
    start = time.perf_counter()
    record: dict[str, object] = {"status": "ok"}
    try:
        record["tensors"] = TOOLS[tool](Path(model), Path(data), int(count), int(batch))
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        record = {"status": "exception", "reason": f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]}
    record |= {"seconds": time.perf_counter() - start, "peak_bytes": peak_bytes()}
    Path(result).write_text(json.dumps(record), encoding="utf-8")
    return 0


def _measured(tool: str, model: Path, data: Path, count: int, *, limit_s: float) -> Run:
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        what = (tool, str(model), str(data), str(count), str(BATCH[model.stem]), str(result))
        code, text = run_process([sys.executable, "-m", "benchmarks.calibration", "--worker", *what], limit_s)
        if result.exists():
            record = {"tensors": 0, "reason": "", **json.loads(result.read_text(encoding="utf-8"))}
            return Run(model.stem, tool, count, **record)
        status = "timeout" if code is None else "crash"
        return Run(model.stem, tool, count, status, limit_s, 0, 0, (text.strip().splitlines() or [""])[-1][:300])


def _examples(model: str, count: int, mnist: Path) -> Array:
    if model == PICTURES:
        return normalized(crops(count, seed=0))
    with np.load(mnist) as stored:
        pixels: Array = stored["x_train"][:count]
    return np.asarray(((pixels / 255 - 0.1307) / 0.3081).reshape(-1, 1, 28, 28), np.float32)


def _table(runs: Sequence[Run]) -> Table:
    table = Table("calibrator", "examples", "seconds", "peak MB", "tensors", "", title=runs[0].model)
    for run in runs:
        table.add_row(
            run.tool,
            f"{run.examples:,}",
            f"{run.seconds:.1f}",
            f"{run.peak_bytes / 1e6:,.0f}",
            f"{run.tensors}",
            run.reason[:60],
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table per model, and store the record."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--worker"]:
        return _worker(*given[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help=f"folder of {DIGITS}.onnx and {PICTURES}.onnx")
    parser.add_argument("--mnist", type=Path, required=True, help="mnist.npz with x_train, uint8 [N, 28, 28]")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--only", nargs="+", default=list(COUNTS), help="models, of those two")
    parser.add_argument("--most", type=int, default=4096, help="leave out larger numbers of examples")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/calibration.json)")
    options = parser.parse_args(given)
    console = Console()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.only:
            counts = [count for count in COUNTS[name] if count <= options.most]
            data = Path(scratch) / f"{name}.npy"
            np.save(data, _examples(name, max(counts), options.mnist))
            turns = [
                (tool, count)
                for count in counts
                for tool in options.tools
                if (name, count) not in _OURS_ONLY or tool.startswith("graphopt")
            ]
            found = [
                _measured(tool, options.models / f"{name}.onnx", data, count, limit_s=options.limit)
                for tool, count in track(turns, name, transient=True)
            ]
            console.print(_table(found))
            runs += found
    settings = {"batch": BATCH, "limit_s": options.limit}
    console.print(
        f"record: {save_record('calibration', [asdict(run) for run in runs], settings=settings, path=options.json)}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
