"""Shape inference by graphopt, onnx and ONNX Runtime's script, for one model: `python -m benchmarks.shape_tools TOOL MODEL RESULT`.

Runs in a child process. Each tool is timed from its model in memory (a message, to graphopt its IR) until types are known there.
What it says of each value of the main graph is written as JSON: element type and sizes, expressions as Python text over names.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, ValueInfoProto

__all__ = ["TOOLS", "Claims", "main"]

#: Element type (0: unknown) and sizes by value: numbers, Python text over names, or None; None for an unknown rank.
Claims = dict[str, tuple[int, list[int | str | None] | None]]


def graphopt(model: ModelProto) -> tuple[float, Callable[[], Claims]]:
    """Walk the model once. It is lifted before, as it is for all that graphopt does."""
    from graphopt.backends.onnx.inference import OnnxTypes
    from graphopt.ir import SymbolicDim, TensorType
    from graphopt.serde import lift_model

    ir = lift_model(model)
    start = time.perf_counter()
    OnnxTypes().infer_model(ir)
    seconds = time.perf_counter() - start

    def claims() -> Claims:
        found: Claims = {}
        for node in ir.graph.nodes:
            for value in node.outputs:
                if isinstance(value.type, TensorType):
                    shape = value.type.shape
                    dims = (
                        None
                        if shape is None
                        else [
                            dim.format(lambda name: f"made_up_{name[1:]}" if name.startswith("?") else name)
                            if isinstance(dim, SymbolicDim)
                            else dim
                            for dim in shape
                        ]
                    )
                    found[value.name] = (int(value.type.dtype), dims)
        return found

    return seconds, claims


def onnx_inference(model: ModelProto) -> tuple[float, Callable[[], Claims]]:
    """``onnx.shape_inference`` with data propagation."""
    start = time.perf_counter()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    seconds = time.perf_counter() - start
    return seconds, lambda: _stated([*inferred.graph.value_info, *inferred.graph.output])


def ort_inference(model: ModelProto) -> tuple[float, Callable[[], Claims]]:
    """``onnxruntime.tools.symbolic_shape_infer``."""
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    start = time.perf_counter()
    inferred = SymbolicShapeInference.infer_shapes(model, int_max=2**31 - 1, auto_merge=False, guess_output_rank=False)
    seconds = time.perf_counter() - start
    return seconds, lambda: _stated([*inferred.graph.value_info, *inferred.graph.output])


def _stated(infos: Iterable[ValueInfoProto]) -> Claims:
    found: Claims = {}
    for info in infos:
        if not info.type.HasField("tensor_type"):
            continue
        tensor = info.type.tensor_type
        dims: list[int | str | None] | None = None
        if tensor.HasField("shape"):
            dims = [
                dim.dim_param if dim.dim_param else dim.dim_value if dim.HasField("dim_value") else None
                for dim in tensor.shape.dim
            ]
        found[info.name] = (tensor.elem_type, dims)
    return found


TOOLS: dict[str, Callable[[ModelProto], tuple[float, Callable[[], Claims]]]] = {
    "graphopt": graphopt,
    "onnx": onnx_inference,
    "onnxruntime": ort_inference,
}


def main(argv: list[str]) -> int:
    """Infer three times in this process; the first run pays for imports and caches and is kept apart."""
    tool, source, target = argv
    infer = TOOLS[tool]
    taken: list[float] = []
    record: dict[str, Any] = {}
    claims: Claims = {}
    try:
        for _ in range(3):
            model = onnx.load(source)
            seconds, read = infer(model)
            taken.append(seconds)
            claims = read()
        record = {"status": "ok", "first_s": taken[0], "seconds": taken[1:], "claims": claims}
    except Exception as err:  # noqa: BLE001  whatever a tool raises is its result
        record = {"status": "exception", "reason": f"{type(err).__name__}: {err}"[:300]}
    Path(target).write_text(json.dumps(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
