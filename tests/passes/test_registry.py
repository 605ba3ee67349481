"""Names, owners, aliases, and what is imported late."""

from __future__ import annotations

import sys

import pytest

from graphopt.errors import PipelineError, PluginError
from graphopt.passes import Lazy, PassRegistry, Registry
from tests.passes.sample_passes import Tune, registry


def test_a_name_registered_twice_names_both_owners():
    found: Registry[int] = Registry("number", "numbers")
    found.add("one", 1, owner="zeta")
    with pytest.raises(PluginError, match=r"^number 'one' is registered by both 'alpha' and 'zeta'; rename one"):
        found.add("one", 2, owner="alpha")
    with pytest.raises(PluginError, match=r"^number 'one' is registered twice by 'zeta'"):
        found.alias("one", "two", owner="zeta")


def test_an_alias_stands_for_its_target():
    found: Registry[int] = Registry("number", "numbers")
    found.add("one", 1, owner="a")
    found.alias("uno", "one", owner="a")
    assert (1, "a", True, ["one"]) == (found["uno"], found.owner("uno"), "uno" in found, list(found))
    with pytest.raises(PluginError, match="by both 'a' and 'b'"):
        found.add("uno", 2, owner="b")


def test_lazy_things_are_imported_when_asked_for_and_once():
    sys.modules.pop("colorsys", None)
    found: Registry[object] = Registry("function", "functions")
    found.add("rgb", Lazy("colorsys:rgb_to_hsv"), owner="a")
    assert "rgb" in found
    assert "colorsys" not in sys.modules
    assert found["rgb"] is found["rgb"] is sys.modules["colorsys"].rgb_to_hsv


def test_lazy_things_may_be_made():
    assert Lazy("collections:OrderedDict", make=True).load() == {}


@pytest.mark.parametrize("path", ["no_such_module:x", "json:no_such", "json"])
def test_what_can_t_be_imported_names_plugin_and_reason(path):
    found: Registry[object] = Registry("backend", "backends")
    found.add("chip", Lazy(path), owner="vendor")
    with pytest.raises(PluginError, match=f"^backend 'chip' of plugin 'vendor': {path!r} can't be imported: "):
        found.find("chip")


def test_a_missing_package_shows_how_to_install_it():
    found: Registry[object] = Registry("backend", "backends")
    found.add(
        "rtx", Lazy("json:dumps", requires=("no_such_rtx",), install="pip install graphopt[rtx]"), owner="builtin"
    )
    reason = "no_such_rtx is not installed; pip install graphopt[rtx]"
    assert reason == found.missing("rtx")
    with pytest.raises(PluginError, match="no_such_rtx is not installed"):
        found.find("rtx")


def test_several_missing_packages():
    lazy = Lazy("json:dumps", requires=("no_such_a", "json", "no_such_b.c"))
    assert "no_such_a, no_such_b.c are not installed; pip install no_such_a no_such_b.c" == lazy.missing


def test_unknown_names_are_suggested():
    with pytest.raises(
        PipelineError, match=r"^unknown pass 'tuna'; did you mean 'tune'\? known passes: graphopt list passes$"
    ):
        registry().find("tuna")
    with pytest.raises(PipelineError, match="unknown backend 'x'; known backends: graphopt list backends"):
        Registry("backend", "backends").find("x")


def test_a_registry_of_a_few_passes():
    found = PassRegistry.of(Tune, pipelines={"O1": "tune"})
    assert (["tune"], ["O1"], Tune) == (list(found), list(found.pipelines), found["tune"])
