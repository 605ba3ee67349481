"""Trained models that packages ship, at every level: the same numbers, never larger, and the check says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fetch_zoo import DEFAULT_FOLDER, fetch, read_list
from graphopt.compiler import Environment, optimize

ENTRIES = {entry.name: entry for entry in read_list()}


@pytest.fixture(scope="session")
def models() -> dict[str, Path | str]:
    """File of each model, or why there is none."""
    return {
        item.name: item.path if item.path is not None else item.reason
        for item in fetch(ENTRIES.values(), DEFAULT_FOLDER)
    }


@pytest.mark.zoo
@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
@pytest.mark.parametrize("name", ENTRIES)
def test_a_real_model_keeps_its_numbers_and_its_size(
    name: str, level: str, models: dict[str, Path | str], environment: Environment, tmp_path: Path
):
    """The check passes without leaving anything out, the file grows by no more than 1 %, and the interface is the same."""
    path = models[name]
    if isinstance(path, str):
        pytest.skip(f"model not available: {path}")
    result = optimize(path, level=level, plugins=environment.plugins)
    verdict = result.report.verdict
    assert verdict is not None
    assert verdict.status == "ok", verdict.summary
    assert result.report.skipped == []
    result.save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size <= 1.01 * path.stat().st_size
    assert result.report.nodes_after <= result.report.nodes_before
