"""What a comparison layer by layer found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Layer", "LayerComparison", "LayerError", "Start", "Step"]

Status = Literal["same", "ok", "wrong"]


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far the value of one model is from that of the other.

    Attributes:
        status: ``same`` numbers, ``ok``: within the tolerance, or ``wrong``.
        max_abs: largest absolute difference of two finite elements.
        relative: that over the largest magnitude; infinite where shapes, or the places of NaN and infinities, differ.
        rms: root mean square of the difference.
        sqnr_db: signal to noise in dB, ``None`` where there is no noise or no signal.
        cosine: of the angle between both, ``None`` where that means nothing.
        ulp: floating-point numbers from one to the other at the worst element, ``None`` for other types.
        not_finite: elements that are NaN or infinite in one model only.
        note: what is remarkable.
    """

    status: Status
    max_abs: float = 0.0
    relative: float = 0.0
    rms: float = 0.0
    sqnr_db: float | None = None
    cosine: float | None = None
    ulp: int | None = None
    not_finite: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A value of the first model and its counterpart.

    Attributes:
        name: the value.
        counterpart: the value of the other model.
        how: what says that they correspond: ``name`` or ``lineage``.
        node: the node that gives it.
        op: its operator.
        dtype: element type.
        shape: size of each axis.
        error: how far apart they are.
        above: largest relative error among the nearest values before it that were compared.
        is_output: whether the model gives it out.
    """

    name: str
    counterpart: str
    how: Literal["name", "lineage"]
    node: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    error: LayerError
    above: float = 0.0
    is_output: bool = False

    @property
    def growth(self) -> float | None:
        """How many times the error before it its own is, ``None`` where there was none before, or one of them is infinite."""
        measurable = 0 < self.above < math.inf and self.error.relative < math.inf
        return self.error.relative / self.above if measurable else None

    @property
    def increase(self) -> float:
        """How much larger its error is than that before it; 0 where it is smaller."""
        return max(0.0, self.error.relative - self.above) if self.above < math.inf else 0.0


@dataclass(frozen=True, slots=True)
class Start:
    """A value that is wrong although everything before it is within the tolerance.

    Attributes:
        name: the value.
        counterpart: the value of the other model.
        nodes: the nodes of the first model between it and the values before it that were compared, nearest first.
        counterpart_node: the node of the other model that gives the counterpart, empty for a constant.
        relative: its error.
    """

    name: str
    counterpart: str
    nodes: tuple[str, ...]
    counterpart_node: str
    relative: float


@dataclass(frozen=True, slots=True)
class Step:
    """A value on the way of the error to an output: its relative error, and how many times that before it this is."""

    name: str
    relative: float
    growth: float | None


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """Two models, value by value.

    Attributes:
        layers: values that correspond, in the order of the first model.
        starts: where the error starts, first ones first.
        path: how it grows on the way to the worst output.
        skipped: values of the first model that were not compared, counted by reason.
        rtol: tolerance in float32, relative to the largest magnitude of a value.
        inputs: what the models ran on.
        slices: in how many runs of each model the values were taken.
        slice_bytes: bytes of the values of the largest slice, both models together.
        memory: bytes that were allowed.
        notes: what makes the result weaker than it looks.
    """

    layers: tuple[Layer, ...]
    starts: tuple[Start, ...] = ()
    path: tuple[Step, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    rtol: float = 0.0
    inputs: str = ""
    slices: int = 0
    slice_bytes: int = 0
    memory: int = 0
    notes: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[Layer, ...]:
        """Values beyond the tolerance."""
        return tuple(layer for layer in self.layers if layer.error.status == "wrong")

    @property
    def ok(self) -> bool:
        """Whether the outputs are within the tolerance; where none was compared, all values."""
        outputs = [layer for layer in self.layers if layer.is_output] or self.layers
        return all(layer.error.status != "wrong" for layer in outputs)

    @property
    def summary(self) -> str:
        """The conclusion in a line."""
        many = f"{len(self.layers):,} values of both models"
        if not self.starts:
            worst = max(self.layers, key=lambda layer: layer.error.relative)
            if not worst.error.relative:
                return f"the same numbers in {many}"
            return f"within the tolerance in {many}, largest relative difference {worst.error.relative:.2g} in {worst.name!r}"
        first = self.starts[0]
        more = f" and at {len(self.starts) - 1:,} more" if len(self.starts) > 1 else ""
        end = "; the outputs are within the tolerance" if self.ok else ""
        wrong = f"{len(self.wrong):,} of {len(self.layers):,} values are wrong"
        return f"the error starts at {first.name!r} (relative difference {first.relative:.2g}){more}; {wrong}{end}"
