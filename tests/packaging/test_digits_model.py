"""The model that ships with the package is what its documentation says, and its script makes it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from graphopt.data import digits_model, digits_test
from scripts.make_digits_model import Digits, accuracy, export, load, train


@pytest.fixture(scope="module")
def shipped() -> bytes:
    """The bytes of the shipped model."""
    return digits_model().read_bytes()


@pytest.fixture(scope="module")
def digits() -> Digits:
    """The data set as the script splits it."""
    return load()


def test_shipped_model_classifies_the_held_out_digits(shipped: bytes) -> None:
    """357 of 360: a change of one image would be a change of the model."""
    x, y = digits_test()
    assert (len(x), len(y)) == (360, 360)
    assert round(accuracy(shipped, x, y) * 360) == 357


def test_shipped_model_is_valid_and_small(shipped: bytes) -> None:
    """Opset 17 and an IR version that every runtime of the last years reads."""
    model = onnx.load_from_string(shipped)
    onnx.checker.check_model(model, full_check=True)
    assert [("", 17)] == [(entry.domain, entry.version) for entry in model.opset_import]
    assert model.ir_version <= 10
    assert len(shipped) < 300_000


def test_shipped_model_has_what_exporters_leave(shipped: bytes) -> None:
    """Every pattern that the demo is there to show."""
    counts = Counter(node.op_type for node in onnx.load_from_string(shipped).graph.node)
    assert counts["BatchNormalization"] == counts["Conv"] == counts["Relu"] == 3
    for leftover in ("Dropout", "Identity", "Shape", "Gather", "Unsqueeze", "Concat", "Reshape", "MatMul"):
        assert counts[leftover] == 1, leftover


def test_batch_statistics_are_trained(shipped: bytes) -> None:
    """Folding them moves every weight: no mean of zero, no variance of one."""
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(shipped).graph.initializer}
    for i in (1, 2, 3):
        assert np.abs(arrays[f"bn{i}.running_mean"]).min() > 0
        assert np.abs(arrays[f"bn{i}.running_var"] - 1).min() > 1e-3
        assert arrays[f"bn{i}.running_var"].min() > 0
        assert arrays[f"bn{i}.weight"].std() > 0


@pytest.mark.parametrize("count", [1, 7, 360])
def test_batch_is_dynamic(shipped: bytes, count: int) -> None:
    """The size of the batch is not baked in: as many answers as images."""
    x, _ = digits_test()
    session = onnxruntime.InferenceSession(shipped, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": x[:count]})[0].shape == (count, 10)


def test_shipped_test_images_were_not_trained_on(digits: Digits) -> None:
    """The shipped part is the held-out part, and no image of it is in the training part."""
    x, y = digits_test()
    assert np.array_equal(x, digits.test_x.transpose(0, 3, 1, 2))
    assert np.array_equal(y, digits.test_y)
    assert not {image.tobytes() for image in digits.test_x} & {image.tobytes() for image in digits.train_x}


@pytest.mark.slow
def test_script_reproduces_the_shipped_model(shipped: bytes, digits: Digits) -> None:
    """Training again gives the same bytes."""
    assert export(train(digits)).SerializeToString(deterministic=True) == shipped
