"""What the demo shows: a model before and after."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import columns
from graphopt.report.units import bytes_text, seconds_text
from graphopt.runtime.latency import LatencyRatio

__all__ = ["DemoResult", "Measured", "demo_view"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A model that was measured.

    Attributes:
        nodes: in all graphs.
        bytes: of the file.
        latency: median seconds of a run.
        accuracy: fraction of test images whose digit it names.
    """

    nodes: int
    bytes: int
    latency: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found.

    Attributes:
        before: the model that ships with graphopt.
        after: the optimized one.
        ratio: how much faster it is.
        batch: images in a run that was timed.
        images: test images.
        saved: where the optimized model is.
        report: of the optimization, as plain values.
    """

    before: Measured
    after: Measured
    ratio: LatencyRatio
    batch: int
    images: int
    saved: str
    report: dict[str, object]


def demo_view(result: DemoResult) -> RenderableType:
    """The model before and after, side by side."""
    one, two = result.before, result.after
    rows = [
        ("nodes", f"{one.nodes:,}", f"{two.nodes:,}"),
        ("file", bytes_text(one.bytes), bytes_text(two.bytes)),
        (f"latency, {result.batch} images", seconds_text(one.latency), seconds_text(two.latency)),
        (f"accuracy, {result.images} images", f"{one.accuracy:.2%}", f"{two.accuracy:.2%}"),
    ]
    return Group(
        columns(("", "before>", "after>"), rows), "", Text(f"speed: {result.ratio}"), Text(f"saved: {result.saved}")
    )
