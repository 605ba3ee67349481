"""Live modules: both exporters, pruned, fine-tuned in PyTorch at their new size or behind masks, and back in ONNX with the same outputs."""

import copy
import importlib.util
import pickle
import warnings

import numpy as np
import pytest
from graphopt_torch import (
    WeightNames,
    apply_masks,
    from_state_dict,
    masks_of_parameters,
    match_weights,
    remove_masks,
    shrink,
    state_of,
    to_state_dict,
)
from graphopt_torch.files import read_state, write_state

import graphopt
from graphopt.compiler import PlanRecorder
from graphopt.data import digits_test
from graphopt.errors import ModelError, PruningError
from graphopt.ir import GraphBuilder
from graphopt.passes import AxisPlan, PruningPlan

if importlib.util.find_spec("torch") is None:
    pytest.skip("torch is not installed; pip install torch", allow_module_level=True)
import torch
from torch import nn

torch.set_num_threads(1)
EXPORTERS = [False] + [True] * (importlib.util.find_spec("onnxscript") is not None)


class Residual(nn.Module):
    """A stem, a residual block, a grouped convolution, a depthwise one, two linear layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(16)
        self.first = nn.Conv2d(16, 24, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(24, eps=1e-3)
        self.second = nn.Conv2d(24, 16, 1)
        self.grouped = nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=4)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.slope = nn.PReLU(32)
        self.hidden = nn.Linear(32, 24)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = x + self.second(torch.relu(self.first_norm(self.first(x))))
        x = self.slope(self.depthwise(torch.relu(self.grouped(x))))
        return self.head(torch.relu(self.hidden(x.mean((2, 3)))))


def digits():
    """Digits for training, and others for judging."""
    images, labels = digits_test()
    x, y = torch.as_tensor(images.reshape(-1, 1, *images.shape[-2:])), torch.as_tensor(labels.astype(np.int64))
    half = len(x) // 2
    return (x[:half], y[:half]), (x[half:], y[half:])


def train(module, data, steps, rate=0.01):
    """A few steps."""
    x, y = data
    optimizer = torch.optim.Adam(module.parameters(), rate)
    order = torch.Generator().manual_seed(0)
    module.train()
    for _ in range(steps):
        chosen = torch.randint(len(x), (64,), generator=order)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[chosen]), y[chosen]).backward()
        optimizer.step()
    return module.eval()


@pytest.fixture(scope="module")
def trained():
    """A trained network and its accuracy on other digits."""
    torch.manual_seed(0)
    training, judging = digits()
    module = train(Residual(), training, 150)
    return module, accuracy_of(module, judging)


def accuracy_of(module, data):
    with torch.no_grad():
        return float((module(data[0]).argmax(1) == data[1]).float().mean())


@pytest.fixture(scope="module", params=EXPORTERS, ids=lambda dynamo: "dynamo" if dynamo else "script")
def model(request, trained, tmp_path_factory):
    """The file that an exporter of torch writes."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    x = digits()[1][0][:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if request.param:
            batch = torch.export.Dim("n")
            torch.onnx.export(trained[0], (x,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
        else:
            names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
            torch.onnx.export(trained[0], (x,), path, dynamo=False, **names)
    return path


def pruned(source, passes):
    recorder = PlanRecorder()
    result = graphopt.optimize(source, pipeline=f"O2,{passes}", check=False, instrumentations=[recorder])
    return result.model, recorder.plan


def assert_same(onnx, module):
    """An ONNX model and a module give the same."""
    x = digits()[1][0][:64]
    with graphopt.Session(onnx, optimize=False, threads=1) as session, torch.no_grad():
        (found,) = session.run({name: x.numpy() for name in [session.inputs[0].name]}).values()
        np.testing.assert_allclose(module(x).numpy(), found, rtol=1e-3, atol=1e-3)


CHANNELS = "prune-channels{flops=0.5,round_to=2}"


def test_a_pruned_network_is_fine_tuned_at_its_new_size(model, trained):
    """Export, prune by half, to torch, a few steps, back: the model in ONNX is as good as the module, and better than before."""
    module, accuracy = trained
    training, judging = digits()
    left, plan = pruned(model, CHANNELS)
    names = match_weights(model, state_of(module), plan)
    assert () == names.unused
    small = shrink(copy.deepcopy(module), plan, names)
    found = to_state_dict(left, module, names, plan)
    small.load_state_dict({name: torch.as_tensor(array) for name, array in found.items()})
    assert_same(left, small.eval())
    assert sum(item.numel() for item in small.parameters()) < 0.7 * sum(item.numel() for item in module.parameters())
    before = accuracy_of(small, judging)
    train(small, training, 100)
    tuned = from_state_dict(left, small.state_dict(), names)
    assert_same(tuned, small)
    after = accuracy_of(small, judging)
    assert after > accuracy - 0.06
    assert after >= before


def test_zeros_stay_zero_while_it_is_fine_tuned(model, trained):
    """Of channels that are left, by masks of 2:4 for single weights."""
    module, accuracy = trained
    training, judging = digits()
    left, plan = pruned(model, f"{CHANNELS},prune-n-m")
    names = match_weights(model, state_of(module), plan)
    small = shrink(copy.deepcopy(module), plan, names)
    found = to_state_dict(left, module, names, plan)
    small.load_state_dict({name: torch.as_tensor(array) for name, array in found.items()})
    masks = masks_of_parameters(plan, names, {}, shrunk=True)
    assert sorted(masks) == sorted(apply_masks(small, masks))
    train(small, training, 100)
    with_masks = from_state_dict(left, small.state_dict(), names)
    remove_masks(small)
    assert not any("mask" in name for name in small.state_dict())
    tuned = from_state_dict(left, small.state_dict(), names)
    assert_same(with_masks, small)
    assert_same(tuned, small)
    for name, mask in masks.items():
        assert not small.state_dict()[name].numpy()[~mask].any()
    assert accuracy_of(small, judging) > accuracy - 0.06


def test_a_network_of_the_full_size_is_cut_after_it_was_trained_behind_masks(model, trained, tmp_path):
    module, _accuracy = trained
    _left, plan = pruned(model, CHANNELS)
    arrays = state_of(module)
    masks = masks_of_parameters(
        plan, match_weights(model, arrays, plan), {name: array.shape for name, array in arrays.items()}
    )
    full = copy.deepcopy(module)
    apply_masks(full, masks)
    train(full, digits()[0], 20)
    remove_masks(full)
    tuned = from_state_dict(model, full.state_dict(), match_weights(model, arrays))
    path = plan.save(tmp_path / "plan.json")
    cut = graphopt.optimize(tuned, pipeline=f'O2,apply-pruning-plan{{plan="{path}"}}', check=False)
    assert cut.report.bytes_after < 0.7 * cut.report.bytes_before
    assert_same(cut.model, full)


def test_layers_know_their_sizes_after_they_are_cut(model, trained):
    module, _accuracy = trained
    _left, plan = pruned(model, "prune-channels{ratio=0.5,round_to=2}")
    small = shrink(copy.deepcopy(module), plan, match_weights(model, state_of(module), plan))
    for layer in small.modules():
        if isinstance(layer, nn.Conv2d):
            assert (layer.out_channels, layer.in_channels // layer.groups) == tuple(layer.weight.shape[:2])
        if isinstance(layer, nn.Linear):
            assert (layer.out_features, layer.in_features) == tuple(layer.weight.shape)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.num_features == len(layer.running_mean)
    assert small.depthwise.groups == small.depthwise.out_channels < 32
    assert all(isinstance(item, nn.Parameter) and item.requires_grad for item in small.parameters())


def test_what_can_not_be_cut_is_told_and_nothing_is_changed(trained):
    module = nn.Sequential(nn.Linear(4, 6), nn.Bilinear(6, 5, 20))
    names = match_weights_of(module)
    before = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    kept = np.arange(20) < 10
    plan = PruningPlan("0f", (AxisPlan((), kept, {"1.weight": (0,)}), AxisPlan((), kept[8:14], {"0.weight": (0,)})))
    with pytest.raises(PruningError, match="Bilinear can't be cut to size"):
        shrink(module, plan, names)
    assert before == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    with pytest.raises(PruningError, match=r"parameter '0\.weight' has shape"):
        shrink(module, PruningPlan("0f", (AxisPlan((), kept, {"0.weight": (0,)}),)), names)
    with pytest.raises(PruningError, match=r"the module has no parameter '0\.weight'"):
        shrink(nn.Sequential(), PruningPlan("0f", (AxisPlan((), kept, {"0.weight": (0,)}),)), names)


def match_weights_of(module):
    """Names of a module whose parameters are the weights themselves."""
    b = GraphBuilder(opset=18)
    for name, array in state_of(module).items():
        b.output(b.Neg(b.constant(array, name)))
    return match_weights(b.build(), state_of(module))


def test_attention_is_matched_and_not_cut(tmp_path):
    """Weights of a whole transformer have their parameters, if it is not rewritten before; its attention can't be cut to size."""
    torch.manual_seed(0)
    layers = [nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True) for _ in range(2)]
    module = nn.Sequential(nn.Linear(6, 16), *layers, nn.Linear(16, 5)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, 7, 6),), tmp_path / "model.onnx", dynamo=False)
    recorder = PlanRecorder()
    passes = "O1,prune-channels{ratio=0.5,round_to=2}"
    left = graphopt.optimize(tmp_path / "model.onnx", pipeline=passes, check=False, instrumentations=[recorder]).model
    names = match_weights(tmp_path / "model.onnx", state_of(module), recorder.plan)
    assert ((), len(module.state_dict())) == (names.unused, len(names.sources))
    with pytest.raises(PruningError, match="MultiheadAttention can't be cut to size"):
        shrink(module, recorder.plan, names)
    hidden = recorder.plan.without(
        ["*attn*", *(name for name in names.sources if "attn" in names.sources[name].parameter)]
    )
    small = shrink(module, hidden, names)
    assert (16, 16) == (small[1].linear1.out_features, small[1].linear2.in_features)
    assert small(torch.randn(2, 7, 6)).shape == (2, 7, 5)
    assert to_state_dict(left, state_of(nn.Sequential()), WeightNames({})) == {}


class Recurrent(nn.Module):
    """Both directions of an LSTM, then a GRU."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 12, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(24, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


@pytest.mark.parametrize("dynamo", EXPORTERS)
def test_recurrent_layers_go_and_come_back_with_fewer_units(dynamo, tmp_path):
    torch.manual_seed(0)
    module, x = Recurrent().eval(), torch.randn(2, 7, 6)
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), path, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    left, plan = pruned(path, "prune-channels{ratio=0.5,round_to=2}")
    names = match_weights(path, state_of(module), plan)
    assert ((), 8) == (
        names.unused,
        sum(source.stack is not None or bool(source.parameter) for source in names.sources.values()),
    )
    small = shrink(copy.deepcopy(module), plan, names)
    assert (6, 4, 4) == (small.lstm.hidden_size, small.gru.hidden_size, small.head.in_features)
    found = to_state_dict(left, module, names, plan)
    small.load_state_dict({name: torch.as_tensor(array) for name, array in found.items()})
    tuned = from_state_dict(left, small.state_dict(), names)
    for onnx in (left, tuned):
        with graphopt.Session(onnx, optimize=False, threads=1) as session, torch.no_grad():
            (given,) = session.run({session.inputs[0].name: x.numpy()}).values()
            np.testing.assert_allclose(small(x).numpy(), given, rtol=1e-4, atol=1e-5)
    masks = masks_of_parameters(plan, names, {name: tensor.shape for name, tensor in module.state_dict().items()})
    assert masks["lstm.weight_hh_l0"].sum() == found["lstm.weight_hh_l0"].size


def test_layers_of_one_lstm_have_one_size():
    module = nn.LSTM(4, 6, num_layers=2)
    names = match_weights_of(module)
    kept = AxisPlan((), np.arange(6) > 2, {"weight_hh_l0": (1,)})
    with pytest.raises(PruningError, match=r"LSTM has one size for all its layers, and the plan keeps \[3, 6\] units"):
        shrink(module, PruningPlan("0f", (kept,)), names)


def test_tied_parameters_are_there_once_and_stay_tied():
    module = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7, bias=False))
    module[1].weight = module[0].weight
    assert ["0.weight"] == list(state_of(module))
    kept = AxisPlan((), np.array([True, False, True]), {"0.weight": (1,)})
    shrink(module, PruningPlan("0f", (kept,)), match_weights_of(module))
    assert module[1].weight is module[0].weight
    assert (2, 2, (7, 2)) == (module[0].embedding_dim, module[1].in_features, tuple(module[0].weight.shape))
    b = GraphBuilder(opset=18)
    b.output(b.Neg(b.constant(state_of(module)["0.weight"], "0.weight")), "y")
    tuned = from_state_dict(b.build(), module.state_dict(), match_weights(b.model, state_of(module)))
    assert 1 == len(tuned.graph.initializers())


@pytest.mark.parametrize(
    ("kept", "groups"), [([1, 0, 1, 0, 1, 0], 3), ([1, 1, 0, 0, 1, 1], 2), ([1, 1, 1, 0, 1, 1], None)]
)
def test_normalization_of_groups_loses_whole_groups_or_as_much_of_each(kept, groups):
    module = nn.Sequential(nn.GroupNorm(3, 6))
    with torch.no_grad():
        module[0].weight.uniform_()
        module[0].bias.uniform_()
    plan = PruningPlan("0f", (AxisPlan((), np.array(kept, bool), {"0.weight": (0,), "0.bias": (0,)}),))
    if groups is None:
        with pytest.raises(PruningError, match="3 groups would keep different numbers of channels"):
            shrink(module, plan, match_weights_of(module))
        return
    shrink(module, plan, match_weights_of(module))
    assert (groups, sum(kept)) == (module[0].num_groups, module[0].num_channels)
    assert module(torch.randn(1, sum(kept), 2)).shape == (1, sum(kept), 2)


def test_a_parameter_that_is_not_there_can_not_be_masked():
    module = nn.Linear(3, 2)
    with pytest.raises(PruningError, match="the module has no parameter 'wieght' to mask"):
        apply_masks(module, {"weight": np.ones((2, 3), bool), "wieght": np.ones((2, 3), bool)})
    assert ["weight"] == apply_masks(module, {"weight": np.ones((2, 3), bool)})


def test_bfloat16_keeps_its_bits():
    module = nn.Linear(3, 2).to(torch.bfloat16)
    found = state_of(module)["weight"]
    assert "bfloat16" == found.dtype.name
    np.testing.assert_array_equal(module.weight.detach().float().numpy(), found.astype(np.float32))


def test_files_of_torch_are_read_and_nothing_in_them_is_run(sample, tmp_path):
    arrays = sample.state()
    path = write_state(tmp_path / "state.pt", arrays)
    found = read_state(path)
    assert arrays.keys() == found.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, found[name])
    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, tmp_path / "checkpoint.pt")
    assert ["w"] == list(read_state(tmp_path / "checkpoint.pt"))
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="is no state dict"):
        read_state(tmp_path / "other.pt")
    (tmp_path / "code.pt").write_bytes(pickle.dumps({"w": Harmful()}, protocol=2))
    with pytest.raises(ModelError, match="is not understood") as told:
        read_state(tmp_path / "code.pt")
    assert "\n" not in str(told.value)
    assert not DONE


DONE = []


class Harmful:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return DONE.append, (1,)
