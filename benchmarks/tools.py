"""The measured tools, each as one function from a model file to a model file, and the process that runs one of them.

`python -m benchmarks.tools TOOL IN OUT RESULT` imports what the tool needs, then loads, optimizes and saves, and writes
to RESULT (JSON) the seconds of both steps and the peak of the resident memory. It is started as a child process by
`benchmarks.measure`, since a tool may crash or never end. Every tool runs with its defaults; the process has no other
work, so that its time and memory are the tool's alone. A model of one node goes first, untimed: tools that import what
they need when they need it are measured as those are that import it at once (`benchmarks.start` measures imports).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["PEERS", "TOOLS", "Tool", "main", "peak_bytes", "warm_up"]

Optimizer = Callable[[str, str], object]
MAX_PROTOBUF = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tool:
    """One measured tool: the modules that are imported before the clock starts, and the function that is timed."""

    modules: tuple[str, ...]
    function: Optimizer
    package: str


def _graphopt(source: str, target: str, *, level: str) -> None:
    graphopt: Any = importlib.import_module("graphopt")
    graphopt.optimize(source, level=level, check=False).save(target)


def _graphopt_checked(source: str, target: str, *, level: str) -> None:
    graphopt: Any = importlib.import_module("graphopt")
    graphopt.optimize(source, level=level).save(target)


def _onnxruntime(source: str, target: str) -> None:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = target
    options.log_severity_level = 4
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _onnxscript(source: str, target: str) -> None:
    import onnx

    optimizer: Any = importlib.import_module("onnxscript.optimizer")
    onnx.save(optimizer.optimize(onnx.load(source)), target)


def _onnxslim(source: str, target: str) -> None:
    import onnx

    onnxslim: Any = importlib.import_module("onnxslim")
    onnx.save(onnxslim.slim(onnx.load(source)), target)


def _onnxsim(source: str, target: str) -> None:
    import onnx

    onnxsim: Any = importlib.import_module("onnxsim")
    model, _ = onnxsim.simplify(onnx.load(source))
    onnx.save(model, target)


def _onnxoptimizer(source: str, target: str) -> None:
    import onnx

    onnxoptimizer: Any = importlib.import_module("onnxoptimizer")
    onnx.save(onnxoptimizer.optimize(onnx.load(source)), target)


def _graphsurgeon(source: str, target: str) -> None:
    import onnx

    gs: Any = importlib.import_module("onnx_graphsurgeon")
    graph = gs.import_onnx(onnx.load(source))
    onnx.save(gs.export_onnx(graph.fold_constants().cleanup().toposort()), target)


def _shape_inference(source: str, target: str) -> None:
    import onnx

    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), target)


def _nothing(source: str, target: str) -> None:
    del source, target


TOOLS: dict[str, Tool] = {
    "graphopt O1": Tool(("graphopt",), partial(_graphopt, level="O1"), "graphopt"),
    "graphopt O2": Tool(("graphopt",), partial(_graphopt, level="O2"), "graphopt"),
    "graphopt O3": Tool(("graphopt",), partial(_graphopt, level="O3"), "graphopt"),
    "graphopt O2 checked": Tool(("graphopt",), partial(_graphopt_checked, level="O2"), "graphopt"),
    "onnxruntime": Tool(("onnxruntime",), _onnxruntime, "onnxruntime"),
    "onnxscript": Tool(("onnx", "onnxscript.optimizer"), _onnxscript, "onnxscript"),
    "onnxslim": Tool(("onnx", "onnxslim"), _onnxslim, "onnxslim"),
    "onnxsim": Tool(("onnx", "onnxsim"), _onnxsim, "onnxsim"),
    "onnxoptimizer": Tool(("onnx", "onnxoptimizer"), _onnxoptimizer, "onnxoptimizer"),
    "graphsurgeon": Tool(("onnx", "onnx_graphsurgeon"), _graphsurgeon, "onnx-graphsurgeon"),
    "shape inference": Tool(("onnx",), _shape_inference, "onnx"),
    "imports alone": Tool(("onnx", "onnxruntime"), _nothing, "onnx"),
}
"""Tools by the name in the tables. "shape inference" is ONNX's own, for scale; "imports alone" is the memory's zero."""

PEERS = ("onnxruntime", "onnxscript", "onnxslim", "onnxsim", "onnxoptimizer", "graphsurgeon")


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far, in bytes.

    Linux's VmHWM when there is one: `ru_maxrss` of a child process starts at what its parent held when it was started.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), "")
        if line:
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def warm_up(tool: Tool) -> None:
    """Run a tool on a model of one node; what comes of it, and how it fails, is nobody's concern."""
    if tool.function is _nothing:
        return
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
        source = Path(folder, "one.onnx")
        onnx.save(model, source)
        tool.function(str(source), str(Path(folder, "out.onnx")))


def main(argv: list[str] | None = None) -> int:
    """Run one tool on one model and write what it took."""
    name, source, target, result = sys.argv[1:] if argv is None else argv
    tool = TOOLS[name]
    start = time.perf_counter()
    for module in tool.modules:
        importlib.import_module(module)
    warm_up(tool)
    imported = time.perf_counter()
    record: dict[str, object] = {"status": "ok", "reason": ""}
    try:
        tool.function(source, target)
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        record = {"status": "exception", "reason": f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]}
    done = time.perf_counter()
    record |= {"import_seconds": imported - start, "seconds": done - imported, "peak_bytes": peak_bytes()}
    Path(result).write_text(json.dumps(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
