"""The ONNX backend suite as values: every case with its model, its inputs and its expected outputs.

The 2,024 cases are those of `onnx.backend.test`: the node cases that its Python modules make, and the recorded ones in
`data/{simple,pytorch-converted,pytorch-operator}`. Nothing is downloaded. The node cases draw random inputs while they
are collected; the loader seeds numpy's global generator for that, so that each run sees the same numbers, and restores
it.

Imports numpy and onnx; ONNX Runtime only inside the functions that run a model with it. `python -m tests.onnx_suite`
writes the list of the cases that the installed ONNX Runtime runs correctly.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, TypeProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase

__all__ = [
    "ORT_CORRECT_FILE",
    "Case",
    "DataSet",
    "Datum",
    "load_cases",
    "mismatch",
    "ort_correct_names",
    "ort_runs_correctly",
    "run_with_ort",
    "write_ort_correct_names",
]

Tensor: TypeAlias = npt.NDArray[Any]
Datum: TypeAlias = "Tensor | list[Datum] | None"
"""One input or output: a tensor, a sequence (list), or an optional without a value (None)."""

ORT_CORRECT_FILE = Path(__file__).parent / "data" / "ort_correct_cases.txt"
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")
SEED = 20261101


@dataclass(frozen=True, slots=True)
class DataSet:
    """Inputs by name and the expected outputs in the order of the graph's outputs."""

    inputs: Mapping[str, Datum]
    outputs: Sequence[Datum]


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the suite. The model is shared between callers: copy it before changing it."""

    name: str
    kind: str
    model: ModelProto
    data_sets: tuple[DataSet, ...]
    rtol: float
    atol: float


@functools.cache
def load_cases() -> list[Case]:
    """Return the 2,024 cases, sorted by kind and name; collected once per process (about six seconds)."""
    cases = [*_node_cases(), *(case for folder in FOLDERS for case in _recorded_cases(folder))]
    return sorted(cases, key=lambda case: (case.kind, case.name))


def ort_correct_names() -> list[str]:
    """Return the names of the cases that ONNX Runtime runs correctly, from the committed list."""
    lines = ORT_CORRECT_FILE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def write_ort_correct_names() -> int:
    """Write the names of the cases that the installed ONNX Runtime runs correctly, and return how many they are."""
    import onnxruntime as ort  # a heavy import that the loader alone does not need

    cases = load_cases()
    names = sorted(case.name for case in cases if ort_runs_correctly(case))
    header = [
        f"# Cases of the backend suite of onnx {onnx.__version__} that ONNX Runtime {ort.__version__} runs correctly:",
        f"# {len(names)} of {len(cases)}. Written by `python -m tests.onnx_suite`.",
    ]
    ORT_CORRECT_FILE.write_text("\n".join([*header, *names, ""]), encoding="utf-8")
    return len(names)


def run_with_ort(model: ModelProto | bytes, inputs: Mapping[str, Datum], *, optimize: bool = True) -> list[Datum]:
    """Return the outputs that ONNX Runtime computes on the CPU with one thread.

    Args:
        model: the model, or its serialized bytes.
        inputs: one value per graph input.
        optimize: False switches ONNX Runtime's own graph optimizer off.

    Raises:
        Exception: whatever ONNX Runtime raises on a model that it refuses or fails to run.
    """
    import onnxruntime as ort  # a heavy import that the loader alone does not need

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    outputs: list[Datum] = session.run(None, dict(inputs))
    return outputs


def ort_runs_correctly(case: Case) -> bool:
    """Tell whether ONNX Runtime runs the case's model and gives the expected numbers on every data set."""
    for data_set in case.data_sets:
        try:
            outputs = run_with_ort(case.model, data_set.inputs)
        except Exception:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
            return False
        if mismatch(outputs, data_set.outputs, rtol=case.rtol, atol=case.atol) is not None:
            return False
    return True


def mismatch(actual: Sequence[Datum], expected: Sequence[Datum], *, rtol: float, atol: float) -> str | None:
    """Return what differs between two lists of outputs, or None when they agree in count, shape, dtype and numbers."""
    if len(actual) != len(expected):
        return f"{len(actual)} outputs, expected {len(expected)}"
    for index, (a, e) in enumerate(zip(actual, expected, strict=True)):
        reason = _datum_mismatch(a, e, rtol=rtol, atol=atol)
        if reason is not None:
            return f"output {index}: {reason}"
    return None


def _datum_mismatch(actual: Datum, expected: Datum, *, rtol: float, atol: float) -> str | None:
    if actual is None or expected is None:
        return None if actual is expected else f"{type(actual).__name__}, expected {type(expected).__name__}"
    if isinstance(actual, list) or isinstance(expected, list):
        if not (isinstance(actual, list) and isinstance(expected, list)):
            return f"{type(actual).__name__}, expected {type(expected).__name__}"
        return mismatch(actual, expected, rtol=rtol, atol=atol)
    a, e = np.asarray(actual), np.asarray(expected)
    if a.shape != e.shape or a.dtype != e.dtype:
        return f"{a.dtype}{list(a.shape)}, expected {e.dtype}{list(e.shape)}"
    if a.dtype.kind in "OSUb":
        return None if bool(np.array_equal(a, e)) else "other values"
    wide = "c16" if a.dtype.kind == "c" else "f8"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN of a narrow float, cast to a wide one
        x, y = a.astype(wide), e.astype(wide)
    if np.allclose(x, y, rtol=rtol, atol=atol, equal_nan=True):
        return None
    return f"other values, largest difference {float(np.nanmax(np.abs(x - y))):.3g}"


def _node_cases() -> list[Case]:
    state = np.random.get_state()  # noqa: NPY002  the suite draws from the global generator
    np.random.seed(SEED)  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # casts that overflow on purpose
            from onnx.backend.test.case.node import collect_testcases  # imports every case module

            collected = collect_testcases(None)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return [_node_case(case) for case in collected]


def _node_case(case: TestCase) -> Case:
    model, data_sets = case.model, case.data_sets
    assert model is not None
    assert data_sets is not None
    pairs = tuple(_data_set(model, inputs, outputs) for inputs, outputs in data_sets)
    return Case(case.name, "node", model, pairs, case.rtol, case.atol)


def _data_set(model: ModelProto, inputs: Sequence[object], outputs: Sequence[object]) -> DataSet:
    names = [value.name for value in model.graph.input]
    return DataSet(dict(zip(names, map(_datum, inputs), strict=False)), [_datum(value) for value in outputs])


def _datum(value: object) -> Datum:
    if value is None:
        return None
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, list | tuple):
        return [_datum(item) for item in value]
    return np.asarray(value)


def _recorded_cases(folder: str) -> list[Case]:
    root = Path(onnx.__file__).parent / "backend" / "test" / "data" / folder
    return [_recorded_case(path.parent, folder) for path in sorted(root.glob("*/model.onnx"))]


def _recorded_case(path: Path, kind: str) -> Case:
    model = onnx.load(path / "model.onnx")
    settings = json.loads((path / "data.json").read_text("utf-8")) if (path / "data.json").exists() else {}
    data_sets = []
    for folder in sorted(path.glob("test_data_set_*"), key=lambda p: int(p.name.rsplit("_", 1)[1])):
        inputs = {
            value.name: _read_datum(folder / f"input_{index}.pb", value.type)
            for index, value in enumerate(model.graph.input)
            if (folder / f"input_{index}.pb").exists()
        }
        outputs = [
            _read_datum(folder / f"output_{index}.pb", value.type) for index, value in enumerate(model.graph.output)
        ]
        data_sets.append(DataSet(inputs, outputs))
    rtol, atol = float(settings.get("rtol", 1e-3)), float(settings.get("atol", 1e-7))
    return Case(path.name, kind, model, tuple(data_sets), rtol, atol)


def _read_datum(path: Path, kind: TypeProto) -> Datum:
    data = path.read_bytes()
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        items: list[Datum] = list(numpy_helper.to_list(onnx.SequenceProto.FromString(data)))
        return items
    if which == "optional_type":
        value: Datum = numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
        return value
    return numpy_helper.to_array(TensorProto.FromString(data))


if __name__ == "__main__":
    print(write_ort_correct_names(), "cases in", ORT_CORRECT_FILE)  # noqa: T201
