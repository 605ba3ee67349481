"""The example plugins, installed as a stranger's are."""

from __future__ import annotations

import json
import re
import tomllib

import pytest

from graphopt.ir import DType, GraphBuilder
from graphopt.serde import emit_model
from tests.plugins.conftest import EXAMPLES, ROOT

PLUGINS = ROOT / "plugins"
NAMES = [path.name for path in EXAMPLES]


def rows(run, kind, *options):
    return {row["name"]: row for row in json.loads(run("-m", "graphopt", "list", kind, "--json", *options).stdout)}


def test_plugins_are_listed_with_their_packages(with_plugins):
    found = rows(with_plugins, "plugins")
    assert {"builtin", *(name.removeprefix("graphopt-").replace("-", "_") for name in NAMES)} == set(found)
    assert {"loaded"} == {row["status"] for row in found.values()}
    assert ("graphopt-double-neg 0.1.0", "loaded", ["graphopt_passes"]) == tuple(
        found["double_neg"][key] for key in ("package", "status", "hooks")
    )


def test_passes_of_plugins_are_listed_with_owner_and_numerics(with_plugins):
    found = rows(with_plugins, "passes")
    assert ("double_neg", "exact") == (
        found["eliminate-double-neg"]["owner"],
        found["eliminate-double-neg"]["numerics"],
    )
    assert ("squared_relu", "re-associates (rtol 1e-06)") == (
        found["fuse-squared-relu"]["owner"],
        found["fuse-squared-relu"]["numerics"],
    )
    assert "builtin" == found["eliminate-dead-code"]["owner"]


def test_rules_and_pipelines_of_plugins_are_listed(with_plugins):
    assert "Neg(Neg(x))" == rows(with_plugins, "rules")["eliminate-double-neg"]["pattern"]
    assert "O2,fuse-squared-relu" == rows(with_plugins, "pipelines")["squared-relu"]["text"]


def test_a_plugin_can_be_left_out(with_plugins):
    found = rows(with_plugins, "plugins", "--no-plugin", "double_neg")
    assert "blocked" == found["double_neg"]["status"]
    assert "eliminate-double-neg" not in rows(with_plugins, "passes", "--no-plugin", "double_neg")


def test_a_model_is_optimized_by_passes_of_plugins(with_plugins, tmp_path):
    b = GraphBuilder(opset=17)
    positive = b.Relu(b.Neg(b.Neg(b.input("x", DType.FLOAT, ["n", 3]))))
    b.output(b.Mul(positive, positive), "y", DType.FLOAT, ["n", 3])
    (tmp_path / "in.onnx").write_bytes(emit_model(b.build()).SerializeToString())
    passes = "eliminate-double-neg,fuse-squared-relu"
    done = with_plugins(
        "-m", "graphopt", "optimize", tmp_path / "in.onnx", "-o", tmp_path / "out.onnx", "--passes", passes, "--json"
    )
    report = json.loads(done.stdout)
    changed = [record["pass"] for record in report["passes"] if record["changed"]]
    assert ["eliminate-double-neg", "fuse-squared-relu"] == changed[:2]
    assert (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_plugin_s_own_tests_pass(with_plugins, name):
    done = with_plugins(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGINS / name, PLUGINS / name / "tests"
    )
    assert re.search(r"\d+ passed", done.stdout)


def test_the_smallest_plugin_is_small():
    """No longer than what the documentation promises: three files."""
    folder = PLUGINS / "graphopt-double-neg"
    files = [
        folder / "pyproject.toml",
        folder / "src/graphopt_double_neg/__init__.py",
        folder / "tests/test_double_neg.py",
    ]
    assert [11, 21, 9] >= [len(path.read_text(encoding="utf-8").splitlines()) for path in files]


@pytest.mark.parametrize("name", NAMES)
def test_each_plugin_is_a_whole_package(name):
    """README, tests, an entry point; and the list of plugins says which hooks it shows."""
    folder = PLUGINS / name
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {name}\n")
    assert list((folder / "tests").glob("test_*.py"))
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (name, 1) == (project["name"], len(project["entry-points"]["graphopt"]))
    listed = (PLUGINS / "README.md").read_text(encoding="utf-8")
    assert f"| [{name}]({name}) |" in listed
    short = name.removeprefix("graphopt-")
    for source in (folder / "src").rglob("*.py"):
        for hook in re.findall(r"def (graphopt_\w+)\(", source.read_text(encoding="utf-8")):
            assert re.search(rf"^\| .*`{hook}`.*\| .*{short}", listed, flags=re.MULTILINE), (
                f"plugins/README.md: {hook} of {name}"
            )
