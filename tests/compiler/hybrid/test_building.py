"""Models built in parts give on a GPU that is none what the whole gives, whatever is refused; what can't be built is told."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphopt.backends.tensorrt.backend import TensorRtBackend
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.compiler.cutting import cut, part_of
from graphopt.compiler.hybrid import building, checking
from graphopt.errors import ExecutionError, OutputError, PipelineError, UnsupportedOpError, VerificationError
from tests.backends.tensorrt.library import close, expected, needs_library
from tests.compiler.hybrid.machine import Machine, refuse

pytestmark = needs_library

#: Det has no layers; the rest is before, beside and after it. One output is an input, one is a constant.
MODEL = """<ir_version: 8, opset_import: ["": 17]>
cut (float[n,4,4] x, double u) => (float[n,4,4] y, double v, float[n,4,4] x2, int64[2] k)
{
  d = Det (x)
  axes = Constant <value = int64[2] {1, 2}> ()
  wide = Unsqueeze (d, axes)
  a = MatMul (x, x)
  b = Sigmoid (a)
  c = Mul (b, wide)
  e = MatMul (c, x)
  y = Add (e, x)
  v = Neg (u)
  x2 = Identity (x)
  k = Identity (axes)
}"""
SIZES = {"n": (1, 2, 8)}


def model(text: str = MODEL) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def feeds(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {"x": rng.standard_normal((n, 4, 4), np.float32), "u": np.array(1.5)}


def test_a_folder_runs_as_the_whole(tmp_path):
    machine = Machine.new()
    path = tmp_path / "model.onnx"
    onnx.save(model(), path)
    built = machine.build(path, tmp_path / "parts", sizes=SIZES)
    assert built.verdict is not None
    assert ("ok", "onnxruntime") == (built.verdict.status, built.checked_in)
    assert ["onnxruntime", "tensorrt"] == [part.backend for part in built.manifest.parts]
    [profile] = [part.built["profiles"] for part in built.manifest.parts if part.built]
    assert [[1], [2], [8]] == profile[0]["shapes"]["d"]
    assert 0 < built.manifest.share <= 1
    assert built.manifest.source_sha256
    for n in (1, 3, 8):
        wanted, found = expected(model(), feeds(n)), machine.run(tmp_path / "parts", feeds(n))
        assert list(wanted) == list(found)
        for name, array in wanted.items():
            assert close(found[name], array), name
            assert np.asarray(found[name]).dtype == array.dtype
    assert {} == machine.bench.cuda.held
    assert ["model.onnx", "parts"] == sorted(item.name for item in tmp_path.iterdir()), "no drafts are left"


def partition_takes_some(proto: onnx.ModelProto) -> bool:
    """Whether anything is left for engines."""
    return any(region.taken for region in cut(proto, level="O0").partition.regions)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_generated_models_with_refused_nodes(tmp_path_factory, data):
    ops = data.draw(st.lists(st.sampled_from(["Add", "Sub", "MatMul", "Relu", "Tanh", "If"]), min_size=3, max_size=10))
    lines, values = [], ["x", "w"]
    for place, op in enumerate(ops):
        a, b = (data.draw(st.sampled_from(values)) for _ in range(2))
        out = f"t{place}"
        if op == "If":
            branches = f"then_branch = g{place} () => (float[3,3] p{place}) {{ p{place} = Exp ({a}) }}"
            branches += f", else_branch = h{place} () => (float[3,3] q{place}) {{ q{place} = Neg ({b}) }}"
            lines.append(f"{out} = If (c) <{branches}>")
        else:
            lines.append(f"{out} = {op} ({a})" if op in ("Relu", "Tanh") else f"{out} = {op} ({a}, {b})")
        values.append(out)
    outputs = ", ".join(f"float[3,3] {name}" for name in values[2:])
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[3,3] x, float[3,3] w, bool c) => ({outputs}) {{ '
    proto = model(text + "\n".join(lines) + " }")
    refused = data.draw(st.sets(st.sampled_from(values[2:]), min_size=1, max_size=4))
    folder = tmp_path_factory.mktemp("parts") / "parts"
    machine = Machine.new()
    rng = np.random.default_rng(len(ops))
    given_feeds = {name: rng.uniform(-1, 1, (3, 3)).astype(np.float32) for name in ("x", "w")}
    given_feeds["c"] = np.array(data.draw(st.booleans()))
    with pytest.MonkeyPatch.context() as patch:
        refuse(patch, lambda node: any(value.name in refused for value in node.outputs))
        if not partition_takes_some(proto):
            return
        machine.build(proto, folder, check=False, level="O0")
    found = machine.run(folder, given_feeds)
    for name, array in expected(proto, given_feeds).items():
        assert close(found[name], array), name


@pytest.mark.parametrize("refused", ["MaxPool", "Concat"])
def test_a_network_for_images(tmp_path, monkeypatch, refused):
    """The light models of the onnx package have all operators of the real ones, and weights that are made up."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_squeezenet.onnx"
    machine = Machine.new()
    refuse(monkeypatch, lambda node: node.op == refused)
    built = machine.build(path, tmp_path / "parts", check=False)
    kinds = [part.backend for part in built.manifest.parts]
    assert 3 <= len(kinds) <= 20
    assert all(one != other for one, other in itertools.pairwise(kinds))
    assert built.manifest.share > 0.9
    proto = onnx.load(path)
    [entry] = [item for item in proto.graph.input if item.name not in {each.name for each in proto.graph.initializer}]
    shape = [size.dim_value for size in entry.type.tensor_type.shape.dim]
    image = {entry.name: np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)}
    [wanted], [found] = expected(proto, image).values(), machine.run(tmp_path / "parts", image).values()
    assert close(found, wanted)


def test_a_region_that_cant_be_built_after_all(tmp_path, monkeypatch):
    """The model is cut anew, with the node that failed left to ONNX Runtime."""
    machine = Machine.new()
    network = TensorRtBackend.network

    def failing(self, part, api=None, **more):
        if any(node.op == "Sigmoid" for node in part.graph.nodes):
            error = UnsupportedOpError("node 'b': TensorRT refused it: it has a bad day")
            error.node = "b"
            raise error
        return network(self, part, api, **more)

    monkeypatch.setattr(TensorRtBackend, "network", failing)
    told: list[str] = []
    built = machine.build(model(), tmp_path / "parts", sizes=SIZES, check=False, progress=told.append)
    assert any("cutting again (1): node 'b': TensorRT refused it" in line for line in told)
    assert "it has a bad day" in {node.op: reason for node, reason in built.cut.partition.reasons.items()}["Sigmoid"]
    found = machine.run(tmp_path / "parts", feeds(2))
    assert close(found["y"], expected(model(), feeds(2))["y"])


def test_a_model_of_which_nothing_can_be_built(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_MOST_CUTS", 2)

    def failing(self, tensor, op):
        raise self.fail("it has a bad day")

    for name in ("unary", "elementwise"):
        monkeypatch.setattr(Emitter, name, lambda self, *given, **more: failing(self, None, None))
    with pytest.raises(
        UnsupportedOpError, match=r"no cut of the model was found .* in 2 tries; the last one: .* it has a bad day"
    ):
        Machine.new().build(model(), tmp_path / "parts", sizes=SIZES, check=False)
    assert [] == list(tmp_path.iterdir())


BODIES = """<ir_version: 8, opset_import: ["": 17]>
g (float[2,2] x, bool c) => (float[2,2] y, float[2,2] z)
{
  a = MatMul (x, x)
  b = If (c) <
    then_branch = yes () => (float[2,2] p) { p = Tanh (a) },
    else_branch = no () => (float[2,2] q) { r = Neg (a) q = Exp (r) }>
  trips = Constant <value = int64 {3}> ()
  going = Constant <value = bool {1}> ()
  d = Loop (trips, going, b) <body = round (int64 i, bool go, float[2,2] s) => (bool on, float[2,2] t)
    { on = Identity (go) u = MatMul (s, a) t = Tanh (u) }>
  e = MatMul (d, a)
  y = Tanh (e)
  z = MatMul (d, d)
}"""


@pytest.mark.parametrize("refused", ["", "Exp", "Neg", "If", "Loop"])
@pytest.mark.parametrize("condition", [True, False])
def test_bodies_that_read_from_outside(tmp_path, monkeypatch, refused, condition):
    refuse(monkeypatch, lambda node: node.op == refused)
    machine = Machine.new()
    built = machine.build(model(BODIES), tmp_path / "parts", check=False, level="O0")
    kinds = [part.backend for part in built.manifest.parts]
    assert (["tensorrt"] if not refused else ["tensorrt", "onnxruntime", "tensorrt"]) == kinds
    given_feeds = {"x": np.array([[0.5, -1], [0.25, 1]], np.float32), "c": np.array(condition)}
    found = machine.run(tmp_path / "parts", given_feeds)
    for name, array in expected(model(BODIES), given_feeds).items():
        assert close(found[name], array), name


def test_a_node_inside_of_a_body_that_cant_be_lowered(tmp_path, monkeypatch):
    """The node of the main graph that holds it is left out, and no other."""
    convert = Emitter.unary

    def failing(self, x, op):
        if op == "NEG":
            raise self.fail("it has a bad day")
        return convert(self, x, op)

    monkeypatch.setattr(Emitter, "unary", failing)
    built = Machine.new().build(model(BODIES), tmp_path / "parts", check=False, level="O0")
    assert ["If"] == [node.op for node in built.cut.partition.reasons]
    assert "it has a bad day" in next(iter(built.cut.partition.reasons.values()))


def test_parts_that_compute_something_else_are_not_written(tmp_path, monkeypatch):
    def wrong(whole, region):
        part = part_of(whole, region)
        for node in part.graph.nodes:
            if node.op == "Add":
                node.set_op("Sub")
        return part

    monkeypatch.setattr(checking, "part_of", wrong)  # what the cut would have made
    with pytest.raises(
        VerificationError, match=r"the parts do not compute what the model computes: .*nothing was written"
    ):
        Machine.new().build(model(), tmp_path / "parts", sizes=SIZES)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "options", "error", "reason"),
    [
        (
            MODEL,
            {},
            ExecutionError,
            r"has sizes that are not fixed \(n\); state them for the engines: --dim n=MIN,USUAL,MAX",
        ),
        (MODEL, {"target": "tensorr"}, PipelineError, "did you mean 'tensorrt'"),
        (MODEL, {"precision": "fp64"}, PipelineError, "precision is 'fp64', expected one of"),
        (
            MODEL,
            {"target": "onnxruntime", "precision": "fp16"},
            PipelineError,
            "precision is 'fp16', which is for engines",
        ),
        (
            '<ir_version: 8, opset_import: ["": 17]> g (float[4,4] x) => (float y) { y = Det (x) }',
            {},
            UnsupportedOpError,
            r"takes nothing of the model that is worth a part \(TensorRT has no layers for Det\)",
        ),
    ],
)
def test_bad_requests(tmp_path, text, options, error, reason):
    with pytest.raises(error, match=reason):
        Machine.new().build(model(text), tmp_path / "parts", check=False, **options)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_floats_of_half_the_size(tmp_path, precision):
    machine = Machine.new()
    built = machine.build(model(), tmp_path / "parts", sizes=SIZES, precision=precision, inputs=feeds(2))
    assert precision == built.manifest.precision
    if precision == "bf16":
        assert (None, "") == (built.verdict, built.checked_in)
        assert any("ONNX Runtime does not compute in bf16 here" in note for note in built.notes)
        return
    assert built.verdict is not None
    assert "ok" == built.verdict.status
    found = machine.run(tmp_path / "parts", feeds(2))
    assert close(found["y"], expected(model(), feeds(2))["y"], rtol=2e-2)
    assert not close(found["y"], expected(model(), feeds(2))["y"], rtol=1e-6)


def test_sizes_without_names(tmp_path):
    """They get names, so that sizes of inner values follow from them."""
    text = MODEL.replace("float[n,4,4] x)", "float[?,4,4] x)").replace("float[n,4,4] x,", "float[?,4,4] x,")
    machine = Machine.new()
    with pytest.raises(ExecutionError, match=r"'x' has sizes that are not fixed \(size_0_0\)"):
        machine.build(model(text), tmp_path / "parts", check=False)
    machine.build(model(text), tmp_path / "parts", sizes={"size_0_0": (1, 2, 8)}, check=False)
    assert close(machine.run(tmp_path / "parts", feeds(3))["y"], expected(model(), feeds(3))["y"])


def test_what_is_there_is_replaced_only_if_it_is_a_folder_of_parts_and_that_is_asked_for(tmp_path):
    machine = Machine.new()
    folder = tmp_path / "parts"
    machine.build(model(), folder, sizes=SIZES, check=False)
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="exists already; choose another path, or allow it to be replaced"):
        machine.build(model(), folder, sizes=SIZES, check=False)
    with pytest.raises(ExecutionError, match="not fixed"):
        machine.build(model(), folder, check=False, force=True)
    assert before == (folder / "manifest.json").read_bytes(), "a failed build leaves what was there"
    machine.build(model(), folder, sizes={"n": (2, 2, 2)}, check=False, force=True)
    assert before != (folder / "manifest.json").read_bytes()
    mine = tmp_path / "mine"
    mine.mkdir()
    for force in (False, True):
        with pytest.raises(OutputError, match="exists already and is no folder of parts"):
            machine.build(model(), mine, sizes=SIZES, check=False, force=force)
    with pytest.raises(OutputError, match="does not exist; create it"):
        machine.build(model(), tmp_path / "none" / "parts", sizes=SIZES, check=False)
    assert ["mine", "parts"] == sorted(item.name for item in tmp_path.iterdir())


def test_values_whose_size_depends_on_data_are_not_handed_to_engines(tmp_path):
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[4,4] x) => (float[m] y)
    {
      a = MatMul (x, x)
      b = MatMul (a, x)
      some = Abs (b)
      level = Constant <value = float {1.0}> ()
      high = Greater (some, level)
      chosen = Compress (some, high)
      c = Exp (chosen)
      d = Sqrt (c)
      f = Neg (d)
      y = Tanh (f)
    }"""
    machine = Machine.new()
    built = machine.build(model(text), tmp_path / "parts", check=False)
    assert ["tensorrt", "onnxruntime"] == [part.backend for part in built.manifest.parts]
    x = {"x": np.random.default_rng(1).standard_normal((4, 4), np.float32)}
    assert close(machine.run(tmp_path / "parts", x)["y"], expected(model(text), x)["y"])
    assert "whose size depends on data" in json.dumps(sorted(built.cut.partition.reasons.values()))
