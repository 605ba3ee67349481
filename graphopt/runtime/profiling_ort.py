"""ONNX Runtime's own profiler: runs a model under it, and reads what it wrote.

Its file is a list of events with a start and a length in microseconds. Kernels of a branch or loop body lie inside the event of their If
or Loop; what a kernel took by itself is its length without those. The graph that ONNX Runtime made of the model is asked for too: only it
says which nodes a fused one reads and gives.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graphopt.errors import ExecutionError
from graphopt.runtime.base import Feeds

__all__ = ["KernelEvent", "KernelNode", "RawProfile", "median_run", "profile_session", "read_events"]

_SUFFIX: Final = "_kernel_time"
#: Events that ONNX Runtime keeps; what comes later is lost.
_MOST_EVENTS: Final = 900_000
_WARMUP: Final = 3


@dataclass(frozen=True, slots=True)
class KernelEvent:
    """A kernel that ran once.

    Attributes:
        name: of its node.
        op: operator.
        start: seconds since the run began.
        seconds: how long it took.
        own: without the kernels that ran inside it.
        depth: how many others it ran inside of.
        shape: type and shape of its first output.
    """

    name: str
    op: str
    start: float
    seconds: float
    own: float
    depth: int = 0
    shape: str = ""


@dataclass(frozen=True, slots=True)
class KernelNode:
    """A node of the graph that the runtime made, any subgraph included."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    activation: str = ""


@dataclass(frozen=True, slots=True)
class RawProfile:
    """What came back from the profiler.

    Attributes:
        runs: kernels of each run that counts, in the order in which they began.
        wall: seconds of each of these runs, as the caller sees it.
        plain: seconds of runs without the profiler.
        nodes: of the graph that was run; empty where it could not be had.
    """

    runs: tuple[tuple[KernelEvent, ...], ...]
    wall: tuple[float, ...]
    plain: tuple[float, ...] = ()
    nodes: tuple[KernelNode, ...] = ()


def profile_session(path: str, feeds: Feeds, threads: int, runs: int | None, seconds: float) -> RawProfile:
    """Run a model under the profiler of ONNX Runtime; to be called in a child process.

    Args:
        path: the model.
        feeds: its inputs.
        threads: within an operator.
        runs: that count; as many as fit in ``seconds`` when ``None``, three at least.
        seconds: for these runs.

    Raises:
        ExecutionError: if the model does not load or run.
    """
    import onnxruntime as ort  # here: only the child imports it

    from graphopt.runtime.onnxruntime_runner import ort_errors
    from graphopt.runtime.ort_values import to_ort

    with tempfile.TemporaryDirectory(prefix="graphopt-profile-", ignore_cleanup_errors=True) as folder:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        given = {name: to_ort(value) for name, value in feeds.items()}
        try:
            bare = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            plain = tuple(_run(bare, given, runs, seconds / 4))
        except ort_errors as err:
            raise ExecutionError(f"ONNX Runtime does not run {path}: {_one_line(err)}") from err
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "run")
        made = Path(folder) / "made.onnx"
        options.optimized_model_filepath = str(made)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "made.bin")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "256")
        try:
            session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            wall = _run(session, given, runs, seconds)
            written = session.end_profiling()
        except ort_errors as err:
            raise ExecutionError(f"ONNX Runtime does not run {path} under its profiler: {_one_line(err)}") from err
        events = json.loads(Path(written).read_text(encoding="utf-8"))
        return RawProfile(read_events(events)[-len(wall) :], tuple(wall), plain, tuple(_nodes(made)))


def _one_line(err: BaseException) -> str:
    return " ".join(str(err).split())[:500]


def _run(session: Any, feeds: dict[str, Any], runs: int | None, seconds: float) -> list[float]:  # noqa: ANN401 - untyped package
    """Seconds of each run that counts; the first few do not."""
    for _ in range(_WARMUP):
        start = time.perf_counter()
        session.run(None, feeds)
        last = time.perf_counter() - start
    wanted = runs if runs is not None else max(3, int(seconds / max(last, 1e-6)))
    wall = []
    for _ in range(min(wanted, 2000)):
        start = time.perf_counter()
        session.run(None, feeds)
        wall.append(time.perf_counter() - start)
    return wall


def read_events(events: list[dict[str, Any]]) -> tuple[tuple[KernelEvent, ...], ...]:
    """Kernels of each run, from the events of a profile.

    Args:
        events: as the profiler wrote them.
    """
    if len(events) > _MOST_EVENTS:
        raise ExecutionError(
            f"the profile has {len(events):,} events, more than the profiler keeps; ask for fewer runs"
        )
    whole = [item for item in events if item.get("cat") == "Session" and item.get("name") == "model_run"]
    kernels = [item for item in events if item.get("cat") == "Node" and str(item.get("name", "")).endswith(_SUFFIX)]
    kernels.sort(key=lambda item: (int(item["ts"]), -int(item["dur"])))
    found, place = [], 0
    for run in sorted(whole, key=lambda item: int(item["ts"])):
        begin, end = int(run["ts"]), int(run["ts"]) + int(run["dur"])
        inside = []
        while place < len(kernels) and int(kernels[place]["ts"]) <= end:
            if int(kernels[place]["ts"]) >= begin:
                inside.append(kernels[place])
            place += 1
        found.append(tuple(_nested(inside, begin)))
    return tuple(found)


def _nested(kernels: list[dict[str, Any]], begin: int) -> Iterator[KernelEvent]:
    """Kernels of one run, each with how deep it lies in others and what it took without those inside it."""
    inner = [0] * len(kernels)
    depth = [0] * len(kernels)
    open_: list[int] = []
    for place, item in enumerate(kernels):
        start = int(item["ts"])
        while open_ and int(kernels[open_[-1]]["ts"]) + int(kernels[open_[-1]]["dur"]) <= start:
            open_.pop()
        depth[place] = len(open_)
        if open_:
            inner[open_[-1]] += int(item["dur"])
        open_.append(place)
    for place, item in enumerate(kernels):
        details, length = item.get("args", {}), int(item["dur"])
        yield KernelEvent(
            str(item["name"]).removesuffix(_SUFFIX),
            str(details.get("op_name", "")),
            (int(item["ts"]) - begin) / 1e6,
            length / 1e6,
            max(0, length - inner[place]) / 1e6,
            depth[place],
            _shape(details.get("output_type_shape")),
        )


def _shape(stated: object) -> str:
    """The first of the types and shapes that an event states, as text."""
    first = stated[0] if isinstance(stated, list) and stated else None
    if not isinstance(first, dict) or not first:
        return ""
    kind, sizes = next(iter(first.items()))
    return f"{kind}[{','.join(map(str, sizes))}]"


def _nodes(path: Path) -> Iterator[KernelNode]:
    """Nodes of the graph that the runtime made, those of its subgraphs included; none where it wrote no file."""
    import onnx

    if not path.is_file():
        return
    graphs = [onnx.load(path, load_external_data=False).graph]
    while graphs:
        graph = graphs.pop()
        for index, node in enumerate(graph.node):
            graphs += [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
            activation = next((a.s.decode() for a in node.attribute if a.name == "activation"), "")
            name = node.name or f"{node.op_type}_{index}"
            domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}::"
            yield KernelNode(name, f"{domain}{node.op_type}", tuple(node.input), tuple(node.output), activation)


def median_run(raw: RawProfile) -> int:
    """The run in which the kernels took the median.

    Args:
        raw: it has a run.
    """
    totals = [sum(event.own for event in run) for run in raw.runs]
    middle = statistics.median_low(totals)
    return totals.index(middle)
