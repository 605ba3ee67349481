"""Optimizing from Python: sources, levels, the check that finds and leaves out a wrong rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
import pytest
from onnx import ModelProto, parser

import graphopt
from graphopt import hookimpl
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import Environment, optimize
from graphopt.data import digits_model
from graphopt.errors import ModelError, OutputError, PassError, PipelineError, VerificationError
from graphopt.ir import Graph, Node
from graphopt.passes import Pass, PassContext, PassResult, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import Replacement, RewritePattern, Rewriter, any_, op, rewrite

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '


def model(body: str) -> ModelProto:
    return parser.parse_model(HEAD + body)


TWO_ABS = model("(float[n] x) => (float[n] y) { a = Neg(x) b = Neg(a) c = Abs(b) d = Abs(c) e = Sqrt(d) y = Relu(e) }")


class DropSqrt(RewritePattern):
    """Sqrt(x) -> x: wrong on purpose."""

    name: ClassVar[str] = "drop-sqrt"
    roots: ClassVar[tuple[str, ...]] = ("Sqrt",)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        found = node.inputs[0]
        assert found is not None
        return found


@rewrite(op.Neg(op.Neg(any_("x"))))
def eliminate_double_neg(m, rw):
    return m["x"]


class Wrong(RewritePass):
    """One right rule and one wrong one."""

    name = "wrong"
    rules = (eliminate_double_neg, DropSqrt())


@dataclass(frozen=True)
class Broken(Pass):
    """Fails."""

    name: ClassVar[str] = "broken"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        raise RuntimeError("out of luck")


def with_passes(*passes: type[Pass]) -> PluginManager:
    plugins = builtin_plugins(discover=False)

    @hookimpl
    def graphopt_passes() -> list[type[Pass]]:
        return list(passes)

    plugins.register(SimpleNamespace(graphopt_passes=graphopt_passes), name="test")
    return plugins


def test_a_wrong_rewrite_is_found_left_out_and_named(tmp_path: Path):
    """The right rewrites of the same pass stay, the wrong one is reported with a folder that shows it again."""
    result = optimize(TWO_ABS, pipeline="wrong", plugins=with_passes(Wrong), reproducer=tmp_path / "again")
    assert [node.op_type for node in result.proto.graph.node] == ["Abs", "Abs", "Sqrt", "Relu"]
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    assert len(result.report.skipped) == 1
    assert "drop-sqrt" in result.report.skipped[0]
    assert (tmp_path / "again" / "original.onnx").exists()
    assert "drop-sqrt" in (tmp_path / "again" / "README").read_text()


def test_nothing_is_given_back_when_no_rewrite_is_at_fault(monkeypatch: pytest.MonkeyPatch):
    """A result that stays wrong is an error, not a model."""

    @dataclass(frozen=True)
    class AlwaysWrong(Pass):
        """Changes the model in legalization, where nothing is optional."""

        name: ClassVar[str] = "legalize-onnxruntime-wrongly"

        def run(self, graph: Graph, ctx: PassContext) -> PassResult:
            for node in graph.nodes:
                if node.op == "Sqrt":
                    node.set_op("Exp")
            return PassResult(changed=True)

    plugins = with_passes(AlwaysWrong)
    backend = Environment(plugins).backend("onnxruntime")
    monkeypatch.setattr(type(backend), "legalize", lambda self, model, ctx: "legalize-onnxruntime-wrongly")
    with pytest.raises(VerificationError, match=r"reading or writing the model is at fault; nothing was written"):
        optimize(TWO_ABS, plugins=plugins)


def test_without_the_check_the_wrong_model_is_what_was_asked_for():
    """``check=False`` means no check."""
    result = optimize(TWO_ABS, pipeline="wrong", plugins=with_passes(Wrong), check=False)
    assert result.report.verdict is None
    assert "Sqrt" not in [node.op_type for node in result.proto.graph.node]


def test_a_bisect_limit_stops_after_that_many_rewrites():
    """The first application only."""
    result = optimize(TWO_ABS, pipeline="wrong", plugins=with_passes(Wrong), bisect_limit=1, check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Abs", "Abs", "Sqrt", "Relu"]


def test_a_disabled_rule_is_not_applied():
    """Rules are disabled by name, as passes are."""
    result = optimize(TWO_ABS, pipeline="wrong", plugins=with_passes(Wrong), disabled=["drop-sqrt"], check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Abs", "Abs", "Sqrt", "Relu"]


def test_a_failing_pass_is_named():
    """The error says which pass, whose it is and what it said."""
    with pytest.raises(PassError, match=r"'broken'.*RuntimeError: out of luck") as caught:
        optimize(TWO_ABS, pipeline="broken", plugins=with_passes(Broken), check=False)
    assert "plugin 'test'" in caught.value.__notes__[-1]


@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
def test_levels_keep_the_numbers_of_the_digits_model(level: str, environment: Environment):
    """Each level passes the check without leaving anything out."""
    result = optimize(digits_model(), level=level, plugins=environment.plugins)
    assert result.report.verdict is not None
    assert result.report.verdict.ok
    assert result.report.skipped == []
    assert (result.report.nodes_after < result.report.nodes_before) == (level != "O0")


def test_level_zero_gives_the_model_back_as_it_was(environment: Environment):
    """Byte for byte."""
    original = onnx.load(digits_model())
    result = optimize(digits_model(), level="O0", plugins=environment.plugins)
    assert result.proto.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)


def test_sources(environment: Environment, tmp_path: Path):
    """Path, text, bytes, message and IR give the same model; none of them is changed."""
    proto = onnx.load(digits_model())
    before = proto.SerializeToString(deterministic=True)
    ir = graphopt.lift(digits_model())
    sources = [digits_model(), str(digits_model()), before, proto, ir]
    found = {
        optimize(source, plugins=environment.plugins).proto.SerializeToString(deterministic=True) for source in sources
    }
    assert len(found) == 1
    assert proto.SerializeToString(deterministic=True) == before
    assert graphopt.lower(ir, target="onnx").SerializeToString(deterministic=True) == before


def test_the_result_is_the_same_on_every_run(environment: Environment):
    """Two runs give the same bytes."""
    first, second = (optimize(digits_model(), level="O3", plugins=environment.plugins).proto for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_plain_onnx_has_no_operators_of_a_runtime(environment: Environment):
    """For the target ``onnx`` fused operators become standard ones again."""
    result = optimize(digits_model(), level="O3", target="onnx", plugins=environment.plugins)
    assert {node.domain for node in result.proto.graph.node} == {""}
    assert [item.domain for item in result.proto.opset_import] == [""]


def test_onnx_runtime_gets_its_fused_convolutions(environment: Environment):
    """At O3 a convolution takes its activation in."""
    result = optimize(digits_model(), level="O3", plugins=environment.plugins)
    assert result.report.ops_after["com.microsoft::FusedConv"] == 2
    assert {item.domain: item.version for item in result.proto.opset_import} == {"": 17, "com.microsoft": 1}


def test_a_newer_file_format_is_lowered_for_onnx_runtime_only(environment: Environment):
    """ONNX Runtime reads file formats up to its own newest."""
    proto = ModelProto()
    proto.CopyFrom(TWO_ABS)
    proto.ir_version = 14
    assert optimize(proto, check=False, plugins=environment.plugins).proto.ir_version == 13
    assert optimize(proto, check=False, target="onnx", plugins=environment.plugins).proto.ir_version == 14


def test_inputs_of_the_users_own_are_used(environment: Environment, tmp_path: Path):
    """Arrays or a file."""
    x = np.linspace(-3, 3, 7, dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    for inputs in ({"x": x}, tmp_path / "x.npz"):
        verdict = optimize(TWO_ABS, inputs=inputs, plugins=environment.plugins).report.verdict
        assert verdict is not None
        assert [sample.kind for sample in verdict.samples] == ["user"]


def test_options_of_passes(environment: Environment):
    """By pass and option."""
    result = optimize(
        digits_model(),
        pipeline="prune-magnitude",
        options={"prune-magnitude": {"sparsity": 0.25}},
        plugins=environment.plugins,
        check=False,
    )
    assert result.report.pipeline == "prune-magnitude{sparsity=0.25}"


def test_a_model_that_nothing_runs_is_not_written_unseen(environment: Environment):
    """An operator nobody knows can't be checked, so it has to be said."""
    unknown = model("(float[n] x) => (float[n] y) { a = Identity(x) y = nobody.knows.Frobnicate(a) }")
    unknown.opset_import.add(domain="nobody.knows", version=1)
    with pytest.raises(VerificationError, match=r"can't be checked.*--no-check"):
        optimize(unknown, plugins=environment.plugins)
    result = optimize(unknown, plugins=environment.plugins, check=False)
    assert [node.op_type for node in result.proto.graph.node] == ["Frobnicate"]


def test_saving_does_not_overwrite_unasked(environment: Environment, tmp_path: Path):
    """``force`` is needed, and then the file is replaced."""
    result = optimize(digits_model(), check=False, plugins=environment.plugins)
    target = tmp_path / "out.onnx"
    assert result.save(target) == [target]
    with pytest.raises(OutputError, match="exists"):
        result.save(target)
    result.save(target, force=True)
    assert graphopt.compare(digits_model(), target).ok


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"level": "O9"}, PipelineError, "unknown level 'O9'"),
        ({"target": "abacus"}, PipelineError, "unknown target 'abacus'; known targets: graphopt list targets"),
        ({"pipeline": "fold-constant"}, PipelineError, "did you mean 'fold-constants'"),
        ({"pipeline": "prune-magnitude{sparsity=2}"}, PipelineError, "sparsity"),
        ({"options": {"no-such": {"a": 1}}}, PipelineError, "no-such"),
    ],
)
def test_what_is_misspelled_is_said_in_a_line(
    arguments: dict[str, object], error: type[Exception], text: str, environment: Environment
):
    """Names, options and values."""
    with pytest.raises(error, match=text):
        optimize(digits_model(), plugins=environment.plugins, **arguments)  # type: ignore[arg-type]


def test_something_else_is_no_model(environment: Environment):
    """The error names the type and the frontends."""
    with pytest.raises(ModelError, match="can't be read from a dict; frontends: onnx"):
        optimize({}, plugins=environment.plugins)


def test_a_session_runs_what_optimize_gives(environment: Environment):
    """A result, IR, a message: all run."""
    result = optimize(TWO_ABS, plugins=environment.plugins)
    x = np.array([-4, 9], np.float32)
    for source in (TWO_ABS, result, result.model, result.proto):
        with graphopt.Session(source) as session:
            assert session.run({"x": x})["y"].tolist() == [2.0, 3.0]  # type: ignore[union-attr]


def test_verify_each_names_the_pass_that_changes_numbers(environment: Environment):
    """Numbers are checked after each pass, and the error says after which one they were wrong."""
    with pytest.raises(PassError, match="pass 'wrong': changes the numbers, declared exact"):
        optimize(TWO_ABS, pipeline="wrong", plugins=with_passes(Wrong), verify_each=True)
    assert optimize(digits_model(), plugins=environment.plugins, verify_each=True).report.skipped == []


def test_a_failing_pass_leaves_what_replays_it(tmp_path: Path):
    """The model before the pass, and the pipeline."""
    with pytest.raises(PassError):
        optimize(TWO_ABS, pipeline="broken", plugins=with_passes(Broken), reproducer=tmp_path / "again", check=False)
    assert (tmp_path / "again" / "model.onnx").exists()
    assert (tmp_path / "again" / "pipeline.txt").read_text().strip() == "broken"
