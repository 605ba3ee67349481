"""``graphopt.prune``: what goes, what is recovered, what is reported, and what is refused at the end."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import graphopt
from graphopt.compiler.pruning.choosing import Choice
from graphopt.compiler.pruning.evidence import agreement
from graphopt.compiler.quantizing import candidates
from graphopt.data import digits_model, digits_test
from graphopt.errors import PruningError, VerificationError
from graphopt.ir import Constant
from graphopt.passes import PruningPlan
from graphopt.report.prune_page import prune_page
from graphopt.runtime.paired import PairedTimes
from graphopt.transforms.pruning import n_m_layers
from tests.compiler.pruning.models import chain, classes

IMAGES, DIGITS = digits_test()
DATA = {"image": IMAGES[:96]}
LABELS = DIGITS[:96]
QUICK: dict[str, Any] = {"seconds": 0.5, "batch": 16, "importance": "activation-energy"}
#: A model without training, and data of which a few directions matter.
CHAIN = chain(width=48)
VECTORS = {"x": np.random.default_rng(1).normal(size=(96, 3)).astype(np.float32) @ np.eye(3, 16, dtype=np.float32)}
CHEAP: dict[str, Any] = {"seconds": 0.1, "batch": 32, "round_to": 4, "importance": "activation-energy"}


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """Nothing is measured unless a test is about that: each starts processes."""
    timed(monkeypatch, lambda flops: 1.0)


def timed(monkeypatch, speed):
    """Made-up times: a model takes as much as ``speed`` says of the elements of its weights."""

    def measured(first, second, feeds, *, seconds, threads, drop):
        whole, part = (
            sum(np.prod(item.dims) for item in onnx.load(path).graph.initializer) for path in (first, second)
        )
        return [PairedTimes((1e-3,) * 12, (1e-3 * speed(part / whole),) * 12) for _ in feeds]

    monkeypatch.setattr(candidates, "times_of", measured)


def zeros(model):
    arrays = [value.const.numpy() for value in model.graph.initializers() if value.const.ndim > 1]
    return sum(int((array == 0).sum()) for array in arrays) / sum(array.size for array in arrays)


def test_channels_go_and_layers_make_up_for_them(tmp_path):
    result = graphopt.prune(digits_model(), DATA, channels="flops=0.5", labels=LABELS, round_to=8, **QUICK)
    report = result.report
    assert report.flops_left <= 0.5
    assert "16 indices of 2 groups" == report.kept
    assert report.metric_pruned["sqnr"] + 3 < report.metric_after["sqnr"]
    assert report.metric_after["top1"] > 95
    assert report.verdict is not None
    assert report.verdict.ok
    shapes = {layer.name: (layer.before, layer.after) for layer in report.layers}
    assert ((16, 1, 3, 3), (8, 1, 3, 3)) == shapes["/conv1/Conv"]
    for layer in report.layers[1:]:
        assert layer.pruned_db is not None
        assert layer.recovered_db is not None
        assert layer.recovered_db > layer.pruned_db
    assert report.file_after < 0.6 * report.file_before
    assert report.packed_after < report.packed_before
    assert "channels are gone" in report.gains[0]
    assert {"it is an axis of an output", "a window slides over it"} == {item.reason for item in report.frozen}
    path = tmp_path / "p.onnx"
    result.save(path)
    session = onnxruntime.InferenceSession(path)
    (logits,) = session.run(None, {"image": IMAGES[200:]})
    assert (logits.argmax(axis=1) == DIGITS[200:]).mean() > 0.95
    assert json.loads(json.dumps(report.to_dict()))["flops_left"] == report.flops_left


def test_the_text_of_the_pipeline_makes_the_same_model():
    result = graphopt.prune(digits_model(), DATA, channels="ratio=0.5", recover=False, importance="l2", seconds=0.5)
    again = graphopt.optimize(digits_model(), pipeline=result.report.pipeline, check=False)
    assert again.proto.SerializeToString() == result.proto.SerializeToString()


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_magnitudes_stay_zero_after_recovery(scope):
    result = graphopt.prune(digits_model(), DATA, magnitude=0.8, scope=scope, labels=LABELS, **QUICK)
    report = result.report
    assert report.size_after is not None
    assert 0.79 < report.size_after.sparsity <= 0.8
    assert report.metric_pruned["sqnr"] + 3 < report.metric_after["sqnr"]
    assert 0.79 < zeros(result.model) <= 0.8
    assert report.file_after == report.file_before
    assert report.packed_after < 0.5 * report.packed_before
    assert "steps=3" in report.pipeline, "most weights go in a few steps"
    assert result.plan is not None
    masks = sum(mask.zeros for mask in result.plan.masks.values())
    assert masks == report.size_after.zeros
    assert "bring no time" in report.gains[0]
    assert "compressed (gzip)" in report.gains[1]


def test_a_pattern_holds():
    result = graphopt.prune(digits_model(), DATA, n_m="2:4", **QUICK)
    found = list(n_m_layers(result.model.graph))
    assert [True] * 3 == [follows for _node, follows in found]
    assert "3 of 3 layers that sum over 4 channels or more follow 2:4; TensorRT skips" in result.report.gains[-1]
    assert "no runtime that is known here" in graphopt.prune(digits_model(), n_m="1:8", seconds=0.5).report.gains[-1]


def test_without_data_nothing_is_recovered():
    report = graphopt.prune(digits_model(), magnitude=0.3, seconds=0.5).report
    assert report.metric_pruned == report.metric_after
    assert "there is no data, so nothing was recovered; give some (--data)" in report.notes
    assert {"sqnr", "cosine", "top1"} == set(report.metric_after)


def test_a_plan_is_saved_and_done_again(tmp_path):
    first = graphopt.prune(digits_model(), DATA, channels="flops=0.5", round_to=8, **QUICK)
    path = first.save_plan(tmp_path / "plan.json")
    for plan in (path, str(path), PruningPlan.load(path)):
        again = graphopt.prune(digits_model(), DATA, plan=plan, seconds=0.5, batch=16)
        assert again.report.flops_left == first.report.flops_left
        assert again.proto.graph.initializer == first.proto.graph.initializer
    part = graphopt.prune(digits_model(), plan=path, exclude=("conv1*",), seconds=0.5)
    assert [(16, 1), (24, 16), (24, 24)] == [layer.after[:2] for layer in part.report.layers[:3]]
    with pytest.raises(PruningError, match="exclude 'conv9' fits no group and no weight of the plan"):
        graphopt.prune(digits_model(), plan=path, exclude=("conv9",))
    with pytest.raises(PruningError, match="nothing is left of the plan"):
        graphopt.prune(digits_model(), plan=path, exclude=("*",))
    with pytest.raises(PruningError, match="the plan is of a model whose structure"):
        graphopt.prune(chain(), plan=path)


def test_a_model_that_gives_no_floats():
    report = graphopt.prune(classes(), VECTORS, channels="auto", max_accuracy_drop=30, metric=agreement, **CHEAP).report
    assert {"agreement"} == set(report.metric_after)
    assert report.metric_after["agreement"] >= 70
    assert report.flops_left < 1
    report = graphopt.prune(classes(), VECTORS, magnitude=0.1, **CHEAP).report
    assert 50 < report.metric_after["agreement"] <= 100


def test_nothing_is_asked_for():
    result = graphopt.prune(digits_model(), channels="ratio=0", seconds=0.5)
    assert ("nothing", False, None, 1.0) == (
        result.report.kept, result.report.is_pruned, result.plan, result.report.flops_left,
    )  # fmt: skip
    with pytest.raises(PruningError, match="nothing was pruned, so there is no plan"):
        result.save_plan("p.json")


def test_layers_that_are_named():
    report = graphopt.prune(
        digits_model(), magnitude=0.5, scope="tensor", include=("op:Conv",), exclude=("conv2*",), seconds=0.5
    ).report
    assert [True, False, True, False] == [layer.sparsity > 0.4 for layer in report.layers]


def test_sensitivity_alone_prunes_nothing():
    report = graphopt.prune(digits_model(), DATA, sensitivity=True, ratios=(0.5,), **QUICK).report
    assert ("nothing", "O2,separate-constants") == (report.kept, report.pipeline)
    assert ["conv1", "conv2"] == [curve.name.split(".")[0] for curve in report.sensitivity]
    for curve in report.sensitivity:
        (point,) = curve.points
        assert point.part == 0.5
        assert point.left < 0.8
        assert {"sqnr", "cosine", "top1"} == set(point.values)
    page = prune_page(report)
    assert "Sensitivity" in page
    assert "http" not in page.replace("http-equiv", "")


def test_most_goes_that_a_budget_allows():
    reports = {db: graphopt.prune(CHAIN, VECTORS, min_sqnr=db, **CHEAP).report for db in (8, 20)}
    for db, report in reports.items():
        (kept,) = [item for item in report.attempts if item.kept]
        assert kept.holds
        assert kept.left == min(item.left for item in report.attempts if item.holds)
        assert kept.values == report.metric_after
        assert report.metric_after["sqnr"] >= db
    assert reports[8].flops_left < reports[20].flops_left < 0.95
    assert "Accuracy by what is left" in prune_page(reports[8])


def test_a_drop_of_a_metric_with_labels():
    session = onnxruntime.InferenceSession(CHAIN.SerializeToString())
    labels = session.run(None, VECTORS)[0].argmax(axis=1)
    report = graphopt.prune(CHAIN, VECTORS, labels=labels, max_accuracy_drop="10%", **CHEAP).report
    assert "top1 at least 90.00 %" == report.budget
    assert report.metric_after["top1"] >= 90
    assert report.flops_left < 0.9


def test_an_amount_ends_the_search():
    report = graphopt.prune(CHAIN, VECTORS, channels="flops=0.7", min_sqnr=1, **CHEAP).report
    assert "sqnr at least 1.00 dB" == report.budget
    assert 0.5 < report.flops_left <= 0.7
    report = graphopt.prune(CHAIN, VECTORS, channels="ratio=0.3", min_sqnr=1, **CHEAP).report
    assert {(16, 32), (32, 32), (32, 10)} == {layer.after for layer in report.layers}


def test_weights_and_patterns_within_a_budget():
    report = graphopt.prune(CHAIN, VECTORS, magnitude="auto", min_sqnr=20, ratios=(0.3, 0.6), **CHEAP).report
    assert report.metric_after["sqnr"] >= 20
    assert report.size_after is not None
    assert report.size_after.sparsity > 0.3
    report = graphopt.prune(CHAIN, VECTORS, n_m="2:4", min_sqnr=7, recover=False, **CHEAP).report
    assert 0 < sum(layer.sparsity > 0.4 for layer in report.layers) < 3
    assert report.metric_after["sqnr"] >= 7


def test_a_budget_that_cannot_be_met():
    with pytest.raises(
        PruningError, match=r"the budget can't be met: sqnr at least 90.00 dB, and the least that can go"
    ):
        graphopt.prune(CHAIN, VECTORS, channels="auto", min_sqnr=90, **CHEAP)


def test_time_that_is_measured_is_met(monkeypatch):
    timed(monkeypatch, lambda part: 0.4 + 0.6 * part)
    report = graphopt.prune(chain(width=128), channels="latency=0.7", round_to=1, seconds=0.5).report
    assert report.speedup is not None
    assert 0.67 <= 1 / report.speedup <= 0.7
    assert any("latency was met after" in note for note in report.notes)
    with pytest.raises(PruningError, match=r"latency is 0.3, and 0.\d\d is the least that was measured"):
        graphopt.prune(chain(width=128), channels="latency=0.3", round_to=1, seconds=0.5)


def test_models_are_really_measured(monkeypatch):
    monkeypatch.undo()
    report = graphopt.prune(digits_model(), channels="ratio=0.5", seconds=0.2).report
    assert report.speedup is not None
    assert len(report.latency_before) == len(report.latency_after) > 0
    assert "of the time in ONNX Runtime, measured in turns" in report.gains[0]


def test_a_recovery_that_fills_zeros_is_found(monkeypatch):
    def filled(self, pruned):
        assert pruned.model is not None
        value = max(pruned.model.graph.initializers(), key=lambda item: item.const.size)
        value.const = Constant(np.ones(value.const.shape, np.float32))
        return pruned

    monkeypatch.setattr(Choice, "recovered", filled)
    with pytest.raises(VerificationError, match="has numbers where zeros were promised; nothing was written"):
        graphopt.prune(digits_model(), DATA, magnitude=0.5, **QUICK)


def test_prune_then_quantize():
    pruned = graphopt.prune(digits_model(), DATA, channels="flops=0.5", **QUICK)
    both = graphopt.quantize(pruned, DATA, form="static", accuracy="none", seconds=0.2)
    assert "static 4" == both.report.kept
    assert both.report.size_after < 0.35 * pruned.report.file_before
    assert graphopt.evaluate(both, {"image": IMAGES[200:]}, labels=DIGITS[200:]).values["top1"] > 94


def test_what_too_little_data_means():
    one = {"x": VECTORS["x"][:4]}
    notes = graphopt.prune(CHAIN, one, magnitude=0.5, **CHEAP).report.notes
    assert ["there is one batch only", "layers are fitted to what they gave on 4 examples only"] == [
        note.split(",")[0] for note in notes
    ]
    assert [] == graphopt.prune(CHAIN, VECTORS, magnitude=0.5, **CHEAP).report.notes
    assert [] == graphopt.prune(CHAIN, VECTORS, magnitude=0.5, recover=False, **CHEAP).report.notes
    kept = graphopt.prune(CHAIN, VECTORS, min_sqnr=5, **CHEAP).report.notes
    assert [
        "which model is kept was decided on the 32 held-out examples that it is judged on; evaluate it on others too"
    ] == kept
