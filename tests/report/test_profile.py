"""A profile as text, as JSON and as a page that closes what it opens and escapes what models are called."""

from __future__ import annotations

import json

from rich.console import Console

from graphopt.report.machine import json_text
from graphopt.report.profile_page import profile_page
from graphopt.report.profile_view import advice_text, profile_document, profile_view
from graphopt.runtime.profiling import Advice, Kernel, Profile, Span, group_by
from tests.report.test_layers import Reader

HOSTILE = '</title><script>alert("x")</script>\x1b[31m&"\''
ADVICE = tuple(Advice(f"rule-{number}", "pass", "O2") for number in range(5))


def found(count: int = 20) -> Profile:
    kernels = tuple(
        Kernel(
            f"k{place}", "Conv" if place % 2 else "com.microsoft.nchwc::ReorderInput", 1e-3, 1 / count, 1,
            "convolution" if place % 2 else "layout change", (HOSTILE, "b", "c", "d", "e"), advice=ADVICE[: place % 2 * 5],
        )
        for place in range(count)
    )  # fmt: skip
    spans = tuple(Span(place, place * 1e-3, 1e-3, place % 2) for place in range(count))
    by_op, by_pattern = (
        group_by(kernels, lambda k: k.op),
        group_by(kernels, lambda k: k.pattern, lambda name: "nothing"),
    )
    return Profile(HOSTILE, "onnxruntime", 1, 3, 0.02, 0.03, 0.02, kernels, by_op, by_pattern, spans, ("a note",))


def test_text_has_groups_kernels_and_what_is_left() -> None:
    """Names are printable; the first three rewrites are shown."""
    console = Console(width=200, record=True)
    console.print(profile_view(found()))
    text = console.export_text()
    assert "\x1b" not in text
    for part in (
        "layout change",
        "nothing",
        "rule-0 (pass, O2); rule-1 (pass, O2); rule-2 (pass, O2) and 2 more",
        "a note",
    ):
        assert part in text
    assert "and 5 kernels more, 25.0% together" in text
    assert "50.0% of it to move, convert or reorder data" in text


def test_json_has_all() -> None:
    """Seconds, shares, kernels with nodes and advice, the timeline."""
    document = json.loads(json_text(profile_document(found())))
    assert 20 == len(document["kernels"]) == len(document["timeline"])
    assert {"rule": "rule-0", "pass_name": "pass", "level": "O2"} == document["kernels"][1]["advice"][0]
    assert abs(document["layout_share"] - 0.5) < 1e-9


def test_page_is_well_formed_and_loads_nothing() -> None:
    """Each span of the timeline leads to its kernel."""
    text = profile_page(found())
    reader = Reader()
    reader.feed(text)
    assert [] == reader.open
    assert 20 == len(reader.all("rect"))
    targets = {row["id"] for row in reader.all("tr") if "id" in row}
    assert {f"k{place}" for place in range(20)} == targets
    assert {f"#{name}" for name in targets} == {link["href"] for link in reader.all("a")}
    assert "alert(" not in "".join(reader.texts["script"])
    assert not [attributes for _, attributes in reader.tags if "src" in attributes]
    assert profile_page(found(1))


def test_advice_or_remark() -> None:
    """A remark only where there is no advice."""
    assert ("rule-0 (pass, O2)", "why", "") == (advice_text(ADVICE[:1], "no"), advice_text((), "why"), advice_text(()))
