"""Each edit makes a valid model that runs of some model, says what it did, and leaves the model that it was given alone."""

from __future__ import annotations

import itertools

import numpy as np
import onnx.checker
import onnx.parser
import pytest

from graphopt.testing import GeneratedModel
from graphopt.testing.strategies import editing
from graphopt.testing.strategies.choices import SeededChoices
from graphopt.testing.strategies.edits import EDITS

TEXTS = {
    "z": """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[n,m] z)
    <float[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4] c = {1,-1,0,2}> { y = MatMul(x, w) a = Add(y, c) z = Softmax<axis = 1>(a) }""",
    "t": """<ir_version: 8, opset_import: ["": 13]> g (float[2,3] x) => (float[n,m] t, float[n,m] s)
    <float[1] k = {2}> { s = Mul(x, k) t = Transpose<perm = [1, 0]>(s) }""",
    "d": """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[n,m] d)
    { a = Clip(x) d = Dropout(a) }""",
}
SEEDS = 60


def bases():
    for site, text in TEXTS.items():
        yield GeneratedModel(
            onnx.parser.parse_model(text), ({"x": np.arange(6, dtype=np.float32).reshape(2, 3)},), sites=(site,)
        )


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_makes_a_model_that_runs(name, monkeypatch):
    monkeypatch.setattr(editing, "EDITS", {name: EDITS[name]})
    for seed, base in itertools.product(range(SEEDS), bases()):
        before = base.proto.SerializeToString(deterministic=True)
        found = editing.edited(SeededChoices(seed), base, 2)
        assert before == base.proto.SerializeToString(deterministic=True)
        if found is not None and before != found.proto.SerializeToString(deterministic=True):
            break
    else:
        pytest.fail(f"edit {name!r} never made another model that runs")
    assert found.change
    assert found.feeds
    onnx.checker.check_model(found.proto)


def test_the_same_choices_make_the_same_edit():
    first, second = (editing.edited(SeededChoices(3), next(bases()), 2) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.change == second.change
    assert first.proto.SerializeToString(deterministic=True) == second.proto.SerializeToString(deterministic=True)
