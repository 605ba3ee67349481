"""From two models and inputs to how far apart their numbers are, and how long each takes, in ONNX Runtime.

Numbers are compared with ONNX Runtime's own optimizer off, so that a difference is the measured tool's; latencies are
taken with everything on, as a user runs it, in interleaved turns, so that a busy machine slows both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

__all__ = ["count_nodes", "difference", "draw_inputs", "latencies", "outputs", "session"]

Array = npt.NDArray[Any]
DTYPES = {"float": np.float32, "float16": np.float16, "double": np.float64, "int64": np.int64, "int32": np.int32}


def count_nodes(model: Path) -> int:
    """Return the number of nodes of a model, those of subgraphs and functions included."""
    proto = onnx.load(model, load_external_data=False)
    open_: list[onnx.GraphProto | onnx.FunctionProto] = [proto.graph, *proto.functions]
    count = 0
    while open_:
        nodes = open_.pop().node
        count += len(nodes)
        attributes = [attribute for node in nodes for attribute in node.attribute]
        open_ += [attribute.g for attribute in attributes if attribute.type == onnx.AttributeProto.GRAPH]
        open_ += [graph for attribute in attributes for graph in attribute.graphs]
    return count


def session(model: Path | bytes, *, optimize: bool, threads: int = 2) -> Any:  # noqa: ANN401  untyped package
    """Return an ONNX Runtime session on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle sessions leave the cores alone
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def outputs(model: Path | bytes, inputs: Mapping[str, Array]) -> list[object]:
    """Return the outputs of a model as it stands, ONNX Runtime's optimizer off."""
    result: list[object] = session(model, optimize=False).run(None, dict(inputs))
    return result


def draw_inputs(model: Path | bytes, *, dynamic: int = 2, seed: int = 0) -> dict[str, Array]:
    """Return seeded inputs for models without inputs of their own: normal floats, zero integers, True booleans.

    Args:
        model: the model, as a file or as bytes.
        dynamic: size of every dimension that the model leaves open.
        seed: of the floats.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, Array] = {}
    for value in session(model, optimize=False).get_inputs():
        shape = [size if isinstance(size, int) else dynamic for size in value.shape]
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        if kind == "bool":
            drawn[value.name] = np.ones(shape, np.bool_)
        elif kind.startswith("int"):
            drawn[value.name] = np.zeros(shape, DTYPES[kind])
        else:
            drawn[value.name] = rng.standard_normal(shape).astype(DTYPES[kind])
    return drawn


def difference(actual: Sequence[object], expected: Sequence[object]) -> float:
    """Return the largest difference of two lists of outputs, relative to each output's own largest magnitude.

    Infinite when counts, types, shapes, strings, booleans or the places of NaN and infinity differ.
    """
    if len(actual) != len(expected):
        return float("inf")
    return max((_difference(a, e) for a, e in zip(actual, expected, strict=True)), default=0.0)


def _difference(actual: object, expected: object) -> float:
    if isinstance(expected, list) and isinstance(actual, list):
        return difference(actual, expected)
    if isinstance(expected, dict) and isinstance(actual, dict):  # ZipMap of classifiers
        return (
            difference(list(actual.values()), list(expected.values())) if actual.keys() == expected.keys() else np.inf
        )
    a, e = np.asarray(actual), np.asarray(expected)
    if a.shape != e.shape or a.dtype != e.dtype:
        return float("inf")
    if a.dtype.kind not in "fiuc":
        return 0.0 if bool(np.array_equal(a, e)) else float("inf")
    finite = np.isfinite(e)
    if not np.array_equal(np.isfinite(a), finite) or not np.array_equal(a[~finite], e[~finite], equal_nan=True):
        return float("inf")
    x, y = a[finite].astype(np.float64), e[finite].astype(np.float64)
    scale = float(np.abs(y).max(initial=0.0)) or 1.0
    return float(np.abs(x - y).max(initial=0.0)) / scale


def latencies(
    models: Mapping[str, Path | bytes], inputs: Mapping[str, Array], *, threads: int = 2, seconds: float = 2.0
) -> dict[str, list[float]]:
    """Return milliseconds of one run of each model by turn, ONNX Runtime with everything on, in interleaved turns.

    Args:
        models: files or bytes by name.
        inputs: fed to all of them.
        threads: of each session.
        seconds: the whole measurement's length, rounded up to 7 turns; a turn is as many runs as take about 20 ms.
    """
    sessions = {name: session(model, optimize=True, threads=threads) for name, model in models.items()}
    feeds = dict(inputs)
    longest = 0.0
    for each in sessions.values():
        each.run(None, feeds)
        start = time.perf_counter()
        each.run(None, feeds)
        longest = max(longest, time.perf_counter() - start)
    runs = max(1, int(0.02 / max(longest, 1e-6)))
    turns = max(7, int(seconds / (longest * (runs + 1) * len(sessions) + 1e-9)))
    names = list(sessions)
    taken: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(min(turns, 200)):
        shift = turn % len(sessions)
        for name in [*names[shift:], *names[:shift]]:
            sessions[name].run(None, feeds)  # brings the weights back into the caches, whoever ran before
            taken[name].append(1e3 * _mean_seconds(sessions[name], feeds, runs))
    return taken


def _mean_seconds(runner: Any, feeds: dict[str, Array], runs: int) -> float:  # noqa: ANN401  untyped package
    start = time.perf_counter()
    for _ in range(runs):
        runner.run(None, feeds)
    return (time.perf_counter() - start) / runs
