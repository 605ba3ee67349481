"""A profile of a model: ONNX Runtime's profiler in a child process, its events mapped back to nodes, and the rewrites that would help."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from graphopt.analysis.model_survey import label_of, origins_of
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.compiler.feeding import feeds_for
from graphopt.compiler.profiling_advice import Change, advice_by_kernel, find_changes
from graphopt.compiler.result import Optimized
from graphopt.errors import ExecutionError
from graphopt.ir import Model, Node
from graphopt.plugin_manager import PluginManager
from graphopt.runtime import RunOptions, run_isolated
from graphopt.runtime.base import Feeds
from graphopt.runtime.profiling import Kernel, Profile, Span, group_by
from graphopt.runtime.profiling_nodes import match_kernels
from graphopt.runtime.profiling_ort import KernelEvent, RawProfile, median_run, profile_session
from graphopt.runtime.profiling_patterns import REMARKS, kind_of, spelt_patterns
from graphopt.verify import check_inputs

__all__ = ["profile"]

_NO_REMARK = "nothing would: no rule applies"


def profile(
    source: object,
    *,
    inputs: str | os.PathLike[str] | Feeds | None = None,
    runs: int | None = None,
    seconds: float = 2.0,
    threads: int = 1,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    advise: bool = True,
    plugins: PluginManager | None = None,
) -> Profile:
    """Where the time of a model goes in ONNX Runtime with all its optimizations on, and what would help.

    Args:
        source: path, bytes, ``ModelProto``, IR, :class:`Optimized`, or what a plugin's frontend accepts.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        runs: that count, as many as fit in ``seconds`` when ``None``.
        seconds: for the runs.
        threads: within an operator.
        seed: of drawn inputs.
        sizes: sizes of dynamic dimensions of drawn inputs, by name.
        advise: whether the rewrites that would help are looked for, by optimizing a copy of the model.
        plugins: where frontends and passes come from.

    Raises:
        ModelError: if the model is broken.
        ExecutionError: if it does not run, the inputs do not fit, or a number is too small.

    Example:
        >>> from graphopt.data import digits_model
        >>> found = profile(digits_model(), runs=3)
        >>> found.by_pattern[0].name in ("convolution", "matrix product", "layout change", "elementwise", "pooling")
        True
    """
    for name, number, least in (("seed", seed, 0), ("threads", threads, 1), ("runs", 1 if runs is None else runs, 1)):
        expect_type(name, number, int, "a whole number")
        if number < least:
            raise ExecutionError(f"{name} is {number}, expected {least} or more")
    environment = Environment(plugins)
    given = source.model if isinstance(source, Optimized) else source
    with RunnableFile(given, DEFAULT_BACKEND, environment) as file:
        if file.suffix != ".onnx":
            raise ExecutionError(f"backend {file.backend!r} has no profiler")
        with RunnableFile(Path(file.path), DEFAULT_BACKEND, environment) as saved:
            feeds = _feeds(saved, environment, inputs, seed, dict(sizes or {}))
        raw = run_isolated(profile_session, file.path, feeds, threads, runs, seconds)
        model = environment.lift(Path(file.path))
        name = file.source
    known = _known_origins(given)
    return _assembled(name, threads, raw, model, find_changes(model, environment) if advise else None, known)


def _feeds(
    file: RunnableFile,
    environment: Environment,
    inputs: str | os.PathLike[str] | Feeds | None,
    seed: int,
    sizes: Mapping[str, int],
) -> Feeds:
    with file.open(RunOptions(low_memory=True), isolate=True) as runner:
        if isinstance(inputs, Mapping):
            return check_inputs(inputs, runner.inputs, runner.overridable, where="inputs")
        path = None if inputs is None else Path(inputs)
        return feeds_for(file, runner, environment=environment, inputs=path, seed=seed, sizes=sizes)


def _assembled(
    name: str,
    threads: int,
    raw: RawProfile,
    model: Model,
    changes: Sequence[Change] | None,
    known: Mapping[str, tuple[str, ...]],
) -> Profile:
    times: dict[tuple[str, str], list[float]] = {}
    first: dict[tuple[str, str], KernelEvent] = {}
    calls: dict[tuple[str, str], int] = defaultdict(int)
    for index, run in enumerate(raw.runs):
        for event in run:
            key = event.name, event.op
            times.setdefault(key, [0.0] * len(raw.runs))[index] += event.own
            calls[key] += 1
            first.setdefault(key, event)
    medians = {key: statistics.median(values) for key, values in times.items()}
    total = sum(medians.values())
    standing, beside = match_kernels(raw.nodes, model)
    advice = advice_by_kernel(changes or (), standing, beside)
    spelt = spelt_patterns(model)
    domains = {node.name: node.op for node in raw.nodes}
    order = sorted(medians, key=lambda key: -medians[key])
    kernels = []
    for key in order:
        mine = standing.get(key[0]) or beside.get(key[0], ())
        op = domains.get(key[0], key[1])
        kernels.append(
            Kernel(
                name=key[0],
                op=op,
                seconds=medians[key],
                share=medians[key] / total if total else 0.0,
                calls=calls[key] / len(raw.runs),
                pattern=kind_of(op, mine, spelt),
                nodes=tuple(label_of(node) for node in mine),
                ops=tuple(node.op for node in mine),
                origins=_origins(mine, known),
                shape=first[key].shape,
                advice=advice.get(key[0], ()),
            )
        )
    places = {key: place for place, key in enumerate(order)}
    chosen = raw.runs[median_run(raw)] if raw.runs else ()
    timeline = tuple(Span(places[event.name, event.op], event.start, event.seconds, event.depth) for event in chosen)
    return Profile(
        model=name,
        backend=DEFAULT_BACKEND,
        threads=threads,
        runs=len(raw.runs),
        wall_seconds=statistics.median(raw.plain or raw.wall),
        profiled_seconds=statistics.median(raw.wall),
        kernel_seconds=total,
        kernels=tuple(kernels),
        by_op=group_by(kernels, lambda kernel: kernel.op, lambda op: "" if changes is None else _NO_REMARK),
        by_pattern=group_by(
            kernels,
            lambda kernel: kernel.pattern,
            lambda kind: "" if changes is None else REMARKS.get(kind, _NO_REMARK),
        ),
        timeline=timeline,
        notes=_notes(raw, kernels),
    )


def _known_origins(given: object) -> dict[str, tuple[str, ...]]:
    """Original nodes by node of a model in memory: a file of an old format does not say them."""
    if not isinstance(given, Model):
        return {}
    nodes = (node for owner in given.owners() for graph in owner.graph.walk_graphs() for node in graph.nodes)
    return {label_of(node): node.lineage.names() for node in nodes if node.has_own_lineage}


def _origins(nodes: Sequence[Node], known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Original nodes, where it is said that these were made of others; in a file, names with commas in them fall apart."""
    found: dict[str, None] = {}
    for node in nodes:
        in_memory = known.get(label_of(node))
        stated = in_memory if in_memory is not None else [n for text in origins_of(node) for n in text.split(",")]
        found.update(dict.fromkeys(stated))
    return tuple(found)


def _notes(raw: RawProfile, kernels: Sequence[Kernel]) -> tuple[str, ...]:
    lost = [kernel.name for kernel in kernels if not kernel.nodes]
    notes = []
    if not raw.nodes:
        notes.append("ONNX Runtime wrote no graph of its own: kernels are mapped by name only")
    if lost:
        many = f"{len(lost):,} kernels stand" if len(lost) > 1 else "one kernel stands"
        notes.append(f"{many} for no node that could be found, such as {lost[0]!r}")
    return tuple(notes)
