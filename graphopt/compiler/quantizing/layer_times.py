"""What each layer takes in each form on this machine, from ONNX Runtime's profiler, and the form that each gains most by.

Layers with the same signature (operator, sizes, attributes) take the same time, so theirs are averaged. What a runtime puts between layers
(quantizing, dequantizing, activations) belongs to none of them; whether a choice pays as a whole is measured on the whole model afterwards.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from graphopt.compiler.profiling import profile
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import TABLE, LayerForm, Plan, first_form
from graphopt.errors import GraphoptError
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds
from graphopt.runtime.profiling import Kernel

__all__ = ["LayerTimes", "best_forms", "layer_times"]

#: What ONNX Runtime puts behind the name of a node that it replaces.
_ENDING: Final = re.compile(r"(_token_\d+|_nchwc|_nhwc|_MatMulInteger|_quant|_fused|/MatMulAddFusion)$")
#: Kernels that a layer may become.
_WORKING: Final = frozenset(
    {
        "Conv",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "GRU",
        "Gemm",
        "LSTM",
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
#: A form that is not faster by this much is not worth a conversion.
_LEAST_GAIN: Final = 1.05

LayerTimes = Mapping[str, float]


def layer_times(
    path: str,
    layers: Sequence[Layer],
    feeds: Feeds,
    *,
    threads: int,
    seconds: float,
    plugins: PluginManager | None = None,
) -> dict[str, float]:
    """Seconds of each layer in one run of a model, averaged over layers that are alike; empty where the profiler fails.

    Args:
        path: the model, whose nodes are called as the layers are, or say that they come from them.
        layers: to look for.
        feeds: inputs by name.
        threads: within an operator.
        seconds: for the runs.
        plugins: where frontends come from.
    """
    try:
        found = profile(path, inputs=feeds, seconds=seconds, threads=threads, advise=False, plugins=plugins)
    except GraphoptError:
        return {}
    owner = {name: layer.name for layer in layers for name in (*layer.behind, layer.name)}
    own: dict[str, float] = {}
    for kernel in found.kernels:
        mine = _owner(kernel, owner)
        if mine is not None:
            own[mine] = own.get(mine, 0.0) + kernel.seconds
    alike: dict[str, list[float]] = {}
    for layer in layers:
        if layer.name in own:
            alike.setdefault(layer.signature, []).append(own[layer.name])
    means = {signature: statistics.fmean(times) for signature, times in alike.items()}
    return {layer.name: means[layer.signature] for layer in layers if layer.signature in means}


def _owner(kernel: Kernel, owner: Mapping[str, str]) -> str | None:
    """The layer that a kernel stands for: by its own name, else by the nodes in it if these are of one layer."""
    name = kernel.name
    while name not in owner:
        shorter = _ENDING.sub("", name)
        if shorter == name:
            break
        name = shorter
    if name in owner:
        return owner[name]
    if kernel.op.rpartition("::")[2] not in _WORKING:
        return None
    inside = {owner[item] for item in (*kernel.nodes, *kernel.origins) if item in owner}
    return inside.pop() if len(inside) == 1 else None


def best_forms(layers: Sequence[Layer], times: Mapping[LayerForm, LayerTimes], *, gain: float = _LEAST_GAIN) -> Plan:
    """Each layer in the form in which it took the least time, floats unless another is faster by a margin.

    Args:
        layers: of the model.
        times: by form; layers that are missing in one are not considered in it.
        gain: the margin.

    Example:
        >>> layer = Layer("a", "Conv", 1, 1.0, 4, frozenset({"static", "dynamic"}), "Conv")
        >>> best_forms([layer], {"float": {"a": 1.0}, "static": {"a": 0.4}, "dynamic": {"a": 0.9}}).forms
        {'a': 'static'}
    """
    chosen: dict[str, LayerForm] = {}
    for layer in layers:
        if layer.op == TABLE:  # it reads a few rows, whatever they are stored as
            chosen[layer.name] = first_form(layer, ("weights",))
            continue
        known = {form: found[layer.name] for form, found in times.items() if layer.name in found}
        floats = known.get("float")
        others = {form: time for form, time in known.items() if form in layer.forms}
        best = min(others, key=lambda form: others[form], default=None)
        pays = best is not None and floats is not None and others[best] * gain < floats
        chosen[layer.name] = best if best is not None and pays else "float"
    return Plan(chosen)
