"""What a search has found: the candidate to keep, and what the report says of how it came to be."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphopt.compiler.quantizing.candidates import Candidate
from graphopt.compiler.quantizing.plan import LayerForm
from graphopt.compiler.quantizing.result import Effect
from graphopt.compiler.quantizing.sensitivity import Repair, Sensitivity, TradeOff
from graphopt.ir import Model

__all__ = ["Found"]


@dataclass
class Found:
    """The end of a search.

    Attributes:
        candidate: what to keep, ``None`` for the model of floats.
        effects: what passes for accuracy brought.
        curve: accuracy, latency and size by the number of layers in floats.
        sensitivity: of layers, the worst first.
        left: layers that are floats for the sake of accuracy.
        times: seconds of layers by form.
        candidates: all that was tried.
        reason: why nothing is faster, ``""`` when something is.
        model: of floats, that what is kept was made of.
        floats: path of that model, ``""`` where floats are kept.
    """

    candidate: Candidate | None = None
    effects: list[Effect] = field(default_factory=list)
    curve: tuple[TradeOff, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    left: tuple[str, ...] = ()
    times: dict[LayerForm, dict[str, float]] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    reason: str = ""
    model: Model | None = None
    floats: str = ""

    def note(self, fixed: Repair | None) -> None:
        """Say which layers stay floats for the sake of accuracy, and why; ``None`` for none."""
        self.sensitivity = () if fixed is None else fixed.sensitivity
        self.curve = () if fixed is None else fixed.curve
        self.left = () if fixed is None else fixed.left
