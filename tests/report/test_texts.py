"""Numbers, tables and JSON read as they should."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console, RenderableType

from graphopt.ir import SymbolicDim
from graphopt.passes import PassRecord
from graphopt.passes.record import pass_totals
from graphopt.report.layout import columns, facts
from graphopt.report.machine import builtin_of, json_text
from graphopt.report.optimize_view import pass_table
from graphopt.report.units import bytes_text, count_text, seconds_text
from graphopt.report.value_summary import summarize_outputs


def written(view: RenderableType) -> list[str]:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(view)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1024**2 - 1, "1.00 MiB"), (1536 * 1024, "1.50 MiB")],
)
def test_bytes(size: int, expected: str) -> None:
    """Three digits, the largest unit that fits."""
    assert expected == bytes_text(size)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (999_499, "999 k"), (999_999, "1.00 M"), (4e15, "4000 T")],
)
def test_counts(count: float, expected: str) -> None:
    """Three digits, then k, M, G, T."""
    assert expected == count_text(count)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.5e-6, "1.50 us"), (0.1, "100 ms"), (0.9999, "1000 ms"), (12.34, "12.3 s"), (3600, "3600 s")],
)
def test_seconds(seconds: float, expected: str) -> None:
    """Three digits, from microseconds to seconds."""
    assert expected == seconds_text(seconds)


def test_tables_align_numbers_and_keep_brackets() -> None:
    """A head with > stands over numbers; text in brackets is text, not markup."""
    assert ["name  count", "a[b]      1", "c        10"] == written(
        columns(("name", "count>"), [("a[b]", "1"), ("c", "10")])
    )
    assert ["one    1", "three  [red]"] == written(facts({"one": "1", "three": "[red]"}))


def test_json_takes_what_results_are_made_of() -> None:
    """Dataclasses, numpy numbers, symbolic sizes; not-a-number becomes null."""

    @dataclass
    class Found:
        size: object
        time: float

    found = Found(SymbolicDim("n") + 1, float("nan"))
    assert {"size": "n+1", "time": None} == builtin_of(found)
    assert [1, 2.5, [1, 2]] == json.loads(json_text([np.int64(1), np.float32(2.5), np.array([1, 2])]))
    with pytest.raises(NotImplementedError):
        json_text(object())


def record(name: str, before: int, after: int, **stats: int) -> PassRecord:
    return PassRecord(name, changed=before != after, stats=stats, ms=1.0, nodes_before=before, nodes_after=after)


def test_runs_of_one_pass_are_summed() -> None:
    """A pass inside and outside of a group has one line; one that never changed anything is named at the end."""
    group = PassRecord(
        "fixpoint", rounds=2, children=[record("a", 10, 8, gone=2), record("b", 8, 8), record("a", 8, 7, gone=1)]
    )
    totals = {total.name: total for total in pass_totals([record("a", 12, 10, gone=2), group])}
    assert (-5, 3, 3.0, {"gone": 5}) == (
        totals["a"].nodes_after,
        totals["a"].rounds,
        totals["a"].ms,
        totals["a"].stats,
    )
    lines = written(pass_table([record("a", 12, 10, gone=2), group]))
    assert any(line.startswith("a ") and "-5" in line and "gone 5" in line for line in lines)
    assert "nothing to do: b" == lines[-1]


def test_values_of_all_kinds_are_summarized() -> None:
    """Texts, truth values, nothing, sequences, not-a-number."""
    found = summarize_outputs(
        {
            "text": np.array(["a", "b"], object),
            "bool": np.array([True]),
            "none": None,
            "list": [np.array([1, 2], np.int64)],
            "nan": np.full(3, np.nan, np.float16),
            "empty": np.zeros((0, 2), np.float32),
        }
    )
    assert ["text", "bool", "none", "list[0]", "nan", "empty"] == [tensor.name for tensor in found]
    assert ["a, b", "True", "", "1, 2", "nan, nan, nan", ""] == [tensor.first for tensor in found]
    assert [None, None, None, 1.0, None, None] == [tensor.minimum for tensor in found]
    assert 3 == found[4].not_finite
