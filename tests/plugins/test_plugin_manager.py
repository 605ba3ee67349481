"""Plugins that do well, and all the ways in which one can go wrong."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import ClassVar

import onnx.defs
import pytest

from graphopt import hookspecs
from graphopt.builtin_plugin import builtin_plugins
from graphopt.errors import PipelineError, PluginError
from graphopt.hookspecs import HOOK_API_VERSION, OLDEST_HOOK_API_VERSION, hookimpl
from graphopt.ir import DType, GraphBuilder, find_schema
from graphopt.passes import Lazy, Lowering, OperatorDefinition, Pass, PassContext, PassManager, PassResult
from graphopt.plugin_manager import KINDS, PluginManager, ReportSection
from graphopt.rewriting import any_, op, rewrite
from tests.passes.sample_passes import EliminateDoubleNeg, Tune, chain


def plugin(**hooks):
    """A plugin made of functions."""
    found = types.ModuleType("made")
    for name, hook in hooks.items():
        setattr(found, name, hookimpl(hook) if callable(hook) else hook)
    return found


def manager(**plugins):
    made = PluginManager(discover=False)
    for name, item in plugins.items():
        made.register(item, name=name, package=f"{name}-package 1.0")
    return made


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes distributions with an entry point and puts them on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, code, *, entry=None, distribution=None):
        (tmp_path / f"{name}_mod.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{distribution or name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution or name}\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[graphopt]\n{entry or name} = {name}_mod\n", encoding="utf-8")

    return install


GOOD = """
from graphopt import hookimpl

@hookimpl
def graphopt_pipelines():
    return {"good": "O1"}
"""


def statuses(plugins):
    return {info.name: (info.status, info.reason) for info in plugins.plugins if info.name != "builtin"}


# -- discovery ----------------------------------------------------------------------------------------------------------------


def test_installed_plugins_are_found_by_entry_point(installed):
    installed("fine", GOOD)
    plugins = builtin_plugins()
    (info,) = (info for info in plugins.plugins if info.name == "fine")
    assert ("fine 1.0", "loaded", ("graphopt_pipelines",)) == (info.package, info.status, info.hooks)
    assert "fine" == plugins.passes.pipelines.owner("good")


def test_nothing_is_imported_before_somebody_asks(installed, monkeypatch):
    installed("eager", "raise RuntimeError('imported')")
    plugins = builtin_plugins()
    assert ("failed", "RuntimeError: imported") == statuses(plugins)["eager"]


def test_a_plugin_that_fails_to_import_is_listed_and_the_rest_goes_on(installed, caplog):
    installed("bad", "import json\n1 / 0")
    installed("fine", GOOD)
    plugins = builtin_plugins()
    assert {"bad": ("failed", "ZeroDivisionError: division by zero"), "fine": ("loaded", "")} == statuses(plugins)
    assert "good" in plugins.passes.pipelines
    assert "plugin 'bad' can't be imported: ZeroDivisionError: division by zero" in caplog.text


def test_a_plugin_with_a_syntax_error_is_listed(installed):
    installed("typo", "def")
    status, reason = statuses(builtin_plugins())["typo"]
    assert "failed" == status
    assert reason.startswith("SyntaxError: ")


def test_a_plugin_that_lacks_a_package_says_how_to_install_it(installed):
    installed("chip", "import no_such_driver.api")
    assert ("missing", "module 'no_such_driver' is not installed; pip install no_such_driver") == statuses(
        builtin_plugins()
    )["chip"]


def test_a_plugin_that_is_not_there_any_more_says_how_to_repair_it(installed, tmp_path):
    installed("gone", GOOD)
    (tmp_path / "gone_mod.py").unlink()
    assert ("missing", "module 'gone_mod' is not installed; pip install --force-reinstall gone") == statuses(
        builtin_plugins()
    )["gone"]


def test_a_blocked_plugin_is_not_even_imported(installed):
    installed("bad", "1 / 0")
    plugins = builtin_plugins(["bad"])
    assert {"bad": ("blocked", "left out with --no-plugin")} == statuses(plugins)


def test_blocking_what_is_not_there_is_an_error(installed):
    installed("fine", GOOD)
    with pytest.raises(
        PluginError, match=r"there is no plugin 'fin' to leave out; did you mean 'fine'\? installed: builtin, fine"
    ):
        builtin_plugins(["fin"]).load()


def test_two_distributions_with_one_entry_point_are_an_error(installed):
    installed("one", GOOD, entry="same")
    installed("two", GOOD, entry="same")
    with pytest.raises(
        PluginError, match=r"plugin 'same' is registered by both (one|two) 1.0 and (one|two) 1.0; uninstall one"
    ):
        builtin_plugins().load()


def test_a_plugin_that_is_too_new_is_listed_and_not_used(installed):
    installed("new", f"GRAPHOPT_API_VERSION = {HOOK_API_VERSION + 1}\n{GOOD}")
    plugins = builtin_plugins()
    expected = (
        f"written for hook API version {HOOK_API_VERSION + 1}, this graphopt has {HOOK_API_VERSION}; update graphopt"
    )
    assert {"new": ("incompatible", expected)} == statuses(plugins)
    assert "good" not in plugins.passes.pipelines


def test_a_plugin_that_is_too_old_is_listed_and_not_used(installed):
    installed("old", f"GRAPHOPT_API_VERSION = {OLDEST_HOOK_API_VERSION - 1}\n{GOOD}")
    plugins = builtin_plugins()
    expected = (
        f"written for hook API version {OLDEST_HOOK_API_VERSION - 1}, the oldest that this graphopt supports is "
        f"{OLDEST_HOOK_API_VERSION}; update the plugin"
    )
    assert {"old": ("incompatible", expected)} == statuses(plugins)
    assert "good" not in plugins.passes.pipelines
    row = next(row for row in plugins.describe("plugins") if row["name"] == "old")
    assert (OLDEST_HOOK_API_VERSION - 1, "incompatible") == (row["api_version"], row["status"])


@pytest.mark.parametrize("stated", ["1", 1.0, True, [1]])
def test_a_version_that_is_no_whole_number_is_listed_and_not_used(stated):
    plugins = manager(a=plugin(GRAPHOPT_API_VERSION=stated, graphopt_pipelines=lambda: {"p": ""}))
    expected = f"states GRAPHOPT_API_VERSION = {stated!r}, expected a whole number; ask its author"
    assert {"a": ("incompatible", expected)} == statuses(plugins)
    assert not list(plugins.passes.pipelines)


@pytest.mark.parametrize("version", [OLDEST_HOOK_API_VERSION, HOOK_API_VERSION, None])
def test_a_plugin_that_is_as_old_or_older_is_used(version):
    plugins = manager(a=plugin(GRAPHOPT_API_VERSION=version, graphopt_pipelines=lambda: {"p": ""}))
    assert ["p"] == list(plugins.passes.pipelines)


# -- hooks that are wrong -------------------------------------------------------------------------------------------------------


def test_a_misspelled_hook_names_the_plugin_and_the_hook_that_is_meant():
    with pytest.raises(
        PluginError, match=r"plugin 'a': unknown hook 'graphopt_pases'; did you mean 'graphopt_passes'\?"
    ):
        manager(a=plugin(graphopt_pases=lambda: [Tune]))


def test_a_hook_without_its_marker_is_an_error():
    item = types.SimpleNamespace(graphopt_pipelines=lambda: {"p": ""})
    with pytest.raises(PluginError, match="plugin 'a': graphopt_pipelines is not marked; write @hookimpl above it"):
        manager(a=item)


def test_a_hook_with_unknown_arguments_is_an_error():
    with pytest.raises(PluginError, match=r"plugin 'a': hook 'graphopt_passes': .*registry.*--no-plugin a"):
        manager(a=plugin(graphopt_passes=lambda registry: []))


def test_an_error_in_a_hook_names_plugin_and_hook():
    def broken():
        raise KeyError("x")

    plugins = manager(a=plugin(graphopt_passes=broken))
    with pytest.raises(
        PluginError, match=r"plugin 'a' failed in graphopt_passes: KeyError: 'x'; report it there"
    ) as caught:
        _ = plugins.passes
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("hook", "answer", "ask", "message"),
    [
        ("graphopt_passes", 3, "passes", "gave a int, expected a list of pass classes"),
        ("graphopt_passes", [int], "passes", "gave <class 'int'>, expected a subclass of Pass"),
        ("graphopt_passes", [Tune()], "passes", "expected a subclass of Pass"),
        ("graphopt_passes", {"toon": Tune}, "passes", "pass class Tune needs name = 'toon'"),
        ("graphopt_passes", [Tune, Tune], "passes", "pass 'tune' is registered twice by 'a'"),
        ("graphopt_pipelines", ["O1"], "passes", "gave a list, expected a mapping from names"),
        ("graphopt_pipelines", {"x": ["cse"]}, "passes", "pipeline 'x' is a list, expected text"),
        ("graphopt_backends", [1], "backends", "gave a list, expected a mapping from names"),
        ("graphopt_frontends", {1: 2}, "frontends", "gave a dict, expected a mapping from names"),
        ("graphopt_op_schemas", [1], "operators", "gave a int, expected a list of OperatorDefinition"),
    ],
)
def test_wrong_answers_name_the_plugin(hook, answer, ask, message):
    plugins = manager(a=plugin(**{hook: lambda: answer}))
    with pytest.raises(PluginError, match=r"'a'") as caught:
        getattr(plugins, ask)
    assert message in str(caught.value)


def test_a_pass_without_a_name_is_an_error():
    @dataclass(frozen=True)
    class Nameless(Pass):
        def run(self, graph, ctx):
            return PassResult(changed=False)

    with pytest.raises(PluginError, match="pass class Nameless needs name = 'kebab-case-name'"):
        _ = manager(a=plugin(graphopt_passes=lambda: [Nameless])).passes


def test_a_pass_registered_twice_names_both_owners():
    hooks = {"graphopt_passes": lambda: [EliminateDoubleNeg]}
    plugins = manager(zeta=plugin(**hooks), alpha=plugin(**hooks))
    with pytest.raises(PluginError, match="pass 'eliminate-double-neg' is registered by both 'alpha' and 'zeta'"):
        _ = plugins.passes


def test_a_backend_registered_twice_names_both_owners():
    hooks = {"graphopt_backends": lambda: {"chip": object()}}
    with pytest.raises(PluginError, match="backend 'chip' is registered by both 'a' and 'b'"):
        _ = manager(a=plugin(**hooks), b=plugin(**hooks)).backends


def test_a_pipeline_with_the_name_of_a_pass_is_an_error():
    one = plugin(graphopt_passes=lambda: [Tune])
    two = plugin(graphopt_pipelines=lambda: {"tune": ""})
    with pytest.raises(PluginError, match="pipeline 'tune' of plugin 'b' has the name of a pass of 'a'"):
        _ = manager(a=one, b=two).passes


def test_blocking_one_of_two_resolves_the_clash():
    plugins = PluginManager(["b"], discover=False)
    for name in ("a", "b"):
        plugins.register(plugin(graphopt_passes=lambda: [Tune]), name=name)
    assert "a" == plugins.passes.owner("tune")


# -- what plugins offer -----------------------------------------------------------------------------------------------------------


def test_lazy_passes_are_imported_when_a_pipeline_has_them():
    plugins = manager(a=plugin(graphopt_passes=lambda: {"tune": Lazy("tests.passes.sample_passes:Tune")}))
    assert plugins.passes["tune"] is Tune


def test_observers_hear_of_each_pass():
    log = []
    watching = plugin(
        graphopt_before_pass=lambda name: log.append(f"before {name}"),
        graphopt_after_pass=lambda name, model, record: log.append(
            f"after {name} {record.changed} {len(model.graph.nodes)}"
        ),
    )
    observers = manager(a=watching).observers()
    assert observers is not None
    PassManager([EliminateDoubleNeg()], [observers]).run(chain("Neg", "Neg", "Abs"))
    assert ["before eliminate-double-neg", "after eliminate-double-neg True 1"] == log


def test_nobody_watches_unless_a_plugin_does():
    assert manager(a=plugin(graphopt_pipelines=lambda: {"p": ""})).observers() is None


def test_an_observer_that_fails_is_named():
    observers = manager(a=plugin(graphopt_before_pass=lambda name: 1 / 0)).observers()
    assert observers is not None
    with pytest.raises(PluginError, match="plugin 'a' failed in graphopt_before_pass: ZeroDivisionError"):
        PassManager([Tune()], [observers]).run(chain("Neg"))


def definition(name, version=1, *, infer=None, decomposition=None):
    schema = onnx.defs.OpSchema(
        name,
        "example.tests",
        version,
        inputs=[onnx.defs.OpSchema.FormalParameter("X", "T")],
        outputs=[onnx.defs.OpSchema.FormalParameter("Y", "T")],
        type_constraints=[("T", ["tensor(float)"], "")],
    )
    return OperatorDefinition(schema, kernel=lambda x: -x, infer=infer, decomposition=decomposition)


@rewrite(op["example.tests::Flip"](any_("x")))
def flip_to_neg(m, rw):
    return rw.new("Neg", m["x"])


@rewrite(op["example.tests::Flip"](any_("x")))
def flip_to_sub(m, rw):
    return rw.new("Sub", rw.new("Sub", m["x"], m["x"]), m["x"])


def flip_model():
    b = GraphBuilder(opset=17)
    b.output(b.Abs(b.op("Flip", b.input("x", DType.FLOAT, ["n"]), domain="example.tests")), "y")
    return b.build()


def operators(*definitions, **hooks):
    return plugin(graphopt_op_schemas=lambda: list(definitions), **hooks)


def test_operators_of_plugins_are_known_everywhere():
    def infer(context):
        context.set_output_type(0, context.get_input_type(0))

    plugins = manager(a=operators(definition("Flip", infer=infer))).load()
    assert find_schema("example.tests", "Flip", 1) is not None
    assert onnx.defs.get_schema("Flip", 1, "example.tests").has_type_and_shape_inference_function
    assert ["example.tests::Flip"] == list(plugins.kernels)
    manager(a=operators(definition("Flip", infer=infer))).load()  # a second manager in one process is fine


def test_shape_inference_that_fails_names_the_plugin():
    from graphopt.backends.onnx.inference import OnnxTypes

    manager(a=operators(definition("Fault", infer=lambda context: 1 / 0))).load()
    b = GraphBuilder(opset=17)
    b.output(b.op("Fault", b.input("x", DType.FLOAT, ["n"]), domain="example.tests"), "y")
    with pytest.raises(
        PluginError, match=r"plugin 'a' failed in shape inference of example.tests::Fault: ZeroDivisionError"
    ):
        OnnxTypes().infer_model(b.build())


def test_another_operator_of_the_same_name_and_version_is_an_error():
    manager(a=operators(definition("Same"))).load()
    other = onnx.defs.OpSchema("Same", "example.tests", 1, inputs=[], outputs=[])
    with pytest.raises(
        PluginError, match=r"plugin 'b': operator 'example.tests::Same': version 1 of 'Same' .* is registered already"
    ):
        manager(b=operators(OperatorDefinition(other))).load()


def test_an_operator_is_decomposed_where_no_lowering_is_stated():
    plugins = manager(a=operators(definition("Flip", decomposition=flip_to_neg)))
    lowering = plugins.lowering("onnxruntime")
    assert lowering is not None
    model = flip_model()
    PassManager([lowering]).run(model, PassContext())
    assert ["Neg", "Abs"] == [node.op for node in model.graph.nodes]
    assert {"": 17} == model.opset_imports


def test_a_lowering_for_the_backend_goes_first():
    stated = {"graphopt_lowerings": lambda backend: [Lowering("example.tests::Flip", "chip", flip_to_sub)]}
    plugins = manager(a=operators(definition("Flip", decomposition=flip_to_neg)), b=plugin(**stated))
    assert [flip_to_sub] == list(plugins.lowering("chip").rules)
    assert [flip_to_neg] == list(plugins.lowering("onnx").rules)


def test_two_lowerings_of_one_operator_name_both_owners():
    stated = {"graphopt_lowerings": lambda backend: [Lowering("example.tests::Flip", backend, flip_to_sub)]}
    with pytest.raises(PluginError, match=r"'example.tests::Flip' is lowered for backend 'chip' by both 'a' and 'b'"):
        manager(b=plugin(**stated), a=plugin(**stated)).lowering("chip")


def test_nothing_to_lower():
    assert manager().lowering("onnx") is None


def test_report_sections_come_with_their_owner():
    section = ReportSection("Chip", lambda report: "fits")
    plugins = manager(a=plugin(graphopt_report_sections=lambda: [section]))
    assert [("a", section)] == plugins.report_sections()


def test_commands_are_added_by_plugins():
    added = []
    manager(a=plugin(graphopt_cli=lambda app: added.append(f"to {app}"))).extend_cli("app")
    assert ["to app"] == added


# -- what there is ----------------------------------------------------------------------------------------------------------------


def test_missing_backends_show_how_to_install_them():
    lazy = Lazy("x:Y", requires=("no_such_rtx",), install="pip install graphopt[rtx]")
    row = manager(a=plugin(graphopt_backends=lambda: {"rtx": lazy})).describe("backends")
    missing = "no_such_rtx is not installed; pip install graphopt[rtx]"
    assert [{"name": "rtx", "owner": "a", "missing": missing, "runs": False}] == row


def test_broken_passes_and_pipelines_are_listed_with_the_reason():
    plugins = manager(
        a=plugin(graphopt_passes=lambda: {"p": Lazy("no_such:P")}, graphopt_pipelines=lambda: {"q": "p,r"})
    )
    assert "'no_such:P' can't be imported" in plugins.describe("passes")[0]["error"]
    assert (
        "unknown pass" in plugins.describe("pipelines")[0]["error"]
        or "no_such" in plugins.describe("pipelines")[0]["error"]
    )
    assert [] == plugins.describe("rules")


def test_passes_are_described():
    (row,) = manager(a=plugin(graphopt_passes=lambda: [Tune])).describe("passes")
    assert ("tune", "a", "Does nothing, with every kind of option.", "exact") == (
        row["name"],
        row["owner"],
        row["doc"],
        row["numerics"],
    )
    assert {"name": "ratio", "type": "float >= 0, < 1", "default": "0.5", "doc": "a part of the whole."} == row[
        "options"
    ][0]


def test_rules_are_described():
    (row,) = manager(a=plugin(graphopt_passes=lambda: [EliminateDoubleNeg])).describe("rules")
    expected = {
        "name": "eliminate-double-neg",
        "pass": "eliminate-double-neg",
        "owner": "a",
        "pattern": "Neg(Neg(x))",
        "numerics": "exact",
        "doc": "Neg(Neg(x)) -> x.",
    }
    assert expected == row


def test_every_kind_can_be_listed():
    plugins = builtin_plugins(discover=False)
    for kind in KINDS:
        for row in plugins.describe(kind):
            assert row["name"]
            assert "error" not in row, row


def test_unknown_kinds_are_suggested():
    with pytest.raises(
        PipelineError, match=r"nothing is called 'pass'; did you mean 'passes'\? there are: passes, rules"
    ):
        manager().describe("pass")


def test_every_hook_says_when_what_and_who():
    rows = manager(a=plugin(graphopt_cli=lambda app: None)).describe("hooks")
    assert [name for name in vars(hookspecs) if name.startswith("graphopt_")] == [row["name"] for row in rows]
    for row in rows:
        assert row["when"], row
        assert row["returns"], row
        assert row["who"], row
        assert bool(row["arguments"]) == ("args" in row), row
        assert all(f"{argument}: " in row.get("args", "") for argument in row["arguments"]), row
    assert {"graphopt_cli": ["a"]} == {row["name"]: row["plugins"] for row in rows if row["plugins"]}


def test_importing_the_hooks_imports_nothing_of_graphopt():
    import subprocess
    import sys

    code = "import sys, graphopt.hookspecs; print(sorted(m for m in sys.modules if m.startswith(('graphopt', 'onnx', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "['graphopt', 'graphopt.hookspecs']" == done.stdout.strip()


class Unnamed:
    """What a plugin object may be: not only modules."""

    GRAPHOPT_API_VERSION: ClassVar[int] = 1

    @hookimpl
    def graphopt_pipelines(self):
        return {"mine": ""}


def test_a_plugin_may_be_an_object():
    assert ["mine"] == list(manager(a=Unnamed()).passes.pipelines)
