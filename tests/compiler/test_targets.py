"""Targets are data: descriptions by name, each served by a backend; plugins add their own."""

from __future__ import annotations

from types import SimpleNamespace

import onnx
import pytest
from onnx import ModelProto

from graphopt import hookimpl, optimize
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.environment import Environment
from graphopt.compiler.targets import find_target
from graphopt.data import digits_model
from graphopt.errors import PipelineError, PluginError
from graphopt.passes import Lazy
from graphopt.plugin_manager import PluginManager
from graphopt.target import KernelRange, KernelTable, Target
from tests.transforms.harness import model


def plugins(**targets: object) -> PluginManager:
    """The built-in plugins, and one with targets."""
    found = builtin_plugins(discover=False)

    @hookimpl
    def graphopt_targets() -> object:
        return {name.replace("_", "-"): target for name, target in targets.items()}

    found.register(SimpleNamespace(graphopt_targets=graphopt_targets), name="acme", package="acme 1.2")
    return found


def opset(proto: ModelProto) -> int:
    return int(next(item.version for item in proto.opset_import if not item.domain))


CHIP = Target("chip", backend="onnx", max_opset=21, preferred_opset=20, doc="A chip.")


@pytest.mark.parametrize(
    ("name", "backend", "target"),
    [
        ("onnx", "onnx", "onnx"),
        ("onnxruntime", "onnxruntime", "onnxruntime"),
        ("onnxruntime-arm64", "onnxruntime", "onnxruntime-arm64"),
        ("onnxruntime-cpu", "onnxruntime", "onnxruntime-cpu"),
        ("onnxruntime-cuda", "onnxruntime", "onnxruntime-cuda"),
    ],
)
def test_built_in_targets_and_who_serves_them(name, backend, target):
    found = Environment(builtin_plugins(discover=False)).backend(name)
    assert (backend, target) == (found.name, found.target.name)


def test_the_names_of_onnx_runtime_on_cpu_mean_the_same():
    one, other = (optimize(digits_model(), target=name, level="O3") for name in ("onnxruntime", "onnxruntime-cpu"))
    assert one.proto == other.proto
    assert other.report.verdict is not None
    assert "ok" == other.report.verdict.status


class Elsewhere:
    @hookimpl
    def graphopt_targets(self):
        return {"elsewhere": Target("elsewhere", backend="nowhere")}


def test_a_description_without_a_backend_says_what_is_missing():
    found = builtin_plugins(discover=False)
    found.register(Elsewhere(), name="elsewhere")
    assert "nowhere" == find_target(found, "elsewhere").served_by
    with pytest.raises(
        PipelineError, match=r"target 'elsewhere' has no backend: 'nowhere' is not there; install a plugin that"
    ):
        optimize(digits_model(), target="elsewhere", plugins=found)
    rows = {row["name"]: row for row in found.describe("targets")}
    assert "its backend 'nowhere' is not there; install a plugin that brings it" == rows["elsewhere"]["missing"]
    names = [
        "onnx",
        "onnxruntime",
        "onnxruntime-arm64",
        "onnxruntime-cpu",
        "onnxruntime-cuda",
        "tensorrt",
        "tensorrt-rtx",
        "elsewhere",
    ]
    assert set(names) == set(rows)
    kernels = rows["onnxruntime-cpu"]["kernels"]
    assert isinstance(kernels, list)
    assert "com.microsoft::BiasGelu" in kernels


def test_a_target_of_a_plugin_is_served_by_a_backend_that_is_there(tmp_path):
    found = plugins(chip=CHIP)
    result = optimize(digits_model(), target="chip", plugins=found)
    assert "chip" == result.report.target
    assert 20 == opset(result.proto), "what the target prefers"
    assert [] == result.report.notes
    assert result.report.verdict is not None
    assert "ok" == result.report.verdict.status
    [path] = result.save(tmp_path / "made.onnx")
    onnx.checker.check_model(path)
    assert 18 == opset(optimize(digits_model(), target="chip", opset=18, plugins=found).proto), (
        "what was asked for goes before it"
    )
    assert 17 == opset(optimize(digits_model(), target="chip", level="O0", plugins=found).proto), "O0 does nothing"


def test_what_a_target_prefers_is_no_must():
    masked = model("n, y = Dropout (x)", "float[n,3] x", "float[n,3] y", opset=7)
    result = optimize(masked, target="chip", pipeline="canonicalize", plugins=plugins(chip=CHIP), check=False)
    assert 7 == opset(result.proto)
    assert [
        "the model stays at opset 7, target 'chip' prefers 20; --opset 20 says which node is in the way"
    ] == result.report.notes


def test_passes_ask_for_kernels():
    """A node is not raised to a version that the target has no kernel for."""
    table = KernelTable({"Relu": (KernelRange(6, 13, frozenset({"float"})),)})
    chip = Target("chip", backend="onnx", kernels=table)
    with pytest.raises(
        Exception, match="target 'chip' has no kernel for its version of opset 14; opset 13 is the newest"
    ):
        optimize(model("y = Relu (x)", opset=11), target="chip", opset=17, plugins=plugins(chip=chip))


def test_lazy_targets_and_wrong_answers():
    lazy = plugins(onnxish=Lazy("tests.compiler.test_targets:CHIP"))
    with pytest.raises(PluginError, match=r"plugin 'acme': target 'onnxish' is 'chip', expected Target\('onnxish'\)"):
        find_target(lazy, "onnxish")
    with pytest.raises(PluginError, match="plugin 'acme': target 'chip' is a str, expected Target"):
        find_target(plugins(chip="fast"), "chip")
    assert "it is a str, expected a Target" in str(plugins(chip="fast").describe("targets"))
    with pytest.raises(PluginError, match="target 'onnx' is registered by both 'acme' and 'builtin'"):
        find_target(plugins(onnx=Target("onnx")), "onnx")


def test_an_unknown_name_has_a_suggestion():
    with pytest.raises(PipelineError, match="unknown target 'onnxruntime-cpi'; did you mean 'onnxruntime-cpu'"):
        find_target(builtin_plugins(discover=False), "onnxruntime-cpi")


def test_what_a_target_cannot_run_is_said_by_its_backend():
    refusing = Target("refusing", backend="onnxruntime", unsupported=frozenset({"Erf"}))
    backend = Environment(plugins(refusing=refusing)).backend("refusing")
    [node] = Environment().lift(model("y = Erf (x)")).graph.nodes
    assert "target 'refusing' has no operator Erf" == backend.supports(node)
    assert not refusing.has_kernel("Erf")
