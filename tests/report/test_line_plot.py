"""Lines over a number: places that are finite, names that do not lie on each other, nothing of a model that a page would run."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from graphopt.report.line_plot import Line, Mark, line_plot

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.inf, -math.inf, math.nan]))
LINES = st.lists(st.lists(NUMBERS, min_size=0, max_size=5), max_size=24)


def drawn(values: list[list[float]]) -> str:
    lines = [Line(f"line {at}", [Mark(x, y, f"{y}") for x, y in enumerate(row)]) for at, row in enumerate(values)]
    return line_plot("a label", lines, x_text=str, y_text=str)


@given(LINES)
def test_all_places_are_inside(values: list[list[float]]) -> None:
    """Whatever the numbers are; what is not finite is left out, and a line needs two points."""
    text = drawn(values)
    kept = [row for row in values if sum(map(math.isfinite, row)) > 1]
    assert bool(kept) == bool(text)
    if not text:
        return
    assert len(kept) == text.count("<polyline")
    assert sum(sum(map(math.isfinite, row)) for row in kept) == text.count("<circle")
    for x, y in re.findall(r'cx="([^"]+)" cy="([^"]+)"', text):
        assert 0 <= float(x) <= 1080
        assert 0 <= float(y) <= 380


def test_names_do_not_lie_on_each_other() -> None:
    """Lines that end at the same value have their names below each other, within the plot."""
    text = drawn([[1.0, 2.0]] * 18)
    places = sorted(float(y) for y in re.findall(r'y="([\d.]+)" style="fill', text))
    assert 18 == len(places)
    assert all(b - a >= 12.9 for a, b in itertools.pairwise(places))
    assert places[-1] <= 380


def test_names_of_a_model_are_text() -> None:
    """A name with markup is shown, not obeyed."""
    name = '</title><script>alert("x")</script>'
    text = line_plot("label", [Line(name, [Mark(0, 1, name), Mark(1, 2, name, kept=True)])], x_text=str, y_text=str)
    assert "<script>" not in text
    assert name in "".join(ET.fromstring(text.replace("class=kept", 'class="kept"')).itertext())
