"""The tables of the page about where time goes are those of the records."""

from __future__ import annotations

from benchmarks.profiles import PAGE, TABLES, written


def test_tables_are_those_of_the_records() -> None:
    """After new records: `python -m benchmarks.profiles --page`."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == written(text)
    assert all(f"<!-- table: {name} -->" in text for name in TABLES)
