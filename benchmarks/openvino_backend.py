"""The OpenVINO backend of plugins/graphopt-openvino: how much of ONNX it gets right, and how fast real models are beside ONNX Runtime.

Two parts. Conformance: the node cases of the ONNX backend suite through the plugin, each right, refused with a reason, or wrong. Models:
each ``.onnx`` file of some folders, as it is and optimized at O2: whether OpenVINO takes it, how far its numbers are from those of ONNX
Runtime with its optimizer off, and the latency of both runtimes in turns.

``python -m benchmarks.openvino_backend FOLDER...`` writes ``benchmarks/out/openvino.json``; needs the plugin and ``openvino``. Inputs
are taken from ``--inputs FOLDER`` (``NAME.npz``), or generated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.compiler.saving import save_for
from graphopt.errors import ExecutionError, GraphoptError, UnsupportedOpError
from graphopt.numerics import Reassociates
from graphopt.runtime import Runner, RunOptions, Worker
from graphopt.runtime.base import Feeds, Outputs
from graphopt.runtime.latency import latency_ratio, measure_latency
from graphopt.runtime.runtimes import open_file
from graphopt.verify import CheckOptions, RuntimeOpener, check_equivalence, compare
from graphopt.verify.user_inputs import load_inputs
from tests.onnx_suite import Case, load_cases, mismatch

__all__ = ["conformance", "measure_model", "summary", "verdict_on"]

BACKEND = "openvino"
OUT = Path(__file__).parent / "out" / "openvino.json"
PACKAGES = ("graphopt", "openvino", "onnxruntime", "onnx", "numpy")
_LONGEST = 160
_NAME = re.compile(r"'[^']*'")


def verdict_on(case: Case, environment: Environment, worker: Worker, folder: Path) -> tuple[str, str]:
    """What becomes of a case of the suite: ``right``, ``refused``, ``failed`` while it ran, ``wrong`` or ``crashed``, and why.

    Args:
        case: the case.
        environment: has the plugin.
        worker: opens and runs what was made.
        folder: for files.
    """
    path = folder / "case.xml"
    backend = environment.backend(BACKEND)
    try:
        model = environment.legalized(environment.lift(case.model), BACKEND)
        save_for(backend, model, path, force=True)
    except UnsupportedOpError as err:
        return ("crashed" if "crashed in native code" in str(err) else "refused"), str(err)
    except GraphoptError as err:
        return "refused", str(err)
    arguments = (BACKEND, environment.plugins.runtimes.stated(BACKEND), str(path), RunOptions(threads=1))
    try:
        handle = worker.create(open_file, *arguments)
        for data in case.data_sets:
            found = cast(Outputs, worker.invoke(handle, "run", dict(data.inputs)))
            numbers: list[Any] = [*found.values()]
            wrong = mismatch(numbers, data.outputs, rtol=case.rtol, atol=case.atol)
            if wrong is not None and not _rounded(found, data.outputs):
                return "wrong", wrong
        worker.release(handle)
    except ExecutionError as err:
        return ("failed" if worker.alive else "crashed"), str(err)
    return "right", ""


def _rounded(found: Outputs, expected: Sequence[Any]) -> bool:
    """Whether numbers differ by rounding only, as graphopt's own check judges it: narrow floats scale the tolerance."""
    return len(found) == len(expected) and all(
        difference.status == "ok"
        for (name, value), wanted in zip(found.items(), expected, strict=True)
        for difference in compare(name, wanted, value, Reassociates())
    )


def conformance(environment: Environment, pattern: str = "") -> dict[str, tuple[str, str]]:
    """What becomes of each node case of the suite, and why.

    Args:
        environment: has the plugin.
        pattern: part of the names of the cases to run, all by default.
    """
    found: dict[str, tuple[str, str]] = {}
    worker = Worker()
    with tempfile.TemporaryDirectory() as folder:
        for case in load_cases():
            if case.kind != "node" or pattern not in case.name:
                continue
            if not worker.alive:
                worker.close()
                worker = Worker()
            found[case.name] = verdict_on(case, environment, worker, Path(folder))
    worker.close()
    return found


def summary(found: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Counts, reasons by how often they were given, and the names of what should not be.

    Example:
        >>> summary({"a": ("right", ""), "b": ("refused", "node 'n' (Det): no")})["reasons"]
        {'Det: no': 1}
    """
    return {
        "cases": len(found),
        "counts": dict(sorted(Counter(kind for kind, _ in found.values()).items())),
        "reasons": dict(Counter(_general(why) for kind, why in found.values() if kind == "refused").most_common()),
        "not_right": {
            name: f"{kind}: {_general(why)}" for name, (kind, why) in found.items() if kind not in ("right", "refused")
        },
    }


def _general(why: str) -> str:
    """A reason without the names of one model."""
    text = re.sub(r"^node '[^']*' \((\w+)\)", r"\1", why)
    return _NAME.sub("'...'", re.sub(r"\d+", "N", text))[:_LONGEST]


def measure_model(path: Path, inputs: Path | None, environment: Environment, *, seconds: float) -> list[dict[str, Any]]:
    """Rows of one model: as it is, and optimized for OpenVINO.

    Args:
        path: the model.
        inputs: folder with ``NAME.npz``.
        environment: has the plugin.
        seconds: time for the latency of each row.
    """
    brought = inputs / f"{path.stem}.npz" if inputs is not None else None
    given = brought if brought is not None and brought.is_file() else None
    return [_row(path, given, environment, level=level, seconds=seconds) for level in ("O0", "O2")]


def _row(path: Path, given: Path | None, environment: Environment, *, level: str, seconds: float) -> dict[str, Any]:
    from graphopt.compiler import optimize  # lazily: other parts do without

    row: dict[str, Any] = {"model": path.stem, "level": level, "emitted": False}
    options = CheckOptions(threads=1, samples=2)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "model.xml")
        start = time.perf_counter()
        try:
            result = optimize(path, level=level, target=BACKEND, check=False, plugins=environment.plugins)
            row["seconds_to_optimize"] = round(time.perf_counter() - start, 2)
            result.save(made)
        except GraphoptError as err:
            return row | {"reason": str(err)[:300]}
        row |= {"emitted": True, "nodes": result.report.nodes_after}
        runtime = cast("Any", environment.plugins.runtimes.stated(BACKEND))
        opener = RuntimeOpener(BACKEND, runtime, replace(options, isolate=True))
        verdict = check_equivalence(path, made, numerics=Reassociates(), inputs=given, options=options, opener=opener)
        row |= {"verdict": verdict.status, "reason": verdict.reason[:300]}
        row["largest_relative_difference"] = max((item.max_rel for item in verdict.worst), default=None)
        if verdict.status == "failed" or not verdict.samples:
            return row
        try:
            return row | _latency(path, made, given, environment, seconds)
        except GraphoptError as err:
            return row | {"latency_reason": str(err)[:300]}


def _latency(path: Path, made: Path, given: Path | None, environment: Environment, seconds: float) -> dict[str, Any]:
    """Both runtimes in turns, each with all that it does for speed, one thread each."""
    options = RunOptions(threads=1, optimize=True)
    with (
        RunnableFile(path, DEFAULT_BACKEND, environment) as first,
        RunnableFile(made, BACKEND, environment) as second,
        first.open(options) as ort,
        second.open(options) as openvino,
    ):
        feeds = _feeds(path, ort, given, environment)
        runners: dict[str, Runner] = {DEFAULT_BACKEND: ort, BACKEND: openvino}
        times = measure_latency(runners, dict.fromkeys(runners, feeds), seconds=seconds)
    ratio = latency_ratio(times[DEFAULT_BACKEND], times[BACKEND])
    return {
        "runs": times[BACKEND].runs,
        "milliseconds": {name: round(found.median * 1e3, 4) for name, found in times.items()},
        "speedup_over_onnxruntime": {
            "median": round(ratio.speedup, 3),
            "quartiles": [round(ratio.low, 3), round(ratio.high, 3)],
        },
    }


def _feeds(path: Path, runner: Runner, given: Path | None, environment: Environment) -> Feeds:
    from graphopt.verify import find_samples, model_hints  # lazily, as above

    if given is not None:
        return load_inputs(given, runner.inputs, runner.overridable)
    search = find_samples(runner, model_hints(environment.lift(path)), count=1, seed=0)
    if not search.samples:
        raise ExecutionError("found no inputs on which the model runs")
    return search.samples[0].feeds


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with .onnx files, or such files")
    parser.add_argument("--inputs", type=Path, help="folder with NAME.npz")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for the latency of each row")
    parser.add_argument("--no-suite", action="store_true", help="leave the conformance as it is in the record")
    parser.add_argument("--json", type=Path, default=OUT, help="the record")
    parser.add_argument("--cases", default="", help="run only cases whose names have this in them, and write nothing")
    options = parser.parse_args()
    environment = Environment()
    environment.plugins.load()
    if options.cases:
        print(json.dumps(summary(conformance(environment, options.cases)), indent=2))
        return
    known = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
    suite = known.get("conformance", {}) if options.no_suite else summary(conformance(environment))
    paths = [path for item in options.folders for path in ([item] if item.is_file() else sorted(item.glob("*.onnx")))]
    rows = []
    for path in paths:
        for row in measure_model(path, options.inputs, environment, seconds=options.seconds):
            rows.append(row)
            print(json.dumps(row))
    result = {
        "script": "python -m benchmarks.openvino_backend",
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
        "versions": {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "threads": 1,
        "conformance": suite,
        "models": rows or known.get("models", []),
    }
    options.json.parent.mkdir(exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(suite.get("counts", {})))


if __name__ == "__main__":
    main()
