"""The tables of the built-in plugin hold what the modules define."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

from graphopt.builtin_plugin import builtin_plugins
from graphopt.numerics import Exact, Lossy
from graphopt.passes import Pass, Pipeline, option_specs, options_text

PLUGINS = builtin_plugins(discover=False)


def defined_passes():
    found = {}
    for package in ("transforms", "backends", "frontends"):
        root = importlib.import_module(f"graphopt.{package}")
        for module in pkgutil.walk_packages(root.__path__, f"graphopt.{package}."):
            for item in vars(importlib.import_module(module.name)).values():
                if (
                    isinstance(item, type)
                    and issubclass(item, Pass)
                    and not inspect.isabstract(item)
                    and hasattr(item, "name")  # what others are only made of has none
                    and item.__module__ == module.name
                ):
                    found[item.name] = item
    return found


def defined_with(package, *methods):
    found = set()
    root = importlib.import_module(f"graphopt.{package}")
    for module in pkgutil.walk_packages(root.__path__, f"graphopt.{package}."):
        for item in vars(importlib.import_module(module.name)).values():
            own = isinstance(item, type) and item.__module__ == module.name and not getattr(item, "_is_protocol", False)
            if own and all(hasattr(item, method) for method in methods):
                found.add(item)
    return found


def test_every_frontend_and_backend_is_registered():
    assert defined_with("frontends", "accepts", "lift") == {type(item) for item in PLUGINS.frontends.values()}
    assert defined_with("backends", "legalize", "emit") == {type(item) for item in PLUGINS.backends.values()}


def test_every_pass_is_registered_under_its_name():
    assert defined_passes() == {name: PLUGINS.passes[name] for name in PLUGINS.passes}


@pytest.mark.parametrize("name", list(PLUGINS.passes))
def test_passes_have_a_name_a_doc_and_options_with_docs(name):
    item = PLUGINS.passes[name]
    assert item.name == name == name.lower()
    (row,) = (row for row in PLUGINS.describe("passes") if row["name"] == name)
    assert row["doc"]
    for spec in option_specs(item).values():
        assert spec.doc, spec


@pytest.mark.parametrize("name", list(PLUGINS.passes))
def test_passes_with_default_options_have_a_text(name):
    made = Pipeline.from_text(name, PLUGINS.passes)
    (item,) = made.passes()
    assert "" == options_text(item)
    assert name == made.to_text()


def test_levels_grow():
    levels = [Pipeline.from_text(level, PLUGINS.passes) for level in ("O0", "O1", "O2", "O3")]
    assert () == levels[0].items
    names = [{item.name for item in level.passes()} for level in levels]
    assert names[0] <= names[1] <= names[2] <= names[3]
    assert Exact() == levels[1].declared_numerics
    assert not isinstance(levels[3].declared_numerics, Lossy)


def test_frontends_and_backends_have_their_names():
    for registry in (PLUGINS.frontends, PLUGINS.backends):
        for name in registry:
            assert name == getattr(registry[name], "name", None)


def test_plugins_and_pass_names_cost_no_import_of_what_they_name():
    code = (
        "import sys; from graphopt.builtin_plugin import builtin_plugins; p = builtin_plugins(); list(p.passes); list(p.backends);"
        "print([m for m in sys.modules if m.startswith(('graphopt.transforms', 'graphopt.backends', 'onnx', 'typer', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
