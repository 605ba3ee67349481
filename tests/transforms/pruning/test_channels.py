"""prune-channels takes the least important indices of each group, keeps the interface, and says why it can't."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.analysis.cost import cost_of_graph
from graphopt.analysis.dim_groups import DimGroup, Leaf, find_dim_groups
from graphopt.errors import CalibrationError, PassError, PipelineError
from graphopt.ir import verify
from graphopt.ir.constant_nodes import constant_of
from graphopt.numerics import Lossy
from graphopt.passes import PassContext
from graphopt.rewriting import Applications
from graphopt.target import Target
from graphopt.transforms.pruning import PruneChannels
from graphopt.transforms.pruning.ranking import Limits, by_budget, by_ratio, masks_of
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.calibration import Batches
from tests.transforms.pruning.networks import Network, image_networks, lifted, token_networks
from tests.transforms.pruning.zeroing import run_model

#: Hidden units of 16, whose outgoing weights count the units.
HIDDEN = {
    "w": np.arange(1, 17, dtype=np.float32) * np.array([[1], [-1], [1], [1]], np.float32),
    "v": np.repeat(np.arange(16, 0, -1, dtype=np.float32)[:, None], 3, 1),
}


def mlp(**more):
    proto = model(
        "h = MatMul (x, w) g = Relu (h) y = MatMul (g, v)", "float[5,4] x", "float[5,3] y",
        initializers={**HIDDEN, **more},
    )  # fmt: skip
    return lifted(proto)


def weight(owner, name):
    (value,) = [value for value in owner.graph.initializers() if value.name == name]
    constant = constant_of(value)
    assert constant is not None
    return constant.numpy()


# -- what is removed --------------------------------------------------------------------------------------------------------


def test_the_units_with_the_smallest_weights_go():
    owner = mlp()
    result = PruneChannels().run(owner.graph, PassContext())
    assert (True, {"groups": 1, "indices": 8, "weights": 2}) == (result.changed, dict(result.stats))
    np.testing.assert_array_equal(HIDDEN["w"][:, 8:], weight(owner, "w"))
    np.testing.assert_array_equal(HIDDEN["v"][8:], weight(owner, "v"))
    assert [(5, 8), (5, 8), (5, 3)] == [node.output.shape for node in owner.graph.nodes]


def test_of_equal_units_the_first_stay():
    owner = mlp(w=np.ones((4, 16), np.float32))
    PruneChannels().run(owner.graph, PassContext())
    np.testing.assert_array_equal(HIDDEN["v"][:8], weight(owner, "v"))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"ratio": 0.0}, 16),
        ({"ratio": 0.3}, 8),
        ({"ratio": 0.2}, 16),
        ({"ratio": 0.99}, 8),
        ({"ratio": 0.99, "round_to": 1}, 1),
        ({"ratio": 0.99, "round_to": 4, "min_channels": 5}, 8),
        ({"ratio": 0.7, "round_to": 5}, 5),
        ({"ratio": 0.5, "round_to": 16}, 16),
        ({"flops": 0.5}, 8),
        ({"flops": 0.9, "round_to": 1}, 14),
        ({"latency": 0.9999, "round_to": 1}, 15),
        ({"exclude": ("w",)}, 16),
        ({"exclude": ("op:Conv",)}, 8),
        ({"include": ("w*",)}, 8),
    ],
)
def test_how_many_are_left(options, left):
    owner = mlp()
    PruneChannels(**options).run(owner.graph, PassContext())
    assert ((4, left), (left, 3)) == (weight(owner, "w").shape, weight(owner, "v").shape)


def test_a_budget_takes_most_from_where_it_matters_least():
    """Of two layers, one has weights that are nearly all alike, the other one has some of no use."""
    net = Network(0)
    x = net.input("x", [4, 8], net.rng.normal(size=(4, 8)).astype(np.float32))
    for name, scale in (("even", np.ones(32)), ("uneven", np.repeat([1e-3, 1.0], 16))):
        first = net.const((net.rng.choice([-1, 1], (8, 32)) * scale).astype(np.float32), name)
        x = net.op("MatMul", net.op("Relu", net.op("MatMul", x, first)), net.weight(32, 8))
    owner = lifted(net.model(x))
    before = cost_of_graph(owner.graph).flops
    PruneChannels(flops=0.8).run(owner.graph, PassContext())
    assert [(4, 32), (4, 16)] == [node.output.shape for node in owner.graph.nodes if node.op == "Relu"]
    after = cost_of_graph(owner.graph).flops
    assert isinstance(before, int)
    assert isinstance(after, int)
    assert after <= 0.8 * before


def test_heads_go_as_a_whole():
    """Of two heads of 4 that are rounded to 4 channels, one is left; of heads of 4 that are rounded to 8, two or none."""
    net = Network(3)
    x = net.input("x", ["batch", 5, 8], net.rng.normal(size=(2, 5, 8)).astype(np.float32))
    q, k, v = (net.op("MatMul", x, net.weight(8, 16)) for _ in range(3))
    y = net.op("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=4)
    y = net.op("MatMul", y, net.weight(16, 8))
    for round_to, heads in ((4, 1), (8, 2)):
        owner = lifted(net.model(y))
        PruneChannels(ratio=0.8, round_to=round_to, exclude=("nothing",)).run(owner.graph, PassContext())
        (fused,) = [node for node in owner.graph.nodes if node.op_type == "MultiHeadAttention"]
        assert heads == fused.int_attr("num_heads")
        verify(owner)
        assert run_model(owner, net.feeds)[y].shape == (2, 5, 8)


@PROPERTY
@given(st.one_of(image_networks(), token_networks()), st.sampled_from([0.3, 0.6, 0.9]), st.sampled_from([1, 2, 4]))
def test_what_is_left_runs_and_has_the_same_interface(net, ratio, round_to):
    output = net.nodes[-1].output[0]
    owner = lifted(net.model(output))
    interface = [(value.name, value.type) for value in (*owner.graph.inputs, *owner.graph.outputs)]
    expected = run_model(owner, net.feeds)[output]
    result = PruneChannels(ratio=ratio, round_to=round_to).run(owner.graph, PassContext())
    verify(owner)
    assert interface == [(value.name, value.type) for value in (*owner.graph.inputs, *owner.graph.outputs)]
    assert expected.shape == run_model(owner, net.feeds)[output].shape
    assert result.changed == (result.stats["indices"] > 0)
    sizes = [group.size for group in find_dim_groups(owner.graph).groups]
    assert all(size >= 1 for size in sizes)


# -- criteria ---------------------------------------------------------------------------------------------------------------


def hidden_after(criterion, x, **more):
    owner = mlp(**more)
    ctx = PassContext(calibration=Batches({"x": x}))
    PruneChannels(criterion=criterion).run(owner.graph, ctx)
    return weight(owner, "v")[:, 0]


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn-scale"])
def test_criteria_of_weights(criterion):
    """Without BatchNormalization the scale is the norm."""
    np.testing.assert_array_equal(np.arange(8, 0, -1), hidden_after(criterion, None))


def test_scales_of_batch_normalization():
    net = Network(0)
    x = net.input("x", [2, 3, 6, 6], net.rng.normal(size=(2, 3, 6, 6)).astype(np.float32))
    y = net.op("Conv", x, net.weight(16, 3, 1, 1))
    scales = [
        net.const(np.roll(np.arange(1, 17), 5).astype(np.float32)),
        *(net.const(np.ones(16, np.float32)) for _ in range(3)),
    ]
    y = net.op("GlobalAveragePool", net.op("BatchNormalization", y, *scales))
    owner = lifted(net.model(net.op("Conv", y, net.weight(2, 16, 1, 1))))
    PruneChannels(criterion="bn-scale").run(owner.graph, PassContext())
    (norm,) = [node for node in owner.graph.nodes if node.op == "BatchNormalization"]
    scale = norm.inputs[1]
    assert scale is not None
    np.testing.assert_array_equal(np.arange(9, 17), np.sort(np.asarray(scale.array())))


@pytest.mark.parametrize("criterion", ["activation-energy", "reconstruction"])
def test_criteria_of_data_look_at_what_units_give(criterion):
    """Units 8 to 15 have the largest incoming weights; here they never fire."""
    w = HIDDEN["w"].copy()
    w[:, 8:] *= -1
    x = np.abs(np.random.default_rng(0).normal(size=(5, 4))).astype(np.float32) * np.array([1, 0, 1, 1], np.float32)
    np.testing.assert_array_equal(np.arange(16, 8, -1), hidden_after(criterion, x, w=w))


def test_a_unit_that_others_can_stand_for_goes_first():
    """Unit 8 is large, but it is unit 7 once more; reconstruction sees that, energy does not."""
    rng = np.random.default_rng(1)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    w = np.concatenate([turned, -turned, -3 * turned[:, 3:]], axis=1).astype(np.float32)
    w[:, 7] = w[:, 8]
    v = np.ones((9, 3), np.float32)
    left = {}
    for criterion in ("activation-energy", "reconstruction"):
        owner = mlp(w=w, v=v)
        ctx = PassContext(calibration=Batches(*({"x": rng.normal(size=(5, 4)).astype(np.float32)} for _ in range(20))))
        PruneChannels(criterion=criterion, ratio=0.1, round_to=1).run(owner.graph, ctx)
        left[criterion] = {tuple(column) for column in weight(owner, "w").T.tolist()}
    twice = tuple(w[:, 8].tolist())
    assert twice in left["activation-energy"] & left["reconstruction"]
    assert 7 == len(left["activation-energy"]), "both of them stay"
    assert 8 == len(left["reconstruction"]), "one of them went"


def test_data_is_asked_for():
    with pytest.raises(CalibrationError, match="pass 'prune-channels' looks at data, and there is none"):
        PruneChannels(criterion="activation-energy").run(mlp().graph, PassContext())


# -- what can't be done -----------------------------------------------------------------------------------------------------


def test_nothing_to_remove_is_no_error_unless_something_was_promised():
    proto = model("y = MatMul (x, w)", "float[5,4] x", "float[5,16] y", initializers={"w": HIDDEN["w"]})
    result = PruneChannels().run(lifted(proto).graph, PassContext())
    assert (False, 0) == (result.changed, sum(result.stats.values()))
    why = "nothing can be removed: 2 of 2 groups are frozen, 1 because it is an axis of an input"
    with pytest.raises(PassError, match=f"prune-channels: {why}"):
        PruneChannels(flops=0.5).run(lifted(proto).graph, PassContext())
    with pytest.raises(PassError, match="prune-channels: nothing can be removed"):
        PruneChannels(include=("z",)).run(mlp().graph, PassContext())


def test_a_budget_that_can_not_be_met_says_what_can():
    with pytest.raises(PassError, match=r"flops is 0\.1, and 0\.50 is the least that can be left"):
        PruneChannels(flops=0.1).run(mlp().graph, PassContext())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, r"ratio is 1\.0, expected a number in \[0, 1\)"),
        ({"ratio": -0.1}, r"ratio is -0\.1"),
        ({"flops": 0.0}, r"flops is 0\.0, expected a number in \(0, 1\)"),
        ({"latency": 1.0}, r"latency is 1\.0"),
        ({"ratio": 0.5, "flops": 0.5}, "ratio and flops are given, expected one of them"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(PipelineError, match=f"prune-channels: {message}"):
        PruneChannels(**options)


def test_it_can_be_bisected():
    """A group that is not admitted stays."""
    owner = mlp()
    result = PruneChannels().run(owner.graph, PassContext(applications=Applications(limit=0)))
    assert not result.changed


def test_it_is_declared_lossy():
    assert isinstance(PruneChannels().declared_numerics, Lossy)


# -- ranking ----------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 100), st.integers(1, 16), st.integers(1, 20), st.integers(1, 9), st.floats(0, 100))
def test_limits_leave_something_in_steps(size, round_to, least, places, wanted):
    group = DimGroup(Leaf(size), size, places=places)
    kept = Limits(round_to, least).kept(group, min(wanted, size))
    assert 1 <= kept <= size
    assert kept == size or ((kept * places) % round_to == 0 and kept * places >= min(least, size * places))


@pytest.mark.parametrize(
    ("size", "places", "wanted", "left"), [(24, 1, 12, 16), (64, 1, 36, 32), (63, 1, 9, 8), (8, 8, 3, 4)]
)
def test_small_groups_have_smaller_steps(size, places, wanted, left):
    assert left == Limits(16, 1, 8).kept(DimGroup(Leaf(size), size, places=places), wanted)


@pytest.mark.parametrize(("flops", "left"), [(0.6, 16), (0.3, 8)])
def test_steps_are_those_of_the_target_where_a_budget_allows(flops, left):
    """A hidden layer of 32 goes to 16; what only 8 can meet is met by 8."""
    rng = np.random.default_rng(0)
    w, v = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 32), (32, 3)))
    owner = mlp(w=w, v=v)
    PruneChannels(flops=flops).run(owner.graph, PassContext(target=Target(channel_block=16)))
    assert left == weight(owner, "w").shape[1]


def test_ranking_over_groups():
    small, large = DimGroup(Leaf(4), 4), DimGroup(Leaf(4), 4)
    scores = {small: np.array([1.0, 2.0, 3.0, 4.0]), large: np.array([2.5, 2.5, 5.0, 6.0])}
    limits = Limits(1, 1)
    kept = by_budget(scores, limits, lambda kept: sum(kept.values()), 5)
    assert {small.leaf: 2, large.leaf: 3} == kept, "of two equal ones that would go together, one may stay"
    assert {small.leaf: 3, large.leaf: 3} == by_ratio(scores, lambda group: 0.25, limits)
    masks = masks_of(scores, {small.leaf: 2, large.leaf: 4})
    assert [[False, False, True, True]] == [mask.tolist() for mask in masks.values()]
