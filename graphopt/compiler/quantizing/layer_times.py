"""What each layer takes in each form on this machine, from ONNX Runtime's profiler, and the form that each gains most by.

To a layer belongs what stands behind it up to the next one: activations, and what converts between floats and integers. Whether a choice
pays as a whole is measured on the whole model afterwards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphopt.analysis.model_survey import label_of, origins_of
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import TABLE, LayerForm, Plan, first_form
from graphopt.errors import GraphoptError
from graphopt.ir import Model, Node
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import shared_worker
from graphopt.runtime.profiling_nodes import match_kernels
from graphopt.runtime.profiling_ort import median_run, profile_session

__all__ = ["LayerTimes", "TimedKernel", "best_forms", "layer_segments", "layer_times", "timed_kernels"]

#: What ONNX Runtime puts behind the name of a node that it replaces.
_ENDING: Final = re.compile(r"(_token_\d+|_nchwc|_nhwc|_MatMulInteger|_quant|_fused|/MatMulAddFusion)$")
#: A form that is not faster by this much is not worth a conversion.
_LEAST_GAIN: Final = 1.05

LayerTimes = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class TimedKernel:
    """A kernel of ONNX Runtime in one run.

    Attributes:
        name: of its node in the graph that ONNX Runtime made.
        seconds: it took, without what it called.
        nodes: of the model, that it stands for.
        origins: nodes that these were made of.
    """

    name: str
    seconds: float
    nodes: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


def layer_times(
    path: str,
    layers: Sequence[Layer],
    feeds: Feeds,
    *,
    threads: int,
    seconds: float,
    environment: Environment,
) -> dict[str, float]:
    """Seconds of each layer in one run of a model, with all that stands behind it up to the next one; empty where the profiler fails.

    Args:
        path: the model, whose nodes are called as the layers are, or say that they come from them.
        layers: to look for.
        feeds: inputs by name.
        threads: within an operator.
        seconds: for the runs.
        environment: reads the model.
    """
    try:
        model = environment.lift(Path(path))
        kernels = timed_kernels(path, model, feeds, threads=threads, seconds=seconds)
    except GraphoptError:
        return {}
    segments = layer_segments(model, layers)
    own: dict[str, float] = {}
    for kernel in kernels:
        mine = _owner(kernel, segments)
        if mine is not None:
            own[mine] = own.get(mine, 0.0) + kernel.seconds
    return own


def timed_kernels(path: str, model: Model, feeds: Feeds, *, threads: int, seconds: float) -> list[TimedKernel]:
    """The kernels of the run of a model that took the median, in the child process that all share.

    Raises:
        ExecutionError: if it does not run.
    """
    raw = shared_worker().call(profile_session, os.path.abspath(path), dict(feeds), threads, None, seconds)
    standing, beside = match_kernels(raw.nodes, model)
    found = []
    for event in raw.runs[median_run(raw)] if raw.runs else ():
        nodes = standing.get(event.name) or beside.get(event.name, ())
        origins = [name for node in nodes for name in origins_of(node)]
        found.append(TimedKernel(event.name, event.own, tuple(map(label_of, nodes)), tuple(origins)))
    return found


def layer_segments(model: Model, layers: Sequence[Layer]) -> dict[str, str]:
    """The layer that each node of a model belongs to, by name of the node: itself, or the last one before it.

    Args:
        model: its nodes are in order.
        layers: by whose names nodes, or what they were made of, are called.
    """
    places = {layer.name: place for place, layer in enumerate(layers)}
    nearest: dict[Node, str] = {}
    for node in model.graph.nodes:
        names = (label_of(node), *origins_of(node))
        before = [nearest[value.producer] for value in node.inputs if value is not None and value.producer in nearest]
        mine = next((name for name in names if name in places), None)
        if mine is None and before:
            mine = max(before, key=lambda name: places[name])
        if mine is not None:
            nearest[node] = mine
    return {label_of(node): name for node, name in nearest.items()}


def _owner(kernel: TimedKernel, segments: Mapping[str, str]) -> str | None:
    """The layer that a kernel belongs to: by its own name, else by the nodes in it."""
    name = kernel.name
    while name not in segments:
        shorter = _ENDING.sub("", name)
        if shorter == name:
            return next((segments[item] for item in (*kernel.nodes, *kernel.origins) if item in segments), None)
        name = shorter
    return segments[name]


def best_forms(layers: Sequence[Layer], times: Mapping[LayerForm, LayerTimes], *, gain: float = _LEAST_GAIN) -> Plan:
    """Each layer in the form in which it took the least time, floats unless another is faster by a margin.

    Args:
        layers: of the model.
        times: by form; layers that are missing in one are not considered in it.
        gain: the margin.

    Example:
        >>> layer = Layer("a", "Conv", 1, 1.0, 4, frozenset({"static", "dynamic"}))
        >>> best_forms([layer], {"float": {"a": 1.0}, "static": {"a": 0.4}, "dynamic": {"a": 0.9}}).forms
        {'a': 'static'}
    """
    chosen: dict[str, LayerForm] = {}
    for layer in layers:
        if layer.op == TABLE:  # it reads a few rows, whatever they are stored as
            chosen[layer.name] = first_form(layer, ("stored",))
            continue
        known = {form: found[layer.name] for form, found in times.items() if layer.name in found}
        floats = known.get("float")
        others = {form: time for form, time in known.items() if form in layer.forms}
        best = min(others, key=lambda form: others[form], default=None)
        pays = best is not None and floats is not None and others[best] * gain < floats
        chosen[layer.name] = best if best is not None and pays else "float"
    return Plan(chosen)
