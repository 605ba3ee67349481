"""Fitting on this machine, with a clock that the test makes up; and where coefficients are kept."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from graphopt.analysis.cost_classes import CLASSES
from graphopt.analysis.cost_model import shipped_cost_model
from graphopt.compiler import cost_fitting
from graphopt.compiler.cost_fitting import cost_file, fit_cost_model, known_cost_model
from graphopt.compiler.cost_probes import Probe, probes
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, ModelError
from graphopt.runtime.base import Feeds
from graphopt.runtime.node_times import NodeTime, time_nodes


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the small models are enough here."""
    monkeypatch.setattr(cost_fitting, "probes", lambda: itertools.islice(probes(), 2))


def made_up(model: str | bytes, feeds: Feeds, threads: int, seconds: float) -> list[NodeTime]:
    """Products at a hundred operations a nanosecond; given models are twice as slow."""
    size = 1000 if isinstance(model, bytes) else 2000
    return [NodeTime("MatMul", "product", n * 1000, 8, 1e-6 + n * size * 1e-11) for n in (1, 10, 100, 1000)]


def test_given_models_are_held_out_in_turn() -> None:
    model = str(digits_model())
    found = fit_cost_model({model: dict}, threads=3, timer=made_up)
    assert ("onnxruntime", 3) == (found.backend, found.threads)
    assert ["product"] == list(found.classes)
    assert found.quality is not None
    assert (1, 4) == (found.quality.models, found.quality.nodes)
    assert {digits_model().name} == set(found.quality.model_errors)
    assert "onnxruntime" in found.machine


def test_without_models_the_shipped_one_is_held_out() -> None:
    """Really measured, in a child process."""
    found = fit_cost_model({}, seconds=0.01)
    assert found.quality is None or {digits_model().name} == set(found.quality.model_errors)
    assert "convolution" in found.classes


def test_a_model_of_which_nothing_is_measured_is_an_error() -> None:
    def nothing(model: str | bytes, feeds: Feeds, threads: int, seconds: float) -> list[NodeTime]:
        return []

    with pytest.raises(ExecutionError, match="no node of"):
        fit_cost_model({}, timer=nothing)


def test_models_of_one_name_are_told_apart() -> None:
    found = fit_cost_model({"a/m.onnx": dict, "b/m.onnx": dict}, timer=made_up)
    assert found.quality is not None
    assert {"a/m.onnx", "b/m.onnx"} == set(found.quality.model_errors)


def test_small_models_have_every_class() -> None:
    """Each runs, once; together they have nodes enough of each class."""
    first: dict[str, Probe] = {}
    for probe in probes():
        first.setdefault(probe.name.split(" (")[0], probe)
    found = {item.name for probe in first.values() for item in time_nodes(probe.model, probe.feeds, 1, 0.0)}
    assert set(CLASSES) - {"constant"} == found
    again, once_more = (next(iter(probes())) for _ in range(2))
    assert np.array_equal(again.feeds["x"], once_more.feeds["x"])


def test_a_file_goes_before_those_of_the_machine_and_those_before_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "graphopt" / "cost-onnxruntime.json" == cost_file()
    assert (shipped_cost_model(), "shipped with graphopt") == known_cost_model()
    own = fit_cost_model({"m.onnx": dict}, timer=made_up)
    cost_file().parent.mkdir()
    cost_file().write_bytes(own.to_json())
    assert (own, str(cost_file())) == known_cost_model()
    other = tmp_path / "other.json"
    other.write_bytes(shipped_cost_model().to_json())
    assert shipped_cost_model() == known_cost_model(other)[0]
    cost_file().write_bytes(b"{")
    with pytest.raises(ModelError, match="bench --fit"):
        known_cost_model()
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join("not", "absolute"))
    assert cost_file().is_absolute()
