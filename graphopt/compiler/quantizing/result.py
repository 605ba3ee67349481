"""What quantizing gives: the model, ways to save it, and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphopt.compiler.result import Optimized, OptimizeReport, plain_number, plain_numbers

if TYPE_CHECKING:
    from graphopt.backends.base import Backend
    from graphopt.compiler.quantizing.histograms import Spread
    from graphopt.compiler.quantizing.layer_parameters import LayerParameters
    from graphopt.compiler.quantizing.layers import Prospects
    from graphopt.compiler.quantizing.sensitivity import TradeOff
    from graphopt.ir import Model

__all__ = ["CandidateReport", "Effect", "LayerReport", "QuantizeReport", "Quantized"]


@dataclass(frozen=True)
class LayerReport:
    """What became of a layer.

    Attributes:
        name: of its node.
        op: its operator.
        share: of the operations of the model, in [0, 1].
        form: ``static``, ``dynamic``, ``weights`` or ``float``.
        why: why it is in that form, in a few words.
        alone_db: SQNR of the outputs with this layer alone quantized, ``None`` where nobody measured.
        error_db: SQNR of its own output in the result, all errors before it included, ``None`` where not known.
        seconds: of one run, by form, where measured.
        kernel: the operator that ONNX Runtime runs for it in the result, ``""`` where not known.
        parameters: range, scale and zero point of what it reads, ``None`` for floats and for dynamic layers.
        spread: how the numbers that it reads are spread on held-out data, ``None`` where not known.
    """

    name: str
    op: str
    share: float
    form: str
    why: str
    alone_db: float | None = None
    error_db: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    kernel: str = ""
    parameters: LayerParameters | None = None
    spread: Spread | None = None


@dataclass(frozen=True)
class CandidateReport:
    """A way to quantize that was tried.

    Attributes:
        name: for people.
        forms: how many layers are in which form, as text.
        outcome: in a word or two.
        reason: why it failed.
        speedup: times as fast as the model of floats, ``None`` where not measured.
        values: metrics on held-out examples.
        size: bytes, 0 when it was not made.
    """

    name: str
    forms: str
    outcome: str
    reason: str
    speedup: float | None
    values: Mapping[str, float]
    size: int


@dataclass(frozen=True)
class Effect:
    """What a pass for accuracy brought.

    Attributes:
        name: what options call it.
        before: SQNR of the outputs without it, in dB.
        after: the same with it.
        kept: whether it is part of the result.
        reason: why it failed, ``""`` when it did not.
    """

    name: str
    before: float
    after: float
    kept: bool
    reason: str = ""


@dataclass(kw_only=True)
class QuantizeReport(OptimizeReport):
    """What happened to a model, beyond what a report of an optimization says.

    Attributes:
        asked: the form that was asked for.
        prospects: what the processor and the model promised.
        kept: what the result is: ``float``, or forms with the number of their layers.
        calibrator: what found ranges, ``""`` where none were needed.
        budget: what had to hold.
        metric_before: metrics of the original on held-out examples.
        metric_after: metrics of the result.
        speedup: times as fast as the model of floats, ``None`` when not measured.
        latency_before: seconds of a run of the model of floats for each size of inputs that was measured.
        latency_after: the same of the result.
        size_before: bytes of the file of the model of floats.
        size_after: bytes of that of the result.
        layers: what became of each.
        candidates: what was tried.
        effects: what passes for accuracy brought.
        curve: accuracy, latency and size by the number of layers in floats.
        examples: how many were held out to judge on.
    """

    asked: str
    prospects: Prospects
    kept: str = "float"
    calibrator: str = ""
    budget: str = ""
    metric_before: Mapping[str, float] = field(default_factory=dict)
    metric_after: Mapping[str, float] = field(default_factory=dict)
    speedup: float | None = None
    latency_before: Sequence[float] = ()
    latency_after: Sequence[float] = ()
    size_before: int = 0
    size_after: int = 0
    layers: Sequence[LayerReport] = ()
    candidates: Sequence[CandidateReport] = ()
    effects: list[Effect] = field(default_factory=list)
    curve: Sequence[TradeOff] = ()
    examples: int = 0

    @property
    def is_quantized(self) -> bool:
        """Whether the result is anything but the model of floats."""
        return self.kept != "float"

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON; numbers that are not finite are text."""
        return OptimizeReport.to_dict(self) | {
            "asked": self.asked,
            "kept": self.kept,
            "quantized": self.is_quantized,
            "calibrator": self.calibrator,
            "prospects": self.prospects.to_dict(),
            "budget": self.budget,
            "metrics": {"before": plain_numbers(self.metric_before), "after": plain_numbers(self.metric_after)},
            "speedup": self.speedup,
            "latency": {"before": list(self.latency_before), "after": list(self.latency_after)},
            "bytes": {"before": self.size_before, "after": self.size_after},
            "layers": [_layer_dict(layer) for layer in self.layers],
            "candidates": [
                {
                    "name": item.name,
                    "forms": item.forms,
                    "outcome": item.outcome,
                    "reason": item.reason,
                    "speedup": item.speedup,
                    "metrics": plain_numbers(item.values),
                    "bytes": item.size,
                }
                for item in self.candidates
            ],
            "effects": [
                {
                    "pass": item.name,
                    "before": plain_number(item.before),
                    "after": plain_number(item.after),
                    "kept": item.kept,
                }
                for item in self.effects
            ],
            "curve": [
                {
                    "floats": point.floats,
                    "metrics": plain_numbers(point.values),
                    "bytes": point.size,
                    "speedup": point.speedup,
                    "kept": point.kept,
                }
                for point in self.curve
            ],
            "examples": self.examples,
        }


def _layer_dict(layer: LayerReport) -> dict[str, object]:
    parameters = layer.parameters
    return {
        "name": layer.name,
        "op": layer.op,
        "share": layer.share,
        "form": layer.form,
        "why": layer.why,
        "alone_db": plain_number(layer.alone_db),
        "error_db": plain_number(layer.error_db),
        "seconds": dict(layer.seconds),
        "kernel": layer.kernel,
        "input": None if parameters is None else parameters.to_dict(),
        "histogram": None
        if layer.spread is None
        else {"low": layer.spread.low, "high": layer.spread.high, "counts": list(layer.spread.counts)},
    }


class Quantized(Optimized):
    """A quantized model, or the model of floats where nothing paid.

    Attributes:
        model: its IR, legalized for the target. Edits of it are not checked.
        report: what happened to it.
    """

    report: QuantizeReport

    def __init__(self, model: Model, report: QuantizeReport, backend: Backend) -> None:
        super().__init__(model, report, backend)
