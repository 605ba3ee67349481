"""The report of a quantization, put together of what the search has found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.budget import Budget
from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.found import Found
from graphopt.compiler.quantizing.histograms import spreads
from graphopt.compiler.quantizing.layer_parameters import layer_parameters
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import ON_FLOATS, TABLE
from graphopt.compiler.quantizing.result import CandidateReport, LayerReport, QuantizeReport
from graphopt.compiler.result import count_ops
from graphopt.errors import GraphoptError
from graphopt.ir import Model
from graphopt.runtime.base import Feeds
from graphopt.runtime.integer_kernels import LayerKernel, integer_layers
from graphopt.runtime.isolation import shared_worker

__all__ = ["fill_report"]

_SQNR: Final = "sqnr"
#: Batches that pictures of numbers are made of.
_SHOWN: Final = 4


def fill_report(
    report: QuantizeReport,
    found: Found,
    best: Candidate,
    floats: Candidate,
    layers: Sequence[Layer],
    left_out: Mapping[str, str],
    budget: Budget,
    batches: Sequence[Feeds],
    environment: Environment,
) -> None:
    """Say in a report what was kept, and why.

    Args:
        report: it.
        found: by the search.
        best: what is kept.
        floats: the model of floats.
        layers: all that can be quantized.
        left_out: reasons, for layers that somebody left out.
        budget: what had to hold.
        batches: held-out inputs, for the errors of layers.
        environment: plugins.
    """
    assert best.made is not None, "what failed is not kept"
    assert floats.made is not None, "what failed is not kept"
    report.kept = best.plan.text if best.plan.quantized or best.plan.whole else "float"
    report.metric_after = best.values
    report.size_before, report.size_after = floats.made.size, best.made.size
    report.pipeline, report.passes = best.made.pipeline, list(best.made.passes)
    model = best.made.model
    report.ops_after, report.bytes_after = count_ops(model), model.constant_bytes
    if best is not floats and best.times:
        report.speedup = best.speedup
        report.latency_before = [statistics.median(item.first) for item in best.times]
        report.latency_after = [statistics.median(item.second) for item in best.times]
    report.effects = found.effects
    report.curve = found.curve
    report.candidates = [_candidate(item, kept=item is best) for item in found.candidates]
    if found.reason and best is floats:
        stays = "in floats" if floats.name == "float" else "as it was"
        report.notes.append(f"the model stays {stays}: {found.reason}")
    elif found.reason:
        report.notes.append(
            f"weights are stored as integers, and the model computes on floats as before: {found.reason}"
        )
    elif report.speedup is not None and report.speedup < 1 and set(best.plan.forms.values()) - ON_FLOATS:
        report.notes.append(
            f"the result is slower than floats here ({report.speedup:.2f} times as fast); --form auto keeps what pays"
        )
    value = best.values.get(_SQNR)
    if best.plan.quantized and not budget.stated and value is not None and value < budget.least:
        report.notes.append(f"the outputs have an SQNR of {value:.1f} dB, less than {budget.least:g}; state --min-sqnr")
    report.layers = _layers(model, found, best, floats, layers, left_out, batches, environment)


def _candidate(item: Candidate, *, kept: bool) -> CandidateReport:
    outcome = "kept" if kept else item.outcome or "made"
    size = 0 if item.made is None else item.made.size
    return CandidateReport(item.name, item.plan.text, outcome, item.reason, item.speedup, item.values, size)


def _layers(
    model: Model,
    found: Found,
    best: Candidate,
    floats: Candidate,
    layers: Sequence[Layer],
    left_out: Mapping[str, str],
    batches: Sequence[Feeds],
    environment: Environment,
) -> list[LayerReport]:
    assert best.made is not None, "what failed is not kept"
    assert floats.made is not None, "what failed is not kept"
    alone = {item.layers[0]: item.sqnr for item in found.sensitivity if len(item.layers) == 1}
    parameters = layer_parameters(model, [layer.name for layer in layers])
    errors = {} if best is floats else _errors(found.floats or floats.made.path, best.made.path, batches[0])
    shown = spreads(environment, found.model, parameters, batches[:_SHOWN]) if found.model is not None else {}
    kernels = _kernels(best.made.path) if best.plan.layers("static") else {}
    reports = []
    for layer in layers:
        seconds: dict[str, float] = {
            form: times[layer.name] for form, times in found.times.items() if layer.name in times
        }
        form = best.plan.forms.get(layer.name, "float")
        reports.append(
            LayerReport(
                layer.name,
                layer.op,
                layer.share,
                form,
                _why(layer, form, found, best, left_out, seconds) + _on_floats(form, kernels.get(layer.name)),
                alone.get(layer.name),
                errors.get(layer.name),
                seconds,
                kernels[layer.name].kernel if layer.name in kernels else "",
                parameters.get(layer.name),
                shown.get(layer.name),
            )
        )
    return reports


def _why(
    layer: Layer,
    form: str,
    found: Found,
    best: Candidate,
    left_out: Mapping[str, str],
    seconds: Mapping[str, float],
) -> str:
    floats = seconds.get("float")
    if form != "float":
        if layer.op == TABLE:
            return "rows of a table, each with a scale"
        if form in ON_FLOATS:
            said = "needed for accuracy" if layer.name in found.left else "no faster on integers"
            bits = 16 if form == "halved" else 8
            return f"{bits} bits in the file, floats when it is loaded: {said}"
        mine = seconds.get(form)
        return f"{floats / mine:.2f} times as fast" if floats and mine else ""
    if layer.name in left_out:
        return left_out[layer.name]
    if layer.name in found.left:
        return "needed for accuracy"
    if best.plan.whole:
        return best.plan.whole
    if found.candidate is None:
        return found.reason
    if floats and any(name != "float" for name in seconds):
        name = min((name for name in seconds if name != "float"), key=lambda item: seconds[item])
        return f"{name} is {floats / seconds[name]:.2f} times as fast"
    return layer.reason or "cannot have this form"


def _kernels(path: str) -> dict[str, LayerKernel]:
    """What ONNX Runtime runs for each node; empty where that can't be told."""
    try:
        return {item.layer: item for item in shared_worker().call(integer_layers, path)}
    except GraphoptError:
        return {}


def _on_floats(form: str, kernel: LayerKernel | None) -> str:
    """That a static layer is computed on floats all the same, and why."""
    if form != "static" or kernel is None or kernel.integer:
        return ""
    return f" (ONNX Runtime computes it on floats: {kernel.reason})"


def _errors(before: str, after: str, feeds: Feeds) -> dict[str, float]:
    """SQNR of the output of each layer, by its name; empty where the models can't be compared."""
    from graphopt.verify.attribution import LayerOptions, compare_layers  # lazily: runs both models

    try:
        found = compare_layers(before, after, inputs=feeds, options=LayerOptions())
    except GraphoptError:
        return {}
    return {item.node: item.error.sqnr_db for item in found.layers if item.error.sqnr_db is not None}
