"""What graphopt plugin new writes installs, passes its own tests, and leaves alone what is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest

from graphopt.errors import OutputError, PluginError
from graphopt.plugin_manager import new_plugin
from graphopt.plugin_manager.new_plugin import TEMPLATES, write_plugin
from tests.plugins.conftest import install, make_environment, runner

NAME = "graphopt-made-here"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A new plugin, and what runs Python where it is installed."""
    folder = tmp_path_factory.mktemp("new")
    written = write_plugin(NAME, folder)
    python = make_environment(folder / "venv")
    install(python, folder / NAME)
    return folder / NAME, written, runner(python)


def test_every_file_is_there_and_filled_in(made):
    folder, written, _ = made
    found = [path for path in folder.rglob("*") if path.is_file() and "build" not in path.parts]
    assert sorted(written) == sorted(found)
    assert len(TEMPLATES) == len(written)
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\$(?!\{\{)", text), path
        assert text.endswith("\n")
    assert "python-version: ${{ matrix.python }}" in (folder / ".github/workflows/test.yml").read_text(encoding="utf-8")


def test_its_own_tests_pass(made):
    folder, _, run = made
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", folder, folder / "tests")
    assert re.search(r"^\d+ passed in", done.stdout, flags=re.MULTILINE), done.stdout


def test_it_is_found_and_its_pipeline_optimizes(made, tmp_path):
    _, _, run = made
    rows = {row["name"]: row for row in json.loads(run("-m", "graphopt", "list", "plugins", "--json").stdout)}
    assert ("loaded", ["graphopt_op_schemas", "graphopt_passes", "graphopt_pipelines"]) == (
        rows["made_here"]["status"],
        sorted(rows["made_here"]["hooks"]),
    )
    (tmp_path / "square.py").write_text(
        "import onnx.parser, onnx\n"
        "text = '<ir_version: 8, opset_import: [\"\": 17]> g (float[n] x) => (float[n] y) { a = Mul(x, x) y = Neg(a) }'\n"
        f"onnx.save(onnx.parser.parse_model(text), {str(tmp_path / 'in.onnx')!r})\n",
        encoding="utf-8",
    )
    run(tmp_path / "square.py")
    paths = (tmp_path / "in.onnx", "-o", tmp_path / "out.onnx")
    report = json.loads(run("-m", "graphopt", "optimize", *paths, "--passes", "made-here", "--json").stdout)
    assert {"fuse-square": 1} == report["passes"][-1]["stats"]
    assert "ok" == report["verdict"]["status"]


def test_what_is_written_is_in_good_form(made):
    """With the settings that ruff has when nobody states any."""
    folder, _, _ = made
    for command in (("check", "--select", "E,F,I,UP,B"), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--isolated", "--no-cache", *command[1:], "."],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "distribution", "module", "plugin"),
    [
        ("graphopt-my-chip", "graphopt-my-chip", "graphopt_my_chip", "my_chip"),
        ("Graphopt_My.Chip", "graphopt-my-chip", "graphopt_my_chip", "my_chip"),
        ("sparsefuse", "sparsefuse", "sparsefuse", "sparsefuse"),
    ],
)
def test_names_are_normal_ones(tmp_path, name, distribution, module, plugin):
    """As PEP 503 says; the name of the plugin is without the prefix."""
    write_plugin(name, tmp_path)
    [folder] = tmp_path.iterdir()
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert distribution == folder.name == project["name"]
    assert {plugin: module} == project["entry-points"]["graphopt"]
    assert (folder / "src" / module / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is no name for a package; expected a letter, then letters and digits"),
        ("3d", "'3d' is no name for a package"),
        ("../up", "'../up' is no name for a package"),
        ("a--b", "'a--b' is no name for a package"),
        ("a-", "'a-' is no name for a package"),
        ("naïve", "'naïve' is no name for a package"),
        ("a" * 81, "80 characters at most"),
        ("graphopt-3d", "a plugin can't be called 'graphopt-3d'"),
        ("graphopt-builtin", "a plugin can't be called 'graphopt-builtin'"),
        ("Graphopt", "a plugin can't be called 'Graphopt'"),
        ("class", "a plugin can't be called 'class'"),
        ("json", "a module 'json' is there already; choose another name, such as graphopt-json-plugin"),
        ("numpy", "a module 'numpy' is there already"),
    ],
)
def test_a_name_that_can_not_be_is_one_line(tmp_path, name, message):
    with pytest.raises(PluginError) as caught:
        write_plugin(name, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_stays(tmp_path, kind):
    place = tmp_path / NAME
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("mine", encoding="utf-8")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match=r"exists already; choose another name, or another folder \(--into\)"):
        write_plugin(NAME, tmp_path)
    assert [place] == list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"does not exist; create it, or choose another one \(--into\)"):
        write_plugin(NAME, tmp_path / "none")


def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(new_plugin, "TEMPLATES", {**TEMPLATES, "last.py": "no-such-template.in"})
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_plugin(NAME, tmp_path)
    assert not list(tmp_path.iterdir())
