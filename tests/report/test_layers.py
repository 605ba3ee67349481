"""A comparison layer by layer as text, as JSON and as a page."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Literal

import pytest
from rich.console import Console

from graphopt.report.layers_page import layers_page
from graphopt.report.layers_view import layers_document, layers_view
from graphopt.report.machine import builtin_of
from graphopt.verify.attribution import Layer, LayerComparison, LayerError, Start, Step

HOSTILE = '</title><script>alert("x")</script>\x1b[31m&"\''


class Reader(HTMLParser):
    """Sees that elements are closed in order, and keeps what a page has."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def comparison(count: int = 40) -> LayerComparison:
    """Errors that begin at value 10 and double from there; the last one is infinite."""
    layers = []
    above = 0.0
    for place in range(count):
        relative = 0.0 if place < 5 else 1e-7 if place < 10 else 1e-3 * 2.0 ** (place - 10)
        relative = math.inf if place == count - 1 else relative
        status: Literal["same", "ok", "wrong"] = "same" if not relative else "wrong" if relative > 1e-4 else "ok"
        name = HOSTILE if place == 10 else f"v{place}"
        error = LayerError(status, max_abs=relative, relative=relative, cosine=0.5 if place > 9 else None)
        layers.append(
            Layer(name, name, "name", f"n{place}", "Relu", "float", (1, 2), error, above, is_output=place == count - 1)
        )
        above = relative
    starts = (Start(HOSTILE, HOSTILE, (HOSTILE,), "n10", 1e-3),)
    path = tuple(Step(layer.name, layer.error.relative, None) for layer in layers[10:])
    return LayerComparison(
        tuple(layers),
        starts,
        path,
        {"inside a subgraph": 3},
        rtol=1e-4,
        inputs="normal inputs",
        slices=2,
        notes=(HOSTILE,),
    )


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert [] == reader.open
    return reader


def text_of(found: LayerComparison) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(layers_view(found))
    return captured.get()


def test_page_has_a_dot_and_a_row_for_each_value() -> None:
    """Dots lead to rows; the table says what it is sorted by."""
    reader = read(layers_page(comparison(), before="a", after="b"))
    assert 40 == len(reader.all("circle"))
    rows = [attributes for attributes in reader.all("tr") if "id" in attributes]
    assert [f"v{place}" for place in range(40)] == [row["id"] for row in rows]
    assert {f"#v{place}" for place in range(40)} == {link["href"] for link in reader.all("a")}
    assert ["wrong start"] == [row["class"] for row in rows if "start" in (row["class"] or "")]
    assert len(reader.all("th")) == len(reader.all("button")) == 12
    keys = [float(cell["data-sort"] or "nan") for cell in reader.all("td") if "data-sort" in cell]
    assert 40 * 6 == len(keys)
    assert not any(map(math.isnan, keys))


def test_page_shows_errors_on_a_logarithmic_scale_inside_the_plot() -> None:
    """Ten times the error is the same distance everywhere; no error is at the bottom, an infinite one at the top."""
    found = comparison()
    reader = read(layers_page(found, before="a", after="b"))
    heights = [float(circle["cy"] or "nan") for circle in reader.all("circle")]
    assert heights[0] == max(heights)
    assert heights[-1] == min(heights)
    steps = [one - other for one, other in pairwise(heights[10:39])]
    assert max(steps) - min(steps) < 0.2
    places = [float(circle["cx"] or "nan") for circle in reader.all("circle")]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 1080


def test_names_of_a_model_are_text_in_the_page() -> None:
    """Markup and control characters in names are shown, not obeyed."""
    page = layers_page(comparison(), before=HOSTILE, after="b")
    reader = read(page)
    assert 1 == len(reader.all("script"))
    assert "alert" not in "".join(reader.texts["script"])
    assert "\x1b" not in page
    assert any("alert" in text for text in reader.texts["td"])
    assert any("alert" in text for text in reader.texts["title"])


def test_page_loads_nothing() -> None:
    """No address in it, and a policy that forbids to load any."""
    page = layers_page(comparison(), before="a", after="b")
    assert not re.search(r"https?:|//|src=|@import|url\(", page)
    [policy] = [meta for meta in read(page).all("meta") if "http-equiv" in meta]
    assert (policy["content"] or "").startswith("default-src 'none'")


@pytest.mark.parametrize("count", [1, 2, 11])
def test_page_of_few_values(count: int) -> None:
    """One value has no distance to the next."""
    assert count == len(read(layers_page(comparison(count), before="a", after="b")).all("circle"))


def test_table_shows_where_it_starts_first_and_then_where_it_grows_most() -> None:
    """Values that are the same are left out."""
    lines = text_of(comparison()).splitlines()
    [head] = [place for place, line in enumerate(lines) if line.startswith("value ")]
    assert "starts here" in lines[head + 1]
    assert ["v39", "v38"] == [line.split()[0] for line in lines[head + 2 : head + 4]]
    assert "and 15 more values, at which it grows less; --html and --json show them" in lines
    assert not any(line.startswith("v4 ") for line in lines)
    assert any(line.startswith("to the worst output: ") for line in lines)
    assert "not compared: 3 values (inside a subgraph)" in lines
    assert "\x1b[31m&" not in text_of(comparison())


def test_document_has_everything() -> None:
    """With the growth of each value; infinity has no JSON form."""
    found = builtin_of(layers_document(comparison()))
    assert isinstance(found, dict)
    assert (False, 40, 30) == (found["ok"], len(found["layers"]), len(found["path"]))
    assert (2.0, None) == (found["layers"][12]["growth"], found["layers"][-1]["error"]["relative"])
    assert [HOSTILE] == [start["name"] for start in found["starts"]]
