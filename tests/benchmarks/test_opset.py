"""The made-up models are what they say, and graphopt raises each of them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks.numbers import difference, draw_inputs, outputs
from benchmarks.opset import TOLERANCE, by_graphopt
from benchmarks.opset_models import MODELS, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {path.stem: path for path in write_models(tmp_path_factory.mktemp("models"))}


@pytest.mark.parametrize("name", MODELS)
def test_made_up_models_are_raised_with_the_same_numbers(models: dict[str, Path], name: str, tmp_path: Path) -> None:
    source, target = models[name], tmp_path / "raised.onnx"
    feeds = draw_inputs(source)
    by_graphopt(str(source), str(target), 21)
    made = onnx.load(target)
    onnx.checker.check_model(made)
    assert {21} == {item.version for owner in (made, *made.functions) for item in owner.opset_import if not item.domain}
    assert difference(outputs(target, feeds), outputs(source, feeds)) <= TOLERANCE
