"""The measured quantizers, each as one function from a case to a model file, and the process that runs one of them.

A case is a folder: `model.onnx`; `calibrate.npz` and `test.npz` with an array for each input, samples along the first axis; `labels.npz`
with the classes of the test samples where there are some. `python -m benchmarks.quantizers TOOL CASE OUT RESULT` is started as a child
process by `benchmarks.quantization`.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.tools import peak_bytes

__all__ = ["QUANTIZERS", "Quantizer", "batches", "main", "read_arrays"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Quantizer:
    """One measured quantizer: what is imported before the clock starts, and the function that is timed."""

    modules: tuple[str, ...]
    function: Callable[[Path, Path, int], object]


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name."""
    with np.load(path) as found:
        return dict(found)


def batches(arrays: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """Give feeds of `size` samples; a last one that is not full is left out unless it is the only one."""
    count = min(len(array) for array in arrays.values())
    for start in range(0, max(count - size, 0) + 1, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


class _Reader:
    """ONNX Runtime's reader of calibration data."""

    def __init__(self, case: Path, size: int) -> None:
        self._arrays, self._size = read_arrays(case / "calibrate.npz"), size
        self._rest = batches(self._arrays, size)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._rest, None)

    def rewind(self) -> None:
        self._rest = batches(self._arrays, self._size)


def _graphopt(case: Path, target: Path, size: int, **options: object) -> None:
    graphopt: Any = importlib.import_module("graphopt")
    feeds = list(batches(read_arrays(case / "calibrate.npz"), size))
    graphopt.quantize(str(case / "model.onnx"), feeds, **options).save(target)


def _preprocessed(case: Path, folder: str) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = Path(folder) / "prepared.onnx"
    for symbolic in (True, False):  # symbolic shape inference fails on some models
        try:
            quant_pre_process(str(case / "model.onnx"), str(prepared), skip_symbolic_shape=not symbolic)
        except Exception:  # noqa: BLE001
            if not symbolic:
                return case / "model.onnx"
        else:
            break
    return prepared


def _ort_static(case: Path, target: Path, size: int, *, method: str, per_channel: bool) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        quantize_static(
            str(_preprocessed(case, folder)),
            str(target),
            _Reader(case, size),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )


def _ort_dynamic(case: Path, target: Path, size: int) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del size
    with tempfile.TemporaryDirectory() as folder:
        quantize_dynamic(str(_preprocessed(case, folder)), str(target), per_channel=True, weight_type=QuantType.QInt8)


def _onnxsim(case: Path, target: Path, size: int, *, method: str) -> None:
    import onnx

    onnxsim: Any = importlib.import_module("onnxsim")
    model, _ = onnxsim.simplify(onnx.load(case / "model.onnx"))
    feeds = list(batches(read_arrays(case / "calibrate.npz"), size))
    onnx.save(onnxsim.quantize_static(model, feeds, method=method), target)


def _onnxsim_dynamic(case: Path, target: Path, size: int) -> None:
    import onnx

    del size
    onnxsim: Any = importlib.import_module("onnxsim")
    model, _ = onnxsim.simplify(onnx.load(case / "model.onnx"))
    onnx.save(onnxsim.quantize_dynamic(model), target)


def _neural_compressor(case: Path, target: Path, size: int) -> None:
    quantization: Any = importlib.import_module("onnx_neural_compressor.quantization")
    config: Any = importlib.import_module("onnx_neural_compressor.quantization.config")
    chosen = config.StaticQuantConfig(
        calibration_data_reader=_Reader(case, size), quant_format=quantization.QuantFormat.QDQ, per_channel=True
    )
    quantization.quantize(str(case / "model.onnx"), str(target), chosen)


_ORT = ("onnxruntime", "onnxruntime.quantization")
QUANTIZERS: dict[str, Quantizer] = {
    "graphopt": Quantizer(("graphopt",), _graphopt),
    "graphopt static": Quantizer(("graphopt",), partial(_graphopt, form="static")),
    "graphopt dynamic": Quantizer(("graphopt",), partial(_graphopt, form="dynamic")),
    "onnxruntime MinMax": Quantizer(_ORT, partial(_ort_static, method="MinMax", per_channel=True)),
    "onnxruntime Entropy": Quantizer(_ORT, partial(_ort_static, method="Entropy", per_channel=True)),
    "onnxruntime Percentile": Quantizer(_ORT, partial(_ort_static, method="Percentile", per_channel=True)),
    "onnxruntime MinMax, per tensor": Quantizer(_ORT, partial(_ort_static, method="MinMax", per_channel=False)),
    "onnxruntime dynamic": Quantizer(_ORT, _ort_dynamic),
    "onnxsim minmax": Quantizer(("onnx", "onnxsim"), partial(_onnxsim, method="minmax")),
    "onnxsim auto": Quantizer(("onnx", "onnxsim"), partial(_onnxsim, method="auto")),
    "onnxsim dynamic": Quantizer(("onnx", "onnxsim"), _onnxsim_dynamic),
    "neural compressor": Quantizer(("onnx_neural_compressor.quantization",), _neural_compressor),
}
"""Quantizers by the name in the tables; the best of ONNX Runtime's and of onnxsim's is what graphopt is compared with."""


def main(argv: list[str] | None = None) -> int:
    """Run one quantizer on one case and write what it took."""
    name, case, target, result = sys.argv[1:] if argv is None else argv
    tool = QUANTIZERS[name]
    size = json.loads(Path(case, "case.json").read_text(encoding="utf-8"))["batch"]
    start = time.perf_counter()
    record: dict[str, object] = {"status": "ok", "reason": ""}
    try:
        for module in tool.modules:
            importlib.import_module(module)
    except ImportError as err:
        record = {"status": "skipped", "reason": f"not installed: {err}"}
    imported = time.perf_counter()
    if record["status"] == "ok":
        try:
            tool.function(Path(case), Path(target), size)
        except Exception as err:  # noqa: BLE001  a tool's failure is a result here
            record = {"status": "exception", "reason": f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]}
    done = time.perf_counter()
    record |= {"import_seconds": imported - start, "seconds": done - imported, "peak_bytes": peak_bytes()}
    Path(result).write_text(json.dumps(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
