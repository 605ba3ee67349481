"""Channels are made alike; what a model computes stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from graphopt.errors import CalibrationError, PipelineError
from graphopt.passes import Range
from graphopt.serde import lift_model
from graphopt.transforms.quantization.accuracy import EqualizeLayers
from graphopt.transforms.quantization.accuracy.migration import balanced
from graphopt.transforms.quantization.static import AssignQuantization, InsertQdq
from tests.transforms.harness import PROPERTY, model
from tests.transforms.quantization.accuracy.calibrated import Floats, batches, carried_out, context, distance, noise


def uneven(*shape: int, seed: int = 1, axis: int = 0) -> Floats:
    """Weights of channels that differ by a factor of up to a thousand."""
    rng = np.random.default_rng(seed)
    spread = 10 ** rng.uniform(-1.5, 1.5, shape[axis]).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return (rng.normal(size=shape) * spread).astype(np.float32)


def triple() -> ModelProto:
    """A block with a depthwise convolution in the middle, whose channels are of very different sizes."""
    return model(
        "h = Conv(x, w, b)\nr = Relu(h)\nd = Conv<group=8, pads=[1,1,1,1]>(r, u, c)\nl = Relu(d)\ny = Conv(l, p)",
        "float[2,3,8,8] x",
        initializers={
            "w": uneven(8, 3, 1, 1),
            "b": uneven(8, seed=4),
            "u": uneven(8, 1, 3, 3, seed=2),
            "c": uneven(8, seed=5),
            "p": uneven(4, 8, 1, 1, seed=3, axis=1),
        },
    )


def test_ranges_of_weights_become_equal() -> None:
    """What writes a channel and what reads it have the same largest weight, through a depthwise convolution too."""
    proto = triple()
    made, [result, again] = carried_out(proto, None, EqualizeLayers(), EqualizeLayers())
    arrays = {value.name: np.abs(value.array().astype(np.float64)) for value in made.graph.initializers()}  # type: ignore[union-attr]
    rows = {name: arrays[name].reshape(8, -1).max(axis=1) for name in ("w", "u")}
    np.testing.assert_allclose(rows["w"] / rows["u"], np.full(8, rows["w"][0] / rows["u"][0]), rtol=0.05)
    last = arrays["p"].max(axis=(0, 2, 3))
    np.testing.assert_allclose(rows["u"] / last, np.full(8, rows["u"][0] / last[0]), rtol=0.05)
    assert result.stats["streams"] == 2
    assert result.stats["layers"] == 3
    assert result.stats["sqnr_after"] > result.stats["sqnr_before"] + 100
    assert not again.changed
    assert distance(proto, made, batches(2, 3, 8, 8)) < 1e-5


@pytest.mark.parametrize("by", ["weights", "activations"])
def test_a_quantized_model_is_nearer_to_the_original(by: str) -> None:
    """With one scale for each tensor, the error of outputs falls to half of it at most."""
    proto, feeds = triple(), batches(2, 3, 8, 8)
    assign = AssignQuantization(per_channel=by == "activations")
    plain, _ = carried_out(proto, feeds, assign, InsertQdq())
    made, _ = carried_out(proto, feeds, EqualizeLayers(by=by), assign, InsertQdq())
    assert noise(proto, made, feeds) < noise(proto, plain, feeds) / 2


def test_activations_that_are_alike_stay() -> None:
    """Where rounding costs as little as it can, nothing is edited; a second run finds that too."""
    proto, feeds = triple(), batches(2, 3, 8, 8)
    made, [result, again] = carried_out(
        proto, feeds, EqualizeLayers(by="activations"), EqualizeLayers(by="activations")
    )
    assert result.changed
    assert result.stats["sqnr_after"] > result.stats["sqnr_before"]
    assert not again.changed
    assert distance(proto, made, feeds) < 1e-5


def test_dead_channels_stay() -> None:
    """Weights of zero on either side have no range to even out."""
    w, v = uneven(4, 3, 1, 1), uneven(2, 4, 1, 1, axis=1)
    w[1], v[:, 2] = 0, 0
    proto = model("h = Conv(x, w)\ny = Conv(h, v)", "float[2,3,4,4] x", initializers={"w": w, "v": v})
    feeds = batches(2, 3, 4, 4)
    for by in ("weights", "activations"):
        made, _ = carried_out(proto, feeds, EqualizeLayers(by=by))
        assert distance(proto, made, feeds) < 1e-5
    zeros = [{"x": np.zeros((2, 3, 4, 4), np.float32)}]
    _, [result] = carried_out(proto, zeros, EqualizeLayers(by="activations"))
    assert not result.changed


def test_what_a_table_says_is_forgotten() -> None:
    """Ranges of tensors that were scaled are asked for anew."""

    class Source:
        """Remembers what it was told to forget."""

        def __init__(self) -> None:
            self.forgotten: list[str] = []

        def observe(self, model: object, observers: object) -> int:
            """No data."""
            return 0

        def ranges(self, model: object, names: object) -> dict[str, Range]:
            """No table."""
            return {}

        def forget(self, name: str) -> None:
            """Remember it."""
            self.forgotten.append(name)

    ctx, source = context(None), Source()
    ctx.calibration = source
    lifted = lift_model(triple())
    ctx.types.infer_model(lifted)
    assert EqualizeLayers(by="weights").run(lifted.graph, ctx).changed
    assert source.forgotten == ["h", "r", "d", "l"]


def test_include_exclude_and_options() -> None:
    """A stream is left alone if a layer at either end is; wrong options and lacking data are said."""
    _, [result] = carried_out(triple(), None, EqualizeLayers(exclude=("y",)))
    assert result.stats["streams"] == 1
    with pytest.raises(PipelineError, match="by is 'luck', expected one of auto, weights, activations"):
        EqualizeLayers(by="luck")
    with pytest.raises(CalibrationError, match="'equalize-layers' looks at data"):
        carried_out(triple(), None, EqualizeLayers(by="activations"))


def test_nothing_to_do() -> None:
    """A model without two layers in a row."""
    _, [result] = carried_out(
        model("y = Conv(x, w)", "float[2,3,4,4] x", initializers={"w": uneven(4, 3, 1, 1)}), None, EqualizeLayers()
    )
    assert not result.changed


@PROPERTY
@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=8), st.integers(0, 99))
def test_balanced_factors_are_positive_and_bounded(sizes: list[float], seed: int) -> None:
    """Whatever the ranges are."""
    up = np.array(sizes)
    down = 10 ** np.random.default_rng(seed).uniform(-20, 20, len(up))
    made = balanced(up, down, (up > 0) & (down > 0))
    assert ((made >= 0.99e-2) & (made <= 1.01e2)).all()
