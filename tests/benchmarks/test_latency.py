"""The latency benchmark: rounds in both orders, what counts, and the plot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchmarks import models
from benchmarks.latency import Speed, main, rounds, summary
from benchmarks.latency_plot import plot
from benchmarks.numbers import draw_inputs


def test_each_round_has_a_sample_of_each_model(tmp_path: Path) -> None:
    """Five rounds at least, however little time there is."""
    source = tmp_path / "m.onnx"
    onnx.save(models.chain(9), source)
    taken = rounds({"a": str(source), "b": str(source)}, draw_inputs(source), threads=1, seconds=0.0)
    assert {"a": 5, "b": 5} == {name: len(samples) for name, samples in taken.items()}
    assert min(taken["a"]) > 0


def speed(model: str, tool: str, value: float | None) -> Speed:
    return Speed(model, tool, 1, "ok" if value else "wrong", speed=value, speed_at_best=value)


def test_a_tool_without_a_right_result_keeps_the_original() -> None:
    """Its speed is 1 there."""
    rows = [speed("m", "original", 1.0), speed("n", "original", 1.0)]
    rows += [speed("m", "t", 4.0), speed("n", "t", None)]
    found = summary(rows)["t"]
    assert pytest.approx(2.0) == found["geometric_mean"]
    assert (1.0, 1, 2) == (found["slowest"], found["right"], found["of"])


def test_plot_has_a_dot_for_each_speed() -> None:
    """Numbers of threads are averaged; names are escaped."""
    rows = [
        {"model": "<m>", "tool": tool, "threads": threads, "speed": value}
        for tool, value in (("original", 1.0), ("graphopt O2", 1.5), ("peer", None), ("other", 0.9))
        for threads in (1, 2)
    ]
    drawn = ET.fromstring(plot(rows))
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert "<m>" in texts
    titles = [str(element.text) for element in drawn.iter() if element.tag.endswith("title")]
    assert ["<m>, graphopt O2: 1.50", "<m>, other: 0.90"] == sorted(titles)


def test_a_run_writes_record_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a model there is nothing to measure."""
    source = tmp_path / "models" / "m.onnx"
    source.parent.mkdir()
    onnx.save(models.chain(9), source)
    arrays: dict[str, Any] = dict(draw_inputs(source))
    np.savez(tmp_path / "m.npz", **arrays)
    arguments = [str(source.parent), "--inputs", str(tmp_path), "--tools", "onnxruntime", "--threads", "1"]
    assert 0 == main([*arguments, "--seconds-per-model", "0.1", "--json", str(tmp_path / "out.json")])
    assert "geometric mean" in capsys.readouterr().out
    assert (tmp_path / "out.svg").read_text(encoding="utf-8").startswith("<svg")
    with pytest.raises(SystemExit):
        main([])
