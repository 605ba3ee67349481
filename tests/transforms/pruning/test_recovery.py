"""Recovery brings outputs back to what they were, as far as what is left can: least squares, masks, statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import CalibrationError, PipelineError
from graphopt.ir import clone_model
from graphopt.passes import PassContext, Reference
from graphopt.transforms.pruning import (
    PruneChannels,
    PruneMagnitude,
    PruneNM,
    ReconstructLayers,
    RecoverMasked,
    ReestimateBatchNorm,
)
from graphopt.transforms.pruning.masked import columnwise, exactly
from graphopt.transforms.pruning.reconstruct import fitted
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.calibration import Batches
from tests.transforms.pruning.networks import Network, lifted
from tests.transforms.pruning.zeroing import run_model

RNG = np.random.default_rng(5)


def images(count=4):
    return [{"x": RNG.normal(size=(4, 3, 6, 6)).astype(np.float32)} for _ in range(count)]


def network():
    """Convolutions, a depthwise one among them, with a sum around; a classifier."""
    net = Network(2)
    x = net.input("x", ["batch", 3, 6, 6], np.zeros((1, 3, 6, 6), np.float32))
    x = net.op("Relu", net.conv(x, 3, 16, kernel=3))
    y = net.op("Relu", net.conv(x, 16, 24, bias=False))
    y = net.op("Relu", net.conv(y, 24, 24, kernel=3, group=24))
    x = net.op("Add", net.conv(y, 24, 16), x)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 16, 24, kernel=3)))
    return net.model(net.op("Gemm", x, net.weight(5, 24), net.weight(5), transB=1))


def arrays(owner):
    found = {value.name: value.array() for value in owner.graph.initializers()}
    return {name: array for name, array in found.items() if array is not None}


def errors(owner, *passes):
    """Mean square error of the outputs on other data, after each pass, in parts of their variance."""
    judged = images()
    name = owner.graph.outputs[0].name
    expected = np.concatenate([run_model(owner, feeds)[name] for feeds in judged])
    ctx = PassContext(calibration=Batches(*images(8)))
    found = []
    for step in passes:
        step.run(owner.graph, ctx)
        given_now = np.concatenate([run_model(owner, feeds)[name] for feeds in judged])
        found.append(float(np.mean((given_now - expected) ** 2) / expected.var()))
    return found


# -- channels ---------------------------------------------------------------------------------------------------------------


def test_layers_are_fitted_to_what_they_gave():
    before, after = errors(lifted(network()), PruneChannels(ratio=0.4), ReconstructLayers())
    assert after < 0.35 * before
    assert after < 0.5


def test_a_channel_that_another_one_stands_for_is_made_up_for_in_full():
    """Two units are equal: the one that is left takes the weights of both."""
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    w = np.concatenate([turned, -turned], axis=1).astype(np.float32)
    w[:, 5] = w[:, 2]
    v = rng.normal(size=(8, 3)).astype(np.float32)
    owner = lifted(
        model(
            "h = MatMul (x, w) g = Relu (h) y = MatMul (g, v)",
            "float[64,4] x",
            "float[64,3] y",
            initializers={"w": w, "v": v},
        )
    )
    feeds = {"x": rng.normal(size=(64, 4)).astype(np.float32)}
    expected = run_model(owner, feeds)["y"]
    ctx = PassContext(calibration=Batches(feeds))
    PruneChannels(ratio=0.12, round_to=1, criterion="reconstruction").run(owner.graph, ctx)
    assert [(64, 7), (64, 7), (64, 3)] == [node.output.shape for node in owner.graph.nodes]
    worse = np.abs(run_model(owner, feeds)["y"] - expected).max()
    result = ReconstructLayers(damping=1e-7).run(owner.graph, ctx)
    assert {"layers": 2} == dict(result.stats)
    better = np.abs(run_model(owner, feeds)["y"] - expected).max()
    assert better < 1e-3 < worse


def test_biases_alone_bring_means_back():
    """Weights stay, and on the data that was looked at the means of all sums are what they were."""
    owner = lifted(
        model(
            "h = Gemm (x, w, b) g = Relu (h) y = Gemm (g, v, c)",
            "float[64,4] x",
            "float[64,3] y",
            initializers={
                name: RNG.normal(size=shape).astype(np.float32)
                for name, shape in {"w": (4, 8), "b": (8,), "v": (8, 3), "c": (3,)}.items()
            },
        )
    )
    data = [{"x": RNG.normal(size=(64, 4)).astype(np.float32)} for _ in range(3)]
    expected = np.concatenate([run_model(owner, feeds)["y"] for feeds in data])
    ctx = PassContext(calibration=Batches(*data))
    PruneChannels(ratio=0.3, round_to=1).run(owner.graph, ctx)
    before = arrays(owner)
    result = ReconstructLayers(what="biases").run(owner.graph, ctx)
    assert {"layers": 2} == dict(result.stats)
    after = arrays(owner)
    assert before.keys() == after.keys()
    assert {"b", "c"} >= {name for name in before if not np.array_equal(before[name], after[name])} >= {"c"}
    given_now = np.concatenate([run_model(owner, feeds)["y"] for feeds in data])
    np.testing.assert_allclose(given_now.mean(axis=0), expected.mean(axis=0), atol=1e-5)


def test_zeros_in_steps():
    """Between steps the weights that are left move; in the end as many are zero as in one step, and a second run finds nothing to do."""
    once, stepwise = (PruneMagnitude(sparsity=0.8, scope="global", steps=steps) for steps in (1, 3))
    found = []
    for item in (once, stepwise):
        owner, ctx = lifted(network()), PassContext(calibration=Batches(*images(8)))
        original = arrays(owner)
        item.run(owner.graph, ctx)
        assert not item.run(owner.graph, ctx).changed
        left = {name: array for name, array in arrays(owner).items() if array.ndim > 1}
        assert int(0.8 * sum(map(np.size, left.values()))) == sum(int((array == 0).sum()) for array in left.values())
        found.append(all(((array == 0) | (array == original[name])).all() for name, array in left.items()))
    assert [True, False] == found


def test_steps_need_data():
    with pytest.raises(
        CalibrationError, match=r"prune-magnitude: steps is 2, and between them weights are fitted to data"
    ):
        PruneMagnitude(steps=2).run(lifted(network()).graph, PassContext())
    with pytest.raises(PipelineError, match="prune-magnitude: steps is 0, expected 1 or more"):
        PruneMagnitude(steps=0)


def test_nothing_was_removed_so_nothing_is_done():
    owner = lifted(network())
    for step in (ReconstructLayers(), RecoverMasked()):
        for reference in (None, Reference(clone_model(owner))):
            result = step.run(owner.graph, PassContext(reference=reference))
            assert (False, {"layers": 0}) == (result.changed, dict(result.stats))


def test_data_is_asked_for():
    owner, ctx = lifted(network()), PassContext()
    PruneChannels().run(owner.graph, ctx)
    with pytest.raises(CalibrationError, match="pass 'reconstruct-layers' looks at data, and there is none"):
        ReconstructLayers().run(owner.graph, ctx)
    with pytest.raises(CalibrationError, match="pass 'reestimate-batch-norm' looks at data, and there is none"):
        ReestimateBatchNorm().run(lifted(with_batch_norm()).graph, ctx)


def test_pruning_twice_is_made_up_for_against_the_original():
    owner = lifted(network())
    first, second, after = errors(
        owner, PruneChannels(ratio=0.3), PruneChannels(ratio=0.3, round_to=4), ReconstructLayers()
    )
    assert after < first
    assert after < second


# -- masks ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [PruneMagnitude(0.6), PruneNM(), PruneMagnitude(0.6, scope="global")])
def test_what_is_left_makes_up_for_what_became_zero(step):
    owner = lifted(network())
    before, after = errors(owner, step, RecoverMasked())
    assert after < 0.5 * before


def test_zeros_stay_zeros():
    owner = lifted(network())
    ctx = PassContext(calibration=Batches(*images()))
    PruneMagnitude(0.7).run(owner.graph, ctx)
    zeros = {name: array == 0 for name, array in arrays(owner).items()}
    result = RecoverMasked().run(owner.graph, ctx)
    assert {"layers": 6} == dict(result.stats)
    assert not any(np.any(array[zeros[name]]) for name, array in arrays(owner).items())


@PROPERTY
@given(st.integers(0, 999), st.integers(2, 12), st.integers(1, 4))
def test_solutions_are_as_good_as_they_can_be(seed, columns, outputs):
    """Dense, exact within a mask, column by column: the error grows in this order, and stays below that of the mask alone."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, columns)) @ rng.normal(size=(columns, columns))
    w = rng.normal(size=(columns, outputs))
    mask = rng.random((columns, outputs)) < 0.6
    t = x @ w + 0.1 * rng.normal(size=(50, outputs))
    moments, targets = x.T @ x, x.T @ t

    def error(weights):
        return float(np.sum((x @ weights - t) ** 2))

    dense = fitted(moments[None], targets[None], w[None], 0.0)[0]
    exact = exactly(moments, targets, w, mask, 0.0)
    columns_in_order = columnwise(moments, dense, mask, 0.0)
    assert not np.any(exact[~mask])
    assert not np.any(columns_in_order[~mask])
    slack = 1e-6 * (1 + float(np.sum(t**2)))
    assert error(dense) <= error(exact) + slack
    assert error(exact) <= error(columns_in_order) + slack
    assert error(exact) <= error(np.where(mask, dense, 0)) + slack


# -- statistics -------------------------------------------------------------------------------------------------------------


def with_batch_norm():
    net = Network(4)
    x = net.input("x", ["batch", 3, 6, 6], np.zeros((1, 3, 6, 6), np.float32))
    for inputs in (3, 8):
        x = net.op("Relu", net.batch_norm(net.conv(x, inputs, 8), 8))
    return net.model(x)


def test_statistics_are_those_of_the_data():
    """After it, each BatchNormalization gives mean and variance that its bias and scale say."""
    owner = lifted(with_batch_norm())
    data = images()
    result = ReestimateBatchNorm().run(owner.graph, PassContext(calibration=Batches(*data)))
    assert (True, {"nodes": 2}) == (result.changed, dict(result.stats))
    for node in [node for node in owner.graph.nodes if node.op == "BatchNormalization"]:
        cut = clone_model(owner)
        cut.graph.remove_output(0)
        (value,) = [value for value in cut.graph.values() if value.name == node.output.name]
        cut.graph.add_output(value)
        given_now = np.concatenate([run_model(cut, feeds)[value.name] for feeds in data])
        scale, bias = (arrays(owner)[value.name] for value in node.inputs[1:3] if value is not None)
        np.testing.assert_allclose(given_now.mean(axis=(0, 2, 3)), bias, atol=1e-3)
        np.testing.assert_allclose(given_now.std(axis=(0, 2, 3)), np.abs(scale), rtol=2e-2)


# -- what layers aim at -----------------------------------------------------------------------------------------------------


def test_a_layer_makes_up_for_what_is_lost_beside_it():
    """In ``y = x . a . b + x . c`` the first branch is ruined; the second one, a full layer, can give what it lacks."""
    a, b, c = (RNG.normal(size=(6, 6)).astype(np.float32) for _ in range(3))
    proto = model(
        "h = MatMul (x, a) p = MatMul (h, b) q = MatMul (x, c) y = Add (p, q)", "float[64,6] x", "float[64,6] y",
        initializers={"a": a, "b": b, "c": c},
    )  # fmt: skip
    owner = lifted(proto)
    feeds = {"x": RNG.normal(size=(64, 6)).astype(np.float32)}
    expected = run_model(owner, feeds)["y"]
    ctx = PassContext(calibration=Batches(feeds))
    PruneChannels(ratio=0.6, round_to=1).run(owner.graph, ctx)
    assert [(64, 2)] == [node.output.shape for node in owner.graph.nodes if node.output.name == "h"]
    lost = np.abs(run_model(owner, feeds)["y"] - expected).max()
    ReconstructLayers(damping=1e-6).run(owner.graph, ctx)
    assert np.abs(run_model(owner, feeds)["y"] - expected).max() < 1e-3 * lost


def test_references_follow_what_is_left_by_name():
    reference = Reference(clone_model(lifted(network())))
    reference.note("x", {0: np.array([True, False, True, True])})
    reference.note("x", {0: np.array([True, True, False]), 1: np.array([False, True])})
    assert [[1.0], [5.0]] == reference.left("x", np.arange(8.0).reshape(4, 2)).tolist()
    assert [0.0, 1.0] == reference.left("y", np.arange(2.0)).tolist()
