"""Weights are matched by their numbers and not by names alone, taken out and back in exactly, and whatever does not fit is one line."""

import numpy as np
import pytest
from graphopt_torch import (
    Source,
    WeightNames,
    from_state_dict,
    kept_of_parameters,
    masks_of_parameters,
    match_weights,
    to_state_dict,
)
from graphopt_torch.arrangement import Arrangement, arrangements
from graphopt_torch.recurrent import stacks_of

import graphopt
from graphopt.compiler import PlanRecorder
from graphopt.errors import ModelError, PruningError
from graphopt.ir import Constant, DType, GraphBuilder
from graphopt.passes import AxisPlan, PackedMask, PruningPlan

EXPORTERS = ("dynamo", "script")


def outputs(model, feeds):
    with graphopt.Session(model, optimize=False, threads=1) as session:
        return session.run(feeds)["y"]


def pruned(model, passes):
    """The model that passes leave, and the plan of what they did."""
    recorder = PlanRecorder()
    result = graphopt.optimize(model, pipeline=f"O2,{passes}", check=False, instrumentations=[recorder])
    return result.model, recorder.plan


CHANNELS = "prune-channels{ratio=0.5,round_to=1}"


# -- names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_every_weight_has_its_parameter(sample, exporter, epsilon):
    found = match_weights(sample.exported(sample.STATE, names=exporter, epsilon=epsilon), sample.STATE)
    stem, head = ("stem.weight", "val_3") if exporter == "dynamo" else ("onnx::Conv_41", "onnx::MatMul_9")
    assert ("norm.", epsilon) == (found.sources[stem].norm.prefix, found.sources[stem].norm.epsilon)
    assert Source("head.weight", Arrangement((1, 0), 2)) == found.sources[head]
    assert Source("conv.weight", Arrangement((0, 1, 2, 3), 4)) == found.sources["conv.weight"]
    assert ({}, (), ("norm.num_batches_tracked",)) == (found.unmatched, found.unused, found.counters)
    assert found.summary().startswith("7 weights are parameters, 1 of them with a BatchNormalization folded in")


def test_a_name_alone_is_not_believed(sample):
    """A weight that has the name of a parameter and other numbers is not that parameter."""
    other = {**sample.STATE, "conv.weight": sample.STATE["conv.weight"] + 1}
    found = match_weights(sample.exported(sample.STATE), other)
    assert "no parameter holds its numbers" == found.unmatched["conv.weight"]
    assert "conv.weight" in found.unused


def test_equal_numbers_are_no_guess(sample):
    """Weights of two parameters that hold the same are left, unless a name tells them apart."""
    twice = {**sample.STATE, "second.weight": sample.STATE["head.weight"], "third.bias": sample.STATE["hidden.bias"]}
    found = match_weights(sample.exported(sample.STATE), twice)
    assert "2 parameters hold its numbers (head.weight, second.weight)" == found.unmatched["val_3"]
    assert "hidden.bias" == found.sources["hidden.bias"].parameter


def test_prefixes_of_wrapped_modules_are_seen_through(sample):
    wrapped = {f"model.{name}": array for name, array in sample.STATE.items()}
    found = match_weights(sample.exported(sample.STATE), wrapped)
    assert "model.conv.bias" == found.sources["conv.bias"].parameter
    assert "model.norm." == found.sources["stem.weight"].norm.prefix


@pytest.mark.parametrize(
    ("weight", "parameter", "expected"),
    [
        ((3, 4), (3, 4), [(0, 1)]),
        ((3, 4), (4, 3), [(1, 0)]),
        ((3, 3), (3, 3), [(0, 1), (1, 0)]),
        ((8, 1, 1), (8,), [(0, -1, -1)]),
        ((8,), (1, 8, 1), [(1,)]),
        ((1,), (), [(-1,)]),
        ((2, 3, 4), (4, 3, 2), []),
        ((3,), (4,), []),
    ],
)
def test_arrangements_are_those_that_shapes_allow(weight, parameter, expected):
    found = arrangements(weight, parameter)
    assert expected == [item.axes for item in found]
    array = np.arange(np.prod(parameter, dtype=int)).reshape(parameter)
    for item in found:
        assert weight == item.weight(array).shape
        np.testing.assert_array_equal(array, item.parameter(item.weight(array)))


def test_names_are_the_same_after_they_were_saved(sample, tmp_path):
    found = match_weights(sample.exported(sample.STATE), sample.STATE)
    assert found == WeightNames.load(found.save(tmp_path / "names.json"))


def source(arrangement, stack="null"):
    """A file of one weight."""
    return f'{{"format": 1, "sources": {{"w": {{"parameter": "w", "arrangement": {arrangement}, "stack": {stack}}}}}}}'


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read"),
        ("{", "is not understood"),
        ("[]", "is no file of names"),
        ('{"format": 2}', "is no file of names"),
        ('{"format": 1}', "missing required field `sources`"),
        ('{"format": 1, "sources": {"w": {"parameter": 1}}}', "is not understood"),
        (source('{"axes": [0, 0], "rank": 2}'), r"axes \[0, 0\] are not those of a parameter of 2, each once"),
        (source('{"axes": [3], "rank": 1}'), r"axes \[3\] are not those"),
        (source('{"axes": [], "rank": 0}', '{"names": ["a"], "gates": [0, 5]}'), "make no weight"),
        (source('{"axes": [], "rank": 0}', '{"names": ["a"], "gates": [0], "each": 2}'), "make no weight"),
    ],
)
def test_what_is_no_file_of_names_is_told(content, line, tmp_path):
    path = tmp_path / "names.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelError, match=line) as told:
        WeightNames.load(path)
    assert "\n" not in str(told.value)


# -- weights ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_trained_parameters_are_what_the_exporter_would_write(sample, exporter):
    model, tuned = sample.exported(sample.STATE, names=exporter), sample.state(7)
    made = from_state_dict(model, tuned, match_weights(model, sample.STATE))
    expected = outputs(sample.exported(tuned, names=exporter), sample.images())
    np.testing.assert_allclose(outputs(made, sample.images()), expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(expected, outputs(model, sample.images()), atol=1e-2)


def test_weights_come_back_as_they_went(sample):
    """To parameters and in again; only folding rounds."""
    model = sample.exported(sample.STATE)
    names = match_weights(model, sample.STATE)
    found = to_state_dict(model, sample.STATE, names)
    assert sample.STATE.keys() == found.keys()
    for name, array in sample.STATE.items():
        np.testing.assert_allclose(array, found[name], rtol=1e-5, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(sample.STATE["head.weight"], found["head.weight"])


def test_masked_parameters_are_taken_masked(sample):
    model = sample.exported(sample.STATE)
    mask = np.ones_like(sample.STATE["head.weight"])
    mask[0] = 0
    masked = {**sample.STATE, "head.weight_orig": sample.STATE["head.weight"], "head.weight_mask": mask}
    del masked["head.weight"]
    made = from_state_dict(model, masked, match_weights(model, sample.STATE))
    assert not outputs(made, sample.images())[:, 0].any()


def test_a_scale_of_zero_keeps_what_the_parameter_was(sample):
    """Of a channel whose BatchNormalization has no weight, nothing can be told from the folded one."""
    dead = {**sample.STATE, "norm.weight": sample.STATE["norm.weight"] * (np.arange(16) != 3)}
    model = sample.exported(dead)
    found = to_state_dict(model, dead, match_weights(model, dead))
    np.testing.assert_array_equal(dead["stem.weight"][3], found["stem.weight"][3])
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda found: found.pop("conv.bias"), "the parameters have no 'conv.bias'; of the same module?"),
        (lambda found: found.pop("norm.running_var"), "the parameters have no 'norm.running_var'"),
        (lambda found: found.update(extra=np.ones(3)), "the model was exported without parameter 'extra'"),
        (lambda found: found.update({"conv.bias": np.ones(9, np.float32)}), r"of shape \[9\], expected \[8\]"),
        (
            lambda found: found.update({"conv.bias": np.ones((8, 1), np.float32)}),
            "another rank than weight 'conv.bias'",
        ),
        (lambda found: found.update({"conv.bias": np.ones(8)}), "is of float64, and weight 'conv.bias' of float"),
        (
            lambda found: found.update({"norm.weight": np.ones(9, np.float32)}),
            "the vectors of 'norm' have 9, 16, 16, 16 numbers",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_told(sample, change, line):
    model, changed = sample.exported(sample.STATE), dict(sample.STATE)
    change(changed)
    with pytest.raises(ModelError, match=line) as told:
        from_state_dict(model, changed, match_weights(model, sample.STATE))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("directions", [1, 2])
def test_gates_are_put_in_the_order_of_onnx(op, directions):
    """Each gate by its number: what ONNX has first is the first of PyTorch's in this order."""
    gates, order = {"LSTM": (4, (0, 3, 1, 2)), "GRU": (3, (1, 0, 2)), "RNN": (1, (0,))}[op]
    rng, state, size = np.random.default_rng(0), {}, 5
    for end in ["", "_reverse"][:directions]:
        for kind, shape in {"weight_ih": (3,), "weight_hh": (size,), "bias_ih": (), "bias_hh": ()}.items():
            blocks = [rng.normal(size=(size, *shape)) + 10 * gate for gate in range(gates)]
            state[f"rnn.{kind}_l0{end}"] = np.concatenate(blocks).astype(np.float32)
    b = GraphBuilder(opset=18)
    x = b.input("x", DType.FLOAT, ["t", "n", 3])
    made = [stack.weight([state[name] for name in stack.names]) for stack in stacks_of(state)]
    assert [(directions, gates * size, 3), (directions, gates * size, size), (directions, 2 * gates * size)] == [
        array.shape for array in made
    ]
    assert [10 * gate for gate in order] == np.round(made[0][0].reshape(gates, -1).mean(axis=1), -1).tolist()
    direction = {"direction": "bidirectional"} if directions == 2 else {}
    reset = {"linear_before_reset": 1} if op == "GRU" else {}
    b.output(b.op(op, x, *(b.constant(array) for array in made), hidden_size=size, **direction, **reset), "y")
    names = match_weights(b.build(), state)
    assert ({}, ()) == (names.unmatched, names.unused)
    found = to_state_dict(b.model, state, names)
    for name, array in state.items():
        np.testing.assert_array_equal(array, found[name])
    changed = from_state_dict(b.model, {name: 2 * array for name, array in state.items()}, names)
    np.testing.assert_array_equal(2 * made[2], next(iter(reversed(changed.graph.initializers()))).const.numpy())
    with pytest.raises(ModelError, match="differ in shape or type"):
        from_state_dict(b.model, {**state, "rnn.bias_hh_l0": np.ones(3, np.float32)}, names)


def test_a_matrix_that_two_weights_are_is_found_for_both():
    """An embedding that is tied to the last layer; it can't come back as two."""
    state = {"table.weight": np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)}
    b = GraphBuilder(opset=18)
    table = b.constant(state["table.weight"], "table.weight")
    y = b.Gather(table, b.input("x", DType.INT64, ["n"]))
    b.output(b.MatMul(y, b.constant(np.ascontiguousarray(state["table.weight"].T), "val_0")), "y")
    names = match_weights(b.build(), state)
    assert {"table.weight", "val_0"} == names.sources.keys()
    np.testing.assert_array_equal(state["table.weight"], to_state_dict(b.model, state, names)["table.weight"])
    apart = from_state_dict(b.model, {"table.weight": 3 * state["table.weight"]}, names)
    value = next(value for value in apart.graph.initializers() if value.name == "val_0")
    np.testing.assert_array_equal(3 * state["table.weight"].T, value.const.numpy())
    value.const = Constant(np.zeros((4, 7), np.float32))
    with pytest.raises(ModelError, match="as another weight is, and they differ now"):
        to_state_dict(apart, state, names)


# -- pruned -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_pruned_model_gives_pruned_parameters_that_make_it_again(sample, exporter):
    model = sample.exported(sample.STATE, names=exporter)
    left, plan = pruned(model, CHANNELS)
    names = match_weights(model, sample.STATE, plan)
    found = to_state_dict(left, sample.STATE, names, plan)
    assert [(8, 3, 3, 3), (8,), (4, 8, 3, 3), (6, 4), (5, 6)] == [
        found[name].shape for name in ("stem.weight", "norm.bias", "conv.weight", "hidden.weight", "head.weight")
    ]
    again = from_state_dict(left, found, names)
    np.testing.assert_allclose(outputs(left, sample.images()), outputs(again, sample.images()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        outputs(sample.exported(found, names=exporter), sample.images()),
        outputs(left, sample.images()),
        rtol=1e-4,
        atol=1e-5,
    )


def test_without_the_plan_pruned_weights_are_told(sample):
    model = sample.exported(sample.STATE)
    left, plan = pruned(model, CHANNELS)
    names = match_weights(model, sample.STATE, plan)
    with pytest.raises(ModelError, match="give the plan"):
        to_state_dict(left, sample.STATE, names)
    with pytest.raises(ModelError, match=r"is one of them pruned and the other not\?"):
        from_state_dict(left, sample.STATE, names)


def test_masks_of_the_full_size_leave_what_the_plan_leaves(sample, tmp_path):
    """Trained at full size behind these masks, the model that the plan cuts computes the same."""
    model = sample.exported(sample.STATE)
    _left, plan = pruned(model, f"{CHANNELS},prune-magnitude{{sparsity=0.3}}")
    names = match_weights(model, sample.STATE, plan)
    masks = masks_of_parameters(plan, names, {name: array.shape for name, array in sample.STATE.items()})
    assert {"stem.weight", "norm.weight", "norm.running_var", "conv.bias", "head.weight"} <= masks.keys()
    trained = {name: array * masks.get(name, 1) for name, array in sample.state(3).items()}
    trained["norm.running_var"] = sample.state(3)["norm.running_var"]
    trained = {name: array.astype(sample.STATE[name].dtype) for name, array in trained.items()}
    whole = from_state_dict(model, trained, match_weights(model, sample.STATE))
    path = plan.save(tmp_path / "plan.json")
    cut = graphopt.optimize(whole, pipeline=f'O2,apply-pruning-plan{{plan="{path}"}}', check=False).model
    np.testing.assert_allclose(outputs(whole, sample.images()), outputs(cut, sample.images()), rtol=1e-5, atol=1e-6)
    assert plan.masks


def test_single_weights_are_masked_in_the_order_of_the_parameter(sample):
    model = sample.exported(sample.STATE)
    left, plan = pruned(model, "prune-magnitude{sparsity=0.6}")
    names = match_weights(model, sample.STATE, plan)
    shapes = {name: array.shape for name, array in sample.STATE.items()}
    for shrunk in (False, True):
        masks = masks_of_parameters(plan, names, shapes, shrunk=shrunk)
        np.testing.assert_array_equal(
            masks["head.weight"], to_state_dict(left, sample.STATE, names)["head.weight"] != 0
        )


def test_a_plan_of_another_model_is_told(sample):
    names = match_weights(sample.exported(sample.STATE), sample.STATE)
    strange = AxisPlan(("w",), np.array([True, False]), {"w": (0,)})
    with pytest.raises(PruningError, match="the plan cuts 'w', which is no weight of floats"):
        kept_of_parameters(PruningPlan("0f", (strange,)), names)
    kept = np.arange(8) > 3
    torn = (AxisPlan((), kept, {"conv.weight": (0,)}), AxisPlan((), ~kept, {"conv.bias": (0,)}))
    assert 2 == len(kept_of_parameters(PruningPlan("0f", torn), names))
    tied = WeightNames({**names.sources, "conv.bias": names.sources["conv.weight"]})
    with pytest.raises(PruningError, match="different indices of parameter 'conv"):
        kept_of_parameters(PruningPlan("0f", torn), tied)


def test_masks_of_what_is_left_alone_are_none(sample):
    names = match_weights(sample.exported(sample.STATE), sample.STATE)
    assert {} == masks_of_parameters(PruningPlan("0f"), names, {})
    strange = PruningPlan("0f", (), {"none.such": PackedMask.of(np.array([True]))})
    with pytest.raises(PruningError, match="which is no weight of floats"):
        masks_of_parameters(strange, names, {})


def test_a_cut_weight_without_a_parameter_is_told_while_parameters_are_left(sample):
    """A constant of the model's own may be cut; one that a parameter was made into may not go unnoticed."""
    other = {**sample.STATE, "conv.bias": sample.STATE["conv.bias"] + 1}
    names = match_weights(sample.exported(sample.STATE), other)
    plan = PruningPlan("0f", (AxisPlan((), np.arange(8) > 3, {"conv.bias": (0,)}),))
    with pytest.raises(PruningError, match=r"no parameter is known .*, and 'conv\.bias' may be what it is made of"):
        kept_of_parameters(plan, names)
    own = WeightNames(names.sources, names.unmatched, (), names.counters)
    assert {} == kept_of_parameters(plan, own)
