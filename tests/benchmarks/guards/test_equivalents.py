"""Arguments that guards are equivalent, and what the tables make of them."""

from __future__ import annotations

import pytest

from benchmarks.guards.equivalents import Entry, matching_entry, read_entries, stale_entries
from benchmarks.guards.guard import Guard, units
from benchmarks.guards.judging import Verdict
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.table import OUTCOMES, Judged, record_of, table_of

UNIT = next(units())


def guard(what: str, kind: str = "shape") -> Guard:
    return Guard("rule", kind, what, "file.py:1", (UNIT,), lambda unit: unit.real)


def test_entries_match_ids_and_parts_of_them():
    assert Entry("rule: shape: a * b [1]", "it is").matches("rule: shape: a * b [1]")
    assert Entry("rule: *: f: *", "it is").matches("rule: shape: f: x is None")
    assert not Entry("rule: shape: f", "it is").matches("rule: shape: f: x")
    first, second = Entry("a*", "first"), Entry("ab", "second")
    assert first is matching_entry([first, second], "ab")
    assert matching_entry([second], "a") is None


def test_entries_that_match_nothing_or_what_is_caught_are_stale():
    entries = [Entry("gone", "it was"), Entry("rule: *", "it is"), Entry("other", "it is")]
    first, second = stale_entries(entries, ["rule: a", "rule: b", "other"], ["rule: b"])
    assert first.startswith("'gone' matches no guard")
    assert second.startswith("'rule: *' matches 'rule: b', which is caught")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[equivalent]]\nguard = "a"', "entry 1 has"),
        ('[[equivalent]]\nguard = "a"\nbecause = "b"\nwhy = "c"', "entry 1 has"),
        (
            '[[equivalent]]\nguard = "a"\nbecause = "b"\n[[equivalent]]\nguard = "a"\nbecause = "c"',
            "entry 2 repeats 'a'",
        ),
    ],
)
def test_bad_entries_are_refused(tmp_path, text, message):
    path = tmp_path / "equivalent.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"equivalent.toml: {message}"):
        read_entries(path)


def test_entries_of_the_project_match_guards():
    assert [] == stale_entries(read_entries(), [item.id for item in guards_of(units())], [])


def judged() -> list[Judged]:
    entries = [Entry("rule: shape: argued", "it is so")]
    return [
        Judged.of(guard("a"), Verdict("caught", "LawBroken: wrong", 3, 1), entries),
        Judged.of(guard("argued"), Verdict("reached", "", 9, 2), entries),
        Judged.of(guard("x is None", "type narrowing"), Verdict("never", "", 9, 0), entries),
        Judged.of(guard("y is None", "type narrowing"), Verdict("reached", "", 9, 1), entries),
        Judged.of(guard("b"), Verdict("never", "", 9, 0), entries),
    ]


def test_outcomes():
    assert ["caught", "equivalent", "narrowing", "missed", "never reached"] == [item.outcome for item in judged()]


def test_the_record_has_counts_and_each_guard():
    record = record_of(judged())
    assert dict.fromkeys(OUTCOMES, 1) == record["counts"]
    each = record["each"]
    assert isinstance(each, dict)
    assert {
        "outcome": "caught",
        "at": "file.py:1",
        "reason": "LawBroken: wrong",
        "models": 3,
        "changed": 1,
    } == each["rule: shape: a"]
    assert "it is so" == each["rule: shape: argued"]["because"]


def test_the_table_has_a_row_for_each_group_and_one_for_all():
    table = table_of(judged(), "kind", lambda item: item.guard.kind)
    assert ["shape", "type narrowing", "all"] == list(table.columns[0].cells)
    assert ["3", "2", "5"] == list(table.columns[1].cells)
    assert ["1", "", "1"] == list(table.columns[2].cells)
