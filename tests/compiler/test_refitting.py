"""Other weights for an engine: the library's calls on a device that is none, and each way in which it can't be done."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.backends.tensorrt.refitting import structure_of
from graphopt.compiler.engines import building, refitting
from graphopt.compiler.engines.building import build
from graphopt.compiler.engines.refitting import refit
from graphopt.errors import ExecutionError
from graphopt.runtime.tensorrt import driver
from graphopt.testing.tensorrt.host_cuda import HostCuda
from tests.backends.tensorrt.library import API, needs_library, network_of

pytestmark = needs_library

TEXT = """<ir_version: 8, opset_import: ["": 17]>
refitted (float[1,2,5,5] x) => (float[1,3,3,3] y) <float[3,2,3,3] w, float[1,3,1,1] b> { c = Conv(x, w) a = Add(c, b) y = Relu(a) }"""


def model(seed, text=TEXT):
    rng = np.random.default_rng(seed)
    made = onnx.parser.parse_model(text)
    shapes = {item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in made.graph.value_info}
    del made.graph.value_info[:]
    for name, shape in shapes.items():
        array = rng.standard_normal(shape).astype(np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return made


def saved(seed, path, text=TEXT):
    onnx.save(model(seed, text), path)
    return path


class Library:
    """The library that is installed, with a device that is none: it builds engines as if refittable, loads and refits them."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self.weights: dict[str, Any] = {}
        self.refuses = ""
        self.wants: list[tuple[str, str]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __dir__(self):
        return dir(self._module)

    def Builder(self, logger: object) -> Any:  # noqa: N802  the library's name
        real = self._module.Builder(logger)
        names = ("create_network", "create_builder_config", "create_optimization_profile")
        return SimpleNamespace(
            build_serialized_network=lambda network, config: self._built(real, network, config),
            **{name: getattr(real, name) for name in names},
        )

    def _built(self, real: Any, network: Any, config: Any) -> Any:
        assert config.get_flag(self._module.BuilderFlag.REFIT)
        config.clear_flag(self._module.BuilderFlag.REFIT)  # which needs a driver
        kinds = {"CONVOLUTION": ["KERNEL", "BIAS"], "CONSTANT": ["CONSTANT"]}
        layers = [network.get_layer(place) for place in range(network.num_layers)]
        self.wants = [(layer.name, role) for layer in layers for role in kinds.get(layer.type.name, ())]
        return real.build_serialized_network(network, config)

    def Runtime(self, logger: object) -> Any:  # noqa: N802  the library's name
        config = SimpleNamespace(set_flag=lambda flag: None)
        engine = SimpleNamespace(
            refittable=self.refuses != "engine",
            create_serialization_config=lambda: config,
            serialize_with_config=lambda given: b"refitted",
        )
        return SimpleNamespace(
            deserialize_cuda_engine=lambda data: None if self.refuses == "load" else engine,
            engine_header_size=64,
            get_engine_validity=lambda head: (self._module.EngineValidity.VALID, 0),
        )

    def Refitter(self, engine: object, logger: object) -> Any:  # noqa: N802  the library's name
        def take(name, role, weights):
            self.weights[f"{name} {role.name}"] = None if weights is None else np.array(weights)
            return self.refuses != "weights"

        found = self.wants or []
        return SimpleNamespace(
            get_all=lambda: (
                [name for name, _ in found],
                [self._module.WeightsRole.__members__[role] for _, role in found],
            ),
            set_weights=take,
            refit_cuda_engine=lambda: self.refuses != "refit",
        )


@pytest.fixture
def library(monkeypatch):
    made = Library(API.module)
    for module in (building, refitting):
        monkeypatch.setattr(module, "library_for", lambda target: Api(made))
    monkeypatch.setattr(driver, "connect", HostCuda)
    return made


@pytest.fixture
def engine(library, tmp_path):
    """An engine that was built refittable, with its manifest."""
    path = tmp_path / "old.engine"
    build(saved(0, tmp_path / "old.onnx"), level="O0", check=False, options=EngineOptions(refittable=True)).save(path)
    return path


def test_an_engine_gets_the_weights_of_another_model(library, engine, tmp_path):
    made = refit(engine, saved(1, tmp_path / "new.onnx"))
    assert b"refitted" == bytes(made.data)
    new = {item.name: onnx.numpy_helper.to_array(item) for item in model(1).graph.initializer}
    given = [array for array in library.weights.values() if array is not None]
    for array in new.values():
        assert any(item.size == array.size and np.array_equal(item.reshape(-1), array.reshape(-1)) for item in given)
    old = json.loads((tmp_path / "old.engine.json").read_text())
    assert old["structure"] == made.manifest["structure"]
    assert old["source_sha256"] != made.manifest["source_sha256"]
    assert (8, str(tmp_path / "new.onnx")) == (made.manifest["bytes"], made.manifest["source"])
    files = made.save(tmp_path / "new.engine")
    assert [b"refitted", made.manifest["sha256"]] == [files[0].read_bytes(), json.loads(files[1].read_text())["sha256"]]


def test_equal_weights_and_zeros_do_not_change_the_layers(library, engine, tmp_path):
    """Weights that happen to be equal, or zero, are no reason for a simpler network: others were or will be different."""
    path = saved(1, tmp_path / "zero.onnx")
    zero = onnx.load(path)
    for item in zero.graph.initializer:
        item.raw_data = bytes(len(item.raw_data))
    onnx.save(zero, path)
    assert b"refitted" == bytes(refit(engine, path).data)


OTHERS = {
    "another kernel": TEXT.replace("[3,2,3,3]", "[3,2,2,2]").replace("[1,3,3,3] y", "[1,3,4,4] y"),
    "another operator": TEXT.replace("Relu(a)", "Tanh(a)"),
    "another name": TEXT.replace("float[1,2,5,5] x", "float[1,2,5,5] z").replace("Conv(x", "Conv(z"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_model_is_refused(engine, tmp_path, what):
    with pytest.raises(ExecutionError, match=r"the model is not the one that .* was built of with other weights"):
        refit(engine, saved(1, tmp_path / "other.onnx", OTHERS[what]))


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [
        ("load", "old.engine' does not load with tensorrt_rtx"),
        ("engine", "the engine was built with its weights for good; build it again with --refittable"),
        ("weights", "the weights of layer .* are refused"),
        ("refit", "the engine takes no other weights"),
    ],
)
def test_what_the_library_refuses(library, engine, tmp_path, refuses, reason):
    library.refuses = refuses
    with pytest.raises(ExecutionError, match=reason):
        refit(engine, saved(1, tmp_path / "new.onnx"))


def test_weights_that_the_new_network_does_not_have(library, engine, tmp_path):
    library.wants.append(("nowhere", "KERNEL"))
    with pytest.raises(
        ExecutionError, match=r"the engine wants kernel of layer 'nowhere', which the new model does not have"
    ):
        refit(engine, saved(1, tmp_path / "new.onnx"))


def test_weights_that_the_library_keeps_for_good_must_be_what_they_were(library, engine, tmp_path):
    library.wants = []
    with pytest.raises(
        ExecutionError, match="the engine keeps 2 weights for good that are others now, such as 'c KERNEL'"
    ):
        refit(engine, saved(1, tmp_path / "new.onnx"))
    assert b"refitted" == bytes(refit(engine, saved(0, tmp_path / "same.onnx")).data)


def test_settings_of_layers_are_no_weights(library, tmp_path):
    """A slope is a number of the model, and a setting of an activation, which no library exchanges."""
    text = TEXT.replace("Relu(a)", "LeakyRelu <alpha = 0.25> (a)")
    path = tmp_path / "old.engine"
    options = EngineOptions(refittable=True)
    build(saved(0, tmp_path / "old.onnx", text), level="O0", check=False, options=options).save(path)
    assert b"refitted" == bytes(refit(path, saved(1, tmp_path / "new.onnx", text)).data)
    with pytest.raises(ExecutionError, match="was built of with other weights"):
        refit(path, saved(1, tmp_path / "other.onnx", text.replace("0.25", "0.5")))


def test_a_library_that_does_not_refit(library, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(Library, "Refitter", property(lambda self: (_ for _ in ()).throw(AttributeError)))
    monkeypatch.setattr(Library, "__getattr__", _without_refitter)
    with pytest.raises(ExecutionError, match="exchanges no weights; build the engine again"):
        refit(engine, saved(1, tmp_path / "new.onnx"))


def _without_refitter(self, name):
    if name == "Refitter":
        raise AttributeError(name)
    return getattr(self._module, name)


def test_engines_without_a_manifest_or_with_weights_for_good(engine, tmp_path):
    beside = tmp_path / "old.engine.json"
    told = json.loads(beside.read_text())
    beside.write_text(json.dumps(told | {"structure": ""}))
    with pytest.raises(ExecutionError, match="was built with its weights for good; build it again with --refittable"):
        refit(engine, tmp_path / "new.onnx")
    beside.unlink()
    with pytest.raises(
        ExecutionError, match=r"has no manifest beside it, .* bring old\.engine\.json, or build it again"
    ):
        refit(engine, tmp_path / "new.onnx")


def test_the_structure_of_a_network_is_not_its_numbers():
    found = [structure_of(network_of(model(seed))) for seed in (0, 1)]
    assert found[0] == found[1]
    assert {structure_of(network_of(model(0, text))) for text in OTHERS.values()}.isdisjoint(found)
