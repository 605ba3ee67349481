"""Metrics against their definitions, streamed or at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.compiler.quantizing.labels import Labels, class_axis, read_labels
from graphopt.compiler.quantizing.metrics import METRICS, find_metric
from graphopt.errors import CalibrationError


def measured(metric, outputs, labels=None, reference=None, *, batch=None):
    kind = find_metric(metric)
    meter = kind.meter()
    size = len(outputs)
    for at in range(0, size, batch or size):
        end = at + (batch or size)
        meter.add(
            {"y": outputs[at:end]},
            None if labels is None else labels[at:end],
            None if reference is None else {"y": reference[at:end]},
        )
    return meter.value()


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(2, 9), st.integers(1, 12))
def test_streamed_is_at_once(seed, count, classes, batch):
    rng = np.random.default_rng(seed)
    expected = rng.normal(size=(count, classes)).astype(np.float32)
    found = expected + rng.normal(size=expected.shape).astype(np.float32) * 0.3
    labels = rng.integers(0, classes, count)
    for name in METRICS:
        given_labels = labels if name.startswith("top") else None
        whole = measured(name, found, given_labels, expected)
        assert whole == pytest.approx(measured(name, found, given_labels, expected, batch=batch), rel=1e-9, abs=1e-12)
    error = (expected.astype(np.float64) - found) ** 2
    assert measured("mse", found, None, expected) == pytest.approx(error.mean())
    signal = (expected.astype(np.float64) ** 2).sum()
    assert measured("sqnr", found, None, expected) == pytest.approx(10 * math.log10(signal / error.sum()))
    assert measured("top1", found, labels) == pytest.approx(100 * (found.argmax(1) == labels).mean())
    best = np.argsort(-found, 1)[:, :5]
    assert measured("top5", found, labels) == pytest.approx(100 * (best == labels[:, None]).any(1).mean())


def doubt(metric, outputs, labels=None, reference=None, before=None):
    """The doubt of a meter that saw examples one by one, beside one of another model."""
    meters = [find_metric(metric).meter() for _ in range(2)]
    for meter, shown in zip(meters, (outputs, outputs if before is None else before), strict=True):
        for at in range(len(shown)):
            one = slice(at, at + 1)
            meter.add({"y": shown[one]}, None if labels is None else labels[one], reference and {"y": reference[one]})
    return meters[0].doubt(None if before is None else meters[1])


def test_doubt_is_how_much_other_examples_differ():
    """Of many draws of examples, the values spread about as much as each of them doubts."""
    rng = np.random.default_rng(0)
    values, doubts = [], []
    for _ in range(60):
        expected = rng.normal(size=(40, 5))
        found = expected + rng.normal(size=expected.shape) * rng.lognormal(-2, 0.7, size=(40, 1))
        meter = find_metric("sqnr").meter()
        for at in range(len(found)):
            meter.add({"y": found[at : at + 1]}, None, {"y": expected[at : at + 1]})
        values.append(meter.value())
        doubts.append(meter.doubt())
    assert 0.6 < np.mean(doubts) / np.std(values) < 1.6


def test_doubt_of_a_change_of_labels_is_that_of_the_examples_that_change():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    assert 0.0 == doubt("top1", scores, labels, before=scores), "most are wrong, and none changed"
    changed = scores.copy()
    changed[:2] = -changed[:2]
    assert 0 < doubt("top1", changed, labels, before=scores) < 1.2 < doubt("top1", changed, labels)


@pytest.mark.parametrize("metric", ["sqnr", "mse", "cosine", "top1"])
def test_of_few_examples_nothing_is_doubted(metric):
    scores = np.array([[1.0, 2.0], [3.0, 1.0]])
    meter = find_metric(metric).meter()
    assert 0.0 == meter.doubt()
    meter.add({"y": scores}, None, {"y": scores[::-1]})
    assert 0.0 == meter.doubt()


def test_ends():
    ones = np.ones((2, 3), np.float32)
    assert (math.inf, 0.0, 1.0) == tuple(measured(name, ones, None, ones) for name in ("sqnr", "mse", "cosine"))
    broken = np.full_like(ones, np.nan)
    assert (-math.inf, math.inf, -1.0) == tuple(
        measured(name, broken, None, ones) for name in ("sqnr", "mse", "cosine")
    )
    zeros = np.zeros_like(ones)
    assert (-math.inf, 0.0) == tuple(measured(name, ones, None, zeros) for name in ("sqnr", "cosine"))


def test_infinities_at_the_same_place_are_equal():
    masked = np.array([[1.0, -np.inf], [2.0, np.nan]], np.float32)
    assert math.inf == measured("sqnr", masked, None, masked)


def test_the_worst_output_counts():
    kind = find_metric("sqnr")
    meter = kind.meter()
    ones = np.ones((2, 2), np.float32)
    meter.add({"a": ones, "b": ones * 1.1, "n": np.ones(2, np.int64)}, None, {"a": ones, "b": ones, "n": np.zeros(2)})
    assert meter.value() == pytest.approx(20.0, abs=1e-4)


def test_agreement_without_labels():
    scores = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert 50.0 == measured("top1", scores, None, scores[:, [0, 1]][[0, 0]])


def test_segmentation_and_columns_of_labels():
    scores = np.zeros((2, 3, 4, 4), np.float32)
    scores[:, 1] = 1
    assert 100.0 == measured("top1", scores, np.ones((2, 4, 4), int))
    rows = np.eye(3, dtype=np.float32)
    assert 100.0 == measured("top1", rows, np.array([[0], [1], [2]]))
    assert 100.0 == measured("top1", rows, np.eye(3))
    with pytest.raises(CalibrationError, match=r"labels have shape \[2, 7\] for a batch, the output has \[2, 10\]"):
        class_axis(np.zeros((2, 10)), np.zeros((2, 7)))


def test_classes_themselves():
    """Of integers the largest one of a batch says nothing."""
    found = np.array([3, 1, 2, 2])
    assert 75.0 == measured("top1", found, np.array([3, 1, 2, 0]))
    assert 75.0 == measured("top1", found[:, None], np.array([3, 1, 2, 0]))
    assert 50.0 == measured("top1", found, None, np.array([3, 1, 1, 1]))
    with pytest.raises(CalibrationError, match="'y' gives classes and no scores; take metric 'top1'"):
        measured("top5", found, np.array([3, 1, 2, 0]))
    with pytest.raises(CalibrationError, match="'top1' needs labels, or a reference model"):
        measured("top1", found)


def test_ones_own():
    def right(outputs, expected):
        return float((outputs["y"].argmax(1) == expected).sum())

    labels = np.array([0, 1, 1])
    assert 2.0 == measured(right, np.eye(3, dtype=np.float32)[:, :], labels, batch=2)
    kind = find_metric("tests.compiler.quantizing.sample_metric:mean_error")
    assert kind.smaller_is_better
    assert 0.5 == measured(
        "tests.compiler.quantizing.sample_metric:mean_error", np.ones((2, 2)), None, np.full((2, 2), 1.5)
    )
    assert -2.0 == kind.drop(3.0, 1.0)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (
            "topp1",
            r"unknown metric 'topp1'; did you mean 'top1'\? known: top1, top5, mse, cosine, sqnr, or module:callable",
        ),
        ("no_module:x", "metric 'no_module:x' can't be imported: ModuleNotFoundError"),
        ("math:pi", r"metric 'math:pi' is 3.14\d*, expected a function"),
        ("math:nothing", "can't be imported: AttributeError"),
        (7, "metric is 7, expected a name, module:callable, or a function"),
    ],
)
def test_unknown(metric, said):
    with pytest.raises(CalibrationError, match=said):
        find_metric(metric)


def test_a_metric_that_fails_or_gives_no_number():
    def broken(outputs, expected):
        raise KeyError("boxes")

    with pytest.raises(CalibrationError, match="metric 'broken' failed: KeyError: 'boxes'"):
        measured(broken, np.ones((1, 1)))
    with pytest.raises(CalibrationError, match="gave 'good', expected a number"):
        measured(lambda outputs, expected: "good", np.ones((1, 1)))


def test_what_can_not_be_judged():
    ones = np.ones((2, 3), np.float32)
    with pytest.raises(CalibrationError, match="'top1' needs labels, or a reference model"):
        measured("top1", ones)
    with pytest.raises(CalibrationError, match="'sqnr' needs a reference model, or labels of the shape"):
        measured("sqnr", ones)
    with pytest.raises(CalibrationError, match="compares float outputs, and the model has none"):
        measured("sqnr", ones.astype(int), None, ones)


# -- labels -----------------------------------------------------------------------------------------------------------------------


def test_labels_of_files(tmp_path):
    numbers = np.arange(4)
    np.save(tmp_path / "y.npy", numbers)
    np.savez(tmp_path / "one.npz", any_name=numbers)
    np.savez(tmp_path / "two.npz", x=numbers, y=numbers + 1)
    np.savez(tmp_path / "three.npz", a=numbers, b=numbers + 2)
    assert numbers.tolist() == read_labels(tmp_path / "y.npy").tolist() == read_labels(tmp_path / "one.npz").tolist()
    assert [1, 2, 3, 4] == read_labels(str(tmp_path / "two.npz")).tolist()
    assert [2, 3, 4, 5] == read_labels(f"{tmp_path / 'three.npz'}#b").tolist()
    with pytest.raises(CalibrationError, match="has the arrays a, b; call one of them labels, or say which"):
        read_labels(tmp_path / "three.npz")
    with pytest.raises(CalibrationError, match="has no array 'c'; it has: a, b"):
        read_labels(f"{tmp_path / 'three.npz'}#c")


def test_labels_that_can_not_be_read(tmp_path):
    with pytest.raises(CalibrationError, match="cannot be read: No such file or directory"):
        read_labels(tmp_path / "missing.npy")
    (tmp_path / "text.npy").write_text("1,2,3")
    with pytest.raises(CalibrationError, match=r"cannot be read: .*expected .npy or .npz"):
        read_labels(tmp_path / "text.npy")
    with pytest.raises(CalibrationError, match="the labels are empty"):
        read_labels([])
    with pytest.raises(CalibrationError, match="of type <U1, expected numbers"):
        read_labels(["a"])


@pytest.mark.parametrize("count", [3, 5])
def test_labels_of_another_length(count):
    batches = iter([{"x": np.zeros((2, 1))}, {"x": np.zeros((2, 1))}])
    with pytest.raises(
        CalibrationError, match=rf"there are {count} labels, and .*4 examples; bring one label for each"
    ):
        list(Labels(np.arange(count)).batches(batches))
