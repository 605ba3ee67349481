"""The models and bugs of the reduction benchmark are what they say."""

from __future__ import annotations

import onnx
import pytest

from benchmarks.reduce_bugs import BUGS
from benchmarks.reduce_models import MODELS
from graphopt.serde import emit_model


@pytest.mark.parametrize("name", MODELS)
def test_models_have_a_thousand_nodes_and_are_valid(name: str) -> None:
    """About a thousand, subgraphs included."""
    model = MODELS[name]()
    assert 950 <= model.node_count <= 1100
    onnx.checker.check_model(emit_model(model), full_check=True)


def test_each_kind_of_failure_is_planted_into_a_model_that_there_is() -> None:
    """Numbers, validity, exception, crash, timeout."""
    kinds = {kind.partition(":")[0] for _, _, kind in BUGS.values()}
    assert {"wrong-numbers", "invalid-model", "exception", "crash", "timeout"} == kinds
    assert {model for model, _, _ in BUGS.values()} == set(MODELS)
