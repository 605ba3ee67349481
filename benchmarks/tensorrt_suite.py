"""The ONNX backend suite as TensorRT networks: lowered layer by layer, beside those of NVIDIA's own ONNX parser.

For each case: whether a network is made, whether an engine of it is built, and whether the network, evaluated on the CPU, gives the
expected numbers. `as it is` leaves inputs as they are; `frozen` gives small integers and parameters as constants, as models in practice
have them. Cases run in worker processes; one that takes a worker down is a crash.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, numpy_helper
from rich.console import Console
from rich.table import Table

from benchmarks.measure import save_record
from benchmarks.tensorrt_networks import lowered, parsed, refusal
from benchmarks.workers import print_result, run_in_workers
from graphopt.ir import DType
from tests.onnx_suite import Case, load_cases

__all__ = ["frozen", "main"]

MAKERS = ("graphopt", "parser")
#: Operators whose inputs from the second one on are parameters.
PARAMETERS = (
    "BatchNormalization",
    "Clip",
    "DequantizeLinear",
    "GRU",
    "GroupNormalization",
    "InstanceNormalization",
    "LSTM",
    "Loop",
    "OneHot",
    "Pad",
    "QuantizeLinear",
    "RNN",
    "Resize",
    "Upsample",
)
LIMIT = 1e-3
#: A worker was taken down, or not done in time.
STOPPED = ("crash", "timeout")
#: For one case; on a busy machine a worker alone takes a minute to start.
SECONDS = 600.0


def frozen(case: Case) -> tuple[ModelProto, dict[str, Any]]:
    """Return a case's model with small integers and parameters as constants, and the inputs that are left."""
    model, given = copy.deepcopy(case.model), dict(case.data_sets[0].inputs)
    parameters = bool(model.graph.node) and model.graph.node[0].op_type in PARAMETERS
    for place, info in enumerate(list(model.graph.input)):
        array = given.get(info.name)
        if not isinstance(array, np.ndarray) or array.size > 64 or len(case.model.graph.input) < 2:
            continue
        if array.dtype.kind in "iu" or (parameters and place):
            tensor = numpy_helper.from_array(np.asarray(array, order="C"), info.name)
            model.graph.initializer.append(tensor)
            model.graph.input.remove(info)
            del given[info.name]
    return model, given


def _judge(case: Case, maker: str, *, freeze: bool) -> tuple[str, str]:
    """Kind and reason: refused, or what of `built` and `equal` holds."""
    from graphopt.backends.tensorrt.api import load
    from graphopt.testing.tensorrt import NotEvaluated, evaluate

    given: dict[str, Any] = dict(case.data_sets[0].inputs)
    model, feeds = frozen(case) if freeze else (case.model, given)
    try:
        made = lowered(model) if maker == "graphopt" else parsed(model)
    except Exception as err:  # noqa: BLE001  a refusal is a result
        return "refused", str(err)
    reason = refusal(made, feeds)
    kind = "not built" if reason else "built"
    try:
        found = evaluate(load(), made.network, feeds, stored=made.stored)
    except NotEvaluated as err:
        return f"{kind}, not evaluated", reason or str(err)
    except Exception as err:  # noqa: BLE001  as above
        return f"{kind}, not evaluated", reason or f"{type(err).__name__}: {err}"
    for info, wanted in zip(case.model.graph.output, case.data_sets[0].outputs, strict=True):
        if not _same(found[info.name], wanted, case):
            return f"{kind}, other numbers", reason or info.name
    return f"{kind}, equal", reason


def _same(found: Any, wanted: Any, case: Case) -> bool:  # noqa: ANN401  arrays
    if not isinstance(wanted, np.ndarray) or found.shape != wanted.shape or wanted.dtype == object:
        return False
    if not DType.from_numpy(wanted.dtype).is_float:
        return bool(np.array_equal(found, wanted.astype(found.dtype)))
    step = float(ml_dtypes.finfo(wanted.dtype).eps)  # type: ignore[no-untyped-call]  # a half is rounded after each layer
    rtol, atol = max(case.rtol, LIMIT, 2 * step), max(case.atol, 1e-5)
    return bool(np.allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True))


def _work(listed: Path, maker: str, *, freeze: bool) -> None:
    cases = {case.name: case for case in load_cases()}
    for name in json.loads(listed.read_text(encoding="utf-8")):
        kind, reason = _judge(cases[name], maker, freeze=freeze)
        print_result(name, kind, reason)


def _measured(
    maker: str, form: str, names: Sequence[str], before: Mapping[str, Sequence[str]] | None
) -> dict[str, tuple[str, str]]:
    """Kind and reason by case. What took its worker down, or was not done in time, is tried once more: machines are busy at times.

    Args:
        maker: who makes the networks.
        form: of the cases.
        names: of the cases.
        before: what an earlier run found of those that were not built and equal, of which only such cases are tried again.
    """
    found: dict[str, tuple[str, str]] = {}
    todo = list(names)
    if before is not None:
        found = dict.fromkeys(names, ("built, equal", "")) | {name: (item[0], item[1]) for name, item in before.items()}
        todo = [name for name, (kind, _) in found.items() if kind in STOPPED]
    for title in (f"{maker}, {form}", f"{maker}, {form}, again"):
        arguments = ["--makers", maker, "--forms", form]
        found |= run_in_workers(title, "benchmarks.tensorrt_suite", arguments, todo, limit_s=SECONDS)
        todo = [name for name, (kind, _) in found.items() if kind in STOPPED]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_suite", description=__doc__)
    parser.add_argument("--makers", nargs="*", default=list(MAKERS))
    parser.add_argument("--only", help="cases whose names contain this")
    parser.add_argument("--forms", nargs="*", default=["frozen", "as it is"])
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/tensorrt_suite.json)")
    parser.add_argument(
        "--keep", action="store_true", help="keep what the record at --json has; what crashed there is tried again"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker is not None:
        _work(options.worker, options.makers[0], freeze=options.forms[0] == "frozen")
        return 0
    names = [case.name for case in load_cases() if case.data_sets and (options.only or "") in case.name]
    pytorch = {case.name for case in load_cases() if case.kind.startswith("pytorch")}
    console, record = Console(), dict[str, Any]()
    if options.keep and options.json is not None and options.json.is_file():
        record |= json.loads(options.json.read_text(encoding="utf-8"))["results"]
    heads = (
        "form",
        "networks by",
        "made",
        "built",
        "equal",
        "built and equal",
        "pytorch's built",
        "and equal",
        "other numbers",
        "crashed",
    )
    table = Table(*heads, title=f"{len(names):,} cases of the ONNX backend suite")
    for form in options.forms:
        for maker in options.makers:
            kept = record.get(f"{maker}, {form}")
            found = _measured(maker, form, names, kept["not_built_and_equal"] if kept else None)
            kinds = Counter(kind for kind, _ in found.values())
            crashed = sum(kinds[kind] for kind in STOPPED)
            built = {name for name, (kind, _) in found.items() if kind.startswith("built")}
            both = {name for name, (kind, _) in found.items() if kind == "built, equal"}
            counts = {
                "made": len(found) - kinds["refused"] - crashed,
                "built": len(built),
                "equal": sum(count for kind, count in kinds.items() if kind.endswith("equal")),
                "built and equal": len(both),
                "pytorch's built": len(built & pytorch),
                "and equal": len(both & pytorch),
                "other numbers": sum(count for kind, count in kinds.items() if kind.endswith("other numbers")),
                "crashed": crashed,
            }
            table.add_row(form, maker, *(f"{count:,}" for count in counts.values()))
            wrong = {name: item for name, item in found.items() if item[0] != "built, equal"}
            record[f"{maker}, {form}"] = {"counts": counts, "pytorch": len(pytorch), "not_built_and_equal": wrong}
    console.print(table)
    console.print(f"record: {save_record('tensorrt_suite', record, settings={'cases': len(names)}, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
