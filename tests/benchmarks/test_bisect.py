"""Planted bugs are looked for and judged by what they noted themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bisect as benchmark
from benchmarks.planted import planted
from benchmarks.planted_models import convolutions, encoder

SMALL = {
    "swapped-pads": convolutions,
    "unknown-operator": convolutions,
    "off-by-one": convolutions,
    "lossy-cast": encoder,
    "scalar-shape": encoder,
    "silent-change": encoder,
}


@pytest.mark.parametrize("name", SMALL)
def test_a_planted_bug_is_named(name: str) -> None:
    """Pass, rewrite and kind of failure, in a small network."""
    bug = next(bug for bug in planted() if bug.name == name)
    found = benchmark.measure(bug, "small", lambda: SMALL[name](2))
    assert ("right", True, True, bug.kind) == (found.status, found.pass_right, found.rewrite_right, found.kind)
    assert found.runs > 3


def test_a_bug_that_does_not_show_is_hidden() -> None:
    """There is no softmax among convolutions."""
    bug = next(bug for bug in planted() if bug.name == "wrong-axis")
    assert "hidden" == benchmark.measure(bug, "small", lambda: convolutions(1)).status


def test_a_wrong_answer_is_no_right_one() -> None:
    """What the bug noted is what counts."""
    bug = next(bug for bug in planted() if bug.name == "swapped-pads")
    bug.rule = "another-rule"
    found = benchmark.measure(bug, "small", lambda: convolutions(2))
    assert ("wrong", True, False) == (found.status, found.pass_right, found.rewrite_right)


def test_there_are_twenty_and_all_differ() -> None:
    """In networks of 50 to 1,000 nodes."""
    bugs = planted()
    assert 20 == len(bugs) == len({bug.name for bug in bugs}) == len({bug.story for bug in bugs})
    for bug in bugs:
        assert 50 <= len(bug.model().graph.nodes) <= 1_000


def test_the_record_has_each_case(tmp_path: Path) -> None:
    """With what was named and how long it took."""
    path = tmp_path / "record.json"
    assert 0 == benchmark.main(["--only", "swapped-pads", "--json", str(path)])
    record = json.loads(path.read_text(encoding="utf-8"))
    assert [("swapped-pads", "made for it", "right"), ("swapped-pads", "digits", "hidden")] == [
        (row["bug"], row["model"], row["status"]) for row in record["results"]
    ]
    assert "onnxruntime" in record["versions"]
