"""A plan does again, bit for bit, what the passes did that it was recorded of, with other weights too; another model's plan is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.compiler.pruning.plans import record_plan
from graphopt.errors import PipelineError, PruningError
from graphopt.ir import Constant, DType, Function, Graph, Node, Value, clone_model, structural_equal, verify
from graphopt.passes import PassContext, PassManager, PruningPlan
from graphopt.transforms.dead_code import EliminateDeadCode
from graphopt.transforms.pruning import ApplyPruningPlan, PruneChannels, PruneMagnitude, PruneNM
from graphopt.transforms.pruning.apply_plan import apply_plan
from tests.transforms.harness import PROPERTY, model
from tests.transforms.pruning.networks import image_networks, lifted, token_networks
from tests.transforms.pruning.test_quantized_groups import quantized_convolutions
from tests.transforms.pruning.zeroing import run_model

PASSES = (
    PruneChannels(ratio=0.5, round_to=1),
    PruneChannels(ratio=0.3, round_to=2, criterion="l1"),
    PruneMagnitude(sparsity=0.6),
    PruneMagnitude(sparsity=0.5, scope="global"),
    PruneNM(),
)


def pruned(owner, passes):
    """The plan of what passes do to a model."""
    ctx = PassContext()
    for item in passes:
        item.run(owner.graph, ctx)
    return record_plan(ctx.pruned)


def trained_on(owner, seed):
    """The same model with other weights."""
    found, rng = clone_model(owner), np.random.default_rng(seed)
    for graph in found.graph.walk_graphs():
        for value in graph.initializers():
            if value.const is not None and value.const.dtype.is_float and value.const.size > 4:
                array = value.const.numpy()
                value.const = Constant(np.asarray(np.multiply(rng.uniform(0.5, 1.5, array.shape), array), array.dtype))
    return found


@settings(PROPERTY, max_examples=40)
@given(
    net=st.one_of(image_networks(), token_networks()),
    passes=st.lists(st.sampled_from(PASSES), min_size=1, max_size=3),
)
def test_a_saved_plan_gives_what_the_passes_gave(net, passes, tmp_path_factory):
    original = lifted(net.model(net.nodes[-1].output[0]))
    left = clone_model(original)
    plan = pruned(left, passes)
    if plan.is_empty:
        assert structural_equal(original, left)
        return
    path = plan.save(tmp_path_factory.mktemp("plans") / "plan.json")
    again, trained, ctx = clone_model(original), trained_on(original, 1), PassContext()
    assert ApplyPruningPlan(str(path)).run(again.graph, ctx).changed
    apply_plan(trained.graph, PruningPlan.load(path), PassContext())
    for owner in (left, again, trained):
        PassManager([EliminateDeadCode()]).run(owner)  # sizes that were stated twice are stated once
    assert structural_equal(left, again), "bit for bit"
    assert contents(plan) == contents(record_plan(ctx.pruned)), "what was applied can be recorded"
    verify(trained)
    assert sorted(shapes(left).values()) == sorted(shapes(trained).values())
    for name, mask in plan.masks.items():
        assert not (weights(trained)[name][~mask.array()] != 0).any()
    run_model(trained, net.feeds)


def contents(plan):
    kept = {place: item.kept.tobytes() for item in plan.axes for place in item.places()}
    return kept, {name: mask.array().tobytes() for name, mask in plan.masks.items()}


def shapes(owner):
    return {name: array.shape for name, array in weights(owner).items()}


def weights(owner):
    return {
        value.name: value.const.numpy()
        for graph in owner.graph.walk_graphs()
        for value in graph.initializers()
        if value.const is not None
    }


def test_weights_that_nodes_fill_in_go_too(tmp_path):
    """No constant has the indices; the plan names what is computed."""
    text = "w = ConstantOfShape (s) h = MatMul (x, w) g = Relu (h) v = ConstantOfShape (t) y = MatMul (g, v)"
    start = {"s": np.array([4, 16], np.int64), "t": np.array([16, 3], np.int64)}
    proto = model(text, "float[5,4] x", "float[5,3] y", initializers=start)
    left, again = lifted(proto), lifted(proto)
    plan = pruned(left, [PruneChannels(ratio=0.5)])
    assert [{"w": (1,)}] == [item.weights for item in plan.axes]
    ApplyPruningPlan(str(plan.save(tmp_path / "plan.json"))).run(again.graph, PassContext())
    assert structural_equal(left, again)
    assert [[4, 8], [8, 3]] == sorted(array.tolist() for array in weights(again).values())


def test_an_empty_plan_does_nothing_to_any_model():
    owner = mlp()
    assert not apply_plan(owner.graph, PruningPlan("0f"), PassContext()).changed


def test_channels_of_integers_go_with_their_scales(tmp_path):
    """The plan has scales and zero points by channel too, and fits a model that was quantized anew."""
    net, proto = quantized_convolutions()
    left, again, other = lifted(proto), lifted(proto), lifted(proto)
    plan = pruned(left, [PruneChannels(ratio=0.5, round_to=1)])
    path = plan.save(tmp_path / "plan.json")
    for value in other.graph.initializers():
        if value.const is not None and value.const.dtype in (DType.INT8, DType.INT32):
            value.const = Constant(np.negative(value.const.numpy()))
    for owner in (again, other):
        ApplyPruningPlan(str(path)).run(owner.graph, PassContext())
    assert structural_equal(left, again)
    assert shapes(left) == shapes(other)
    assert run_model(left, net.feeds).keys() == run_model(other, net.feeds).keys()


# -- one model --------------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
HIDDEN = {"w": RNG.normal(size=(4, 16)).astype(np.float32), "v": RNG.normal(size=(16, 3)).astype(np.float32)}


def mlp(text="h = MatMul (x, w) g = Relu (h) y = MatMul (g, v)", **more):
    return lifted(model(text, "float[5,4] x", "float[5,3] y", initializers={**HIDDEN, **more}))


def edited(tmp_path, change, *passes):
    """A plan of the model, changed as a document."""
    path = pruned(mlp(), passes or [PruneChannels(), PruneMagnitude()]).save(tmp_path / "plan.json")
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return ApplyPruningPlan(str(path))


def test_a_plan_says_what_goes_and_how_it_was_chosen(tmp_path):
    plan = pruned(mlp(), [PruneChannels(ratio=0.5), PruneMagnitude(sparsity=0.25)])
    assert ("prune-channels{ratio=0.5}", "prune-magnitude{sparsity=0.25}") == plan.steps
    assert ["w: 8 of 16 kept, in w axis 1, v axis 0", "w: 8 of 32 zero", "v: 6 of 24 zero"] == plan.summary().split(
        "\n"
    )
    assert [8] == [int(mask.sum()) for mask in plan.kept("v").values()]


def test_it_runs_in_a_pipeline_and_counts(tmp_path):
    path = pruned(mlp(), [PruneChannels()]).save(tmp_path / "plan.json")
    owner = mlp()
    report = PassManager([ApplyPruningPlan(str(path))]).run(owner)
    assert {"axes": 2, "weights": 2, "masked": 0, "zeroed": 0} == dict(report.stats)


def test_an_edited_plan_keeps_what_it_says_now(tmp_path):
    def more(document):
        document["axes"][0]["kept"] = "0-2,15"

    owner = mlp()
    edited(tmp_path, more, PruneChannels()).run(owner.graph, PassContext())
    np.testing.assert_array_equal(HIDDEN["w"][:, [0, 1, 2, 15]], weights(owner)["w"])
    np.testing.assert_array_equal(HIDDEN["v"][[0, 1, 2, 15]], weights(owner)["v"])


def test_a_weight_that_is_not_named_follows(tmp_path):
    def only_one(document):
        del document["axes"][0]["weights"]["v"]

    owner = mlp()
    edited(tmp_path, only_one, PruneChannels()).run(owner.graph, PassContext())
    assert {"w": (4, 8), "v": (8, 3)} == shapes(owner)


def set_shape(document):
    document["masks"]["v"]["shape"] = [16, 3]


def cut_bits(document):
    document["masks"]["v"]["kept"] = document["masks"]["w"]["kept"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda found: found["axes"][0]["weights"].update(u=[0]), "weight 'u', and the model has none"),
        (lambda found: found["axes"][0].update(size=17), "is of shape .*and the plan keeps some of 17 indices"),
        (lambda found: found["axes"][0]["weights"].update(v=[5]), r"is of shape \[16, 3\]"),
        (
            lambda found: found["axes"].append({"groups": [], "size": 4, "kept": "0-2", "weights": {"w": [0]}}),
            "indices of weight 'w' that can't go: it is an axis of an input",
        ),
        (
            lambda found: (
                found["axes"][0]["weights"].pop("v"),
                found["axes"].append({"groups": [], "size": 16, "kept": "0", "weights": {"v": [0]}}),
            ),
            "keeps other indices of weight 'v' axis 0 than of weight 'w', and they go together",
        ),
        (set_shape, r"the mask of weight 'v' has shape \[16, 3\], and of the weight \[8, 3\] is left"),
        (cut_bits, "the mask of weight 'v' can't be read: it has 4 bytes of bits, expected 3"),
        (lambda found: found["masks"].update(z=found["masks"]["v"]), "weight 'z', and the model has none"),
        (lambda found: found["masks"]["v"].update(zeros=3), "it says 3 zeros and has 12"),
        (lambda found: found.update(model="00"), "digest 00, this one has"),
    ],
)
def test_what_contradicts_the_model_is_told_and_changes_nothing(change, line, tmp_path):
    item = edited(tmp_path, change)
    owner = mlp()
    with pytest.raises(PruningError, match=line):
        item.run(owner.graph, PassContext())
    assert structural_equal(mlp(), owner)


def test_the_plan_of_another_model_is_told_unless_names_are_enough(tmp_path):
    path = pruned(mlp(), [PruneChannels()]).save(tmp_path / "plan.json")
    other = mlp("h = MatMul (x, w) g = Tanh (h) y = MatMul (g, v)")
    with pytest.raises(PruningError, match=r"the plan is of a model whose structure has digest [0-9a-f]{12}, this one"):
        ApplyPruningPlan(str(path)).run(other.graph, PassContext())
    ApplyPruningPlan(str(path), match="names").run(other.graph, PassContext())
    assert {"w": (4, 8), "v": (8, 3)} == shapes(other)


def test_it_does_nothing_twice(tmp_path):
    path = pruned(mlp(), [PruneChannels()]).save(tmp_path / "plan.json")
    owner = mlp()
    ApplyPruningPlan(str(path)).run(owner.graph, PassContext())
    with pytest.raises(PruningError, match="the plan is of a model"):
        ApplyPruningPlan(str(path)).run(owner.graph, PassContext())


def test_a_pass_without_a_plan_is_told():
    with pytest.raises(PipelineError, match="no plan is given"):
        ApplyPruningPlan().run(mlp().graph, PassContext())


def test_heads_go_whole():
    """Of an axis that is heads times sizes, a plan that keeps half of a head is told."""
    rng = np.random.default_rng(0)
    proto = model(
        "q = MatMul (x, w) r = Reshape (q, s) t = Softmax <axis=-1> (r) f = Reshape (t, d) y = MatMul (f, v)",
        "float[5,4] x", "float[5,3] y",
        initializers={
            "w": rng.normal(size=(4, 8)).astype(np.float32), "v": rng.normal(size=(8, 3)).astype(np.float32),
            "s": np.array([5, 4, 2], np.int64), "d": np.array([5, 8], np.int64),
        },
    )  # fmt: skip
    plan = pruned(lifted(proto), [PruneChannels(round_to=1)])
    assert [4] == [int(mask.sum()) for mask in plan.kept("w").values()]
    half = plan.axes[0].kept
    half[:] = [True, False, True, True, True, True, True, True]
    with pytest.raises(
        PruningError, match="keeps a part of some heads or blocks of weight 'w' axis 1, which is 4 times 2"
    ):
        apply_plan(lifted(proto).graph, plan, PassContext())


def test_functions_have_masks_of_their_own(tmp_path):
    """A function's weights are named after it, and masked there."""
    once, again, ctx = with_function(), with_function(), PassContext()
    PassManager([PruneMagnitude(sparsity=0.5)]).run(once, ctx)
    assert {"w", "local::Layer/c"} == ctx.pruned.masks.keys()
    path = record_plan(ctx.pruned).save(tmp_path / "plan.json")
    PassManager([ApplyPruningPlan(str(path))]).run(again)
    assert structural_equal(once, again)


def with_function():
    """A product in the main graph, and one in a function."""
    body = Graph("body")
    x, y = body.add_input(Value("x")), Value("y")
    body.append(Node("MatMul", [x, body.add_constant(HIDDEN["v"], "c")], [y]))
    body.add_output(y)
    text, start = "h = MatMul (x, w) y = local.Layer (h)", {"w": HIDDEN["w"]}
    owner = lifted(model(text, "float[5,4] x", "float[5,3] y", imports=', "local" : 1', initializers=start))
    function = Function("local", "Layer", body, {"": 17})
    owner.functions[function.key] = function
    return owner
