"""One walk over model and data for all layers: each run begins where the last one ended, and gives what runs from the inputs give."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.ir import Constant, clone_model
from graphopt.passes import PassContext, Reference
from graphopt.rewriting import NoMatch
from graphopt.transforms.pruning import PruneChannels, ReconstructLayers, fitting, tape
from graphopt.transforms.pruning.joined import cut_to
from graphopt.transforms.pruning.paired import PairedMoments, Target
from graphopt.transforms.pruning.walking import Walk
from graphopt.transforms.statistics import read_layer
from tests.transforms.harness import model
from tests.transforms.pruning import networks
from tests.transforms.pruning.calibration import Batches
from tests.transforms.pruning.networks import Network, lifted

RNG = np.random.default_rng(3)


class Extensible(Batches):
    """Batches that can have further arrays; counts the nodes of all models that it runs."""

    def __init__(self, *batches, more=None, counted=None) -> None:
        super().__init__(*batches)
        self.more, self.counted = more, counted if counted is not None else []

    def observe(self, model, observers):
        cut = clone_model(model)
        cut_to(cut, observers.keys())
        self.counted.append(len(cut.graph.nodes))
        kept = self.batches
        if self.more is not None:
            self.batches = tuple({**batch, **self.more(number)} for number, batch in enumerate(kept))
        try:
            return super().observe(model, observers)
        finally:
            self.batches = kept

    def with_arrays(self, more):
        return Extensible(*self.batches, more=more, counted=self.counted)


def images(count=4, size=6):
    return [{"x": RNG.normal(size=(3, 3, size, size)).astype(np.float32)} for _ in range(count)]


def deep(layers=6):
    """Residual blocks, one behind the other."""
    net = Network(1)
    x = net.input("x", ["batch", 3, 6, 6], np.zeros((1, 3, 6, 6), np.float32))
    x = net.op("Relu", net.conv(x, 3, 16, kernel=3))
    for _ in range(layers):
        y = net.op("Relu", net.conv(x, 16, 24))
        x = net.op("Add", net.conv(y, 24, 16), x)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return lifted(net.model(net.op("Gemm", x, net.weight(5, 16), net.weight(5), transB=1)))


def weights(owner):
    return {value.name: value.array() for value in owner.graph.initializers()}


def recovered(owner, source, *, round_to=8):
    owner = clone_model(owner)
    ctx = PassContext(calibration=source)
    PruneChannels(ratio=0.3, round_to=round_to).run(owner.graph, ctx)
    result = ReconstructLayers().run(owner.graph, ctx)
    return weights(owner), dict(result.stats)


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_each_node_runs_about_once():
    """Without further arrays, the runs of a chain of layers have as many nodes as the square of its length."""
    owner, data = deep(), images()
    source = Extensible(*data)
    found, stats = recovered(owner, source)
    expected, _ = recovered(owner, Batches(*data))
    assert_equal(expected, found)
    assert {"layers": 14} == stats
    assert 14 == len(source.counted)
    assert sum(source.counted) <= 2 * len(owner.graph.nodes) + 14


@pytest.mark.parametrize("most", [0, 1 << 14])
def test_what_is_too_much_is_not_kept(monkeypatch, most):
    """Then a run begins earlier, and gives the same."""
    owner, data = deep(2), images()
    expected, _ = recovered(owner, Batches(*data))
    monkeypatch.setattr(tape, "_MOST", most)
    source = Extensible(*data)
    found, _ = recovered(owner, source)
    assert_equal(expected, found)
    assert sum(source.counted) > 2 * len(owner.graph.nodes)


def test_a_tape_goes_to_a_file(monkeypatch):
    owner, data = deep(2), images()
    expected, _ = recovered(owner, Batches(*data))
    monkeypatch.setattr(tape, "_IN_MEMORY", 1 << 10)
    found, _ = recovered(owner, Extensible(*data))
    assert_equal(expected, found)


def test_layers_beside_each_other_share_a_run():
    """Query, key and value of an attention read the same tensor."""
    net = Network(0)
    x = net.input("x", ["batch", 5, 6], np.zeros((2, 5, 6), np.float32))
    x = networks._linear(net, x, 6, 8)
    batch = net.op("Slice", net.op("Shape", x), net.ints(0), net.ints(1))
    x, c = networks._attention(net, x, 8, 12, batch)
    owner = lifted(net.model(networks._linear(net, x, c, 4)))
    source = Extensible(*({"x": RNG.normal(size=(2, 5, 6)).astype(np.float32)} for _ in range(3)))
    _, stats = recovered(owner, source, round_to=1)
    assert stats["layers"] > len(source.counted)


@pytest.mark.parametrize(
    "text",
    [
        (
            "h = MatMul(x, w) i = MatMul(h, v) c = If(flag) <then_branch = g () => (float[2,8] r) { r = Add(h, h) }, "
            "else_branch = e () => (float[2,8] s) { s = Mul(h, h) }> j = Add(i, c) y = MatMul(j, u)"
        ),
        # integers can't be kept: the node is run once more
        (
            "h = MatMul(x, w) c = If(flag) <then_branch = g () => (int64[2,8] r) { q = Add(h, h) r = Cast<to = 7>(q) }, "
            "else_branch = e () => (int64[2,8] s) { p = Mul(h, h) s = Cast<to = 7>(p) }> d = Cast<to = 1>(c) j = Add(h, d) "
            "k = MatMul(j, v) f = Cast<to = 1>(c) l = Add(k, f) y = MatMul(l, u)"
        ),
    ],
)
def test_what_a_branch_captures_is_kept(text):
    """A tensor that a subgraph reads is needed as long as the node that has the subgraph is."""
    shapes = {"w": (4, 8), "v": (8, 8), "u": (8, 3)}
    arrays = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    owner = lifted(model(text, "float[2,4] x, bool flag", "float[2,3] y", initializers=arrays))
    data = [{"x": RNG.normal(size=(2, 4)).astype(np.float32), "flag": np.array(bool(at % 2))} for at in range(6)]
    changed = clone_model(owner)
    value = next(value for value in changed.graph.initializers() if value.name == "w")
    value.const = Constant(np.asarray(value.array()) * 0.5)
    found = []
    for source in (Batches(*data), Extensible(*data)):
        copy = clone_model(changed)
        ctx = PassContext(calibration=source, reference=Reference(clone_model(owner)))
        assert {"layers": 3} == dict(ReconstructLayers().run(copy.graph, ctx).stats)
        found.append(weights(copy))
    assert_equal(*found)


def test_no_more_rows_are_taken_than_there_need_be():
    owner = deep(1)
    reference = Reference(clone_model(owner))
    layer = read_layer(next(node for node in owner.graph.nodes if node.op == "Conv"))
    assert not isinstance(layer, NoMatch)
    target = Target(reference, layer.node.outputs[0].name)
    counts = []
    for batches in (0, 4, 2000):
        pair = PairedMoments(layer, 16, target, batches)
        with Walk(owner, reference, Batches(*images(size=6))) as walk:
            walk.observe(pair.observers(walk.names), [])
        counts.append(pair.count)
    assert [4 * 108, 4 * 108, 4 * 5] == counts


def test_stages_are_as_long_as_no_layer_reads_another():
    owner = deep(1)
    source = clone_model(owner)
    for value in owner.graph.initializers():
        value.const = Constant(np.asarray(value.array()) + 1.0)
    layers = list(fitting.affected_layers(owner.graph, Reference(source)))
    stages = list(fitting._stages(owner.graph, layers))
    assert layers == [item for stage in stages for item in stage]
    assert [1, 1, 1, 1] == [len(stage) for stage in stages]
