"""Models that a pipeline fails on are made small, whatever the failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

import graphopt
from benchmarks.reduce_bugs import BUGS, ForgetDilations, ForgetRelu
from benchmarks.reduce_models import MODELS
from graphopt import Pipeline
from graphopt.compiler.pipeline_check import PipelineCheck
from graphopt.data import digits_model
from graphopt.errors import ExecutionError, ModelError, PipelineError
from graphopt.ir import Graph, Model
from graphopt.passes import Pass, PassContext, PassResult, RewritePass
from graphopt.rewriting import any_, const, op, rewrite
from graphopt.runtime.base import Feeds
from graphopt.serde import emit_model
from graphopt.verify.reduction.shrinkers import CutNodes, DropSamples

#: What takes most away, for tests that are about failures and not about the smallest model.
FEW = (DropSamples(), CutNodes())


HEAD = '<ir_version: 8, opset_import: ["": 17, "own": 1]> '


def ops(model: Model) -> list[str]:
    """Operators of the main graph, in order."""
    return [node.op for node in model.graph.nodes]


@pytest.mark.parametrize(
    ("bug", "blocks", "odd"),
    [
        ("scale forgotten", 2, 1),
        ("axis that is not there", 2, 0),
        ("exception at a computed shape", 6, 4),
        ("twins merged", 12, 5),
    ],
)
def test_bug_is_left_with_a_handful_of_nodes(bug: str, blocks: int, odd: int) -> None:
    """Wrong numbers, an invalid model, an exception, two places far apart: the failure stays the one that it was."""
    name, pipeline, kind = BUGS[bug]
    found = graphopt.reduce(MODELS[name](blocks, odd=odd), pipeline=pipeline, isolate=False, shrinkers=FEW)
    assert kind == found.kind
    assert found.nodes_after <= 4 < found.nodes_before
    assert 1 == len(found.samples)
    onnx.checker.check_model(emit_model(found.model), full_check=True)


def test_crash_is_a_kind_of_failure_and_the_child_is_started_again() -> None:
    """Of this process nothing is seen of it; a model that does not fail is judged as before."""
    _, pipeline, kind = BUGS["abort at a Gelu"]
    gelu = "g (float[2] x) => (float[2] y) <float r = {1.5}, float one = {1}> { d = Div(x, r) e = Erf(d) a = Add(e, one) y = Mul(x, a) }"
    failing, fine = (
        graphopt.lift(onnx.parser.parse_model(HEAD + text)) for text in (gelu, gelu.replace("Erf", "Tanh"))
    )
    check = PipelineCheck(pipeline)
    feeds = ({"x": np.ones(2, np.float32)},)
    assert [kind, None, kind] == [check(model, feeds) for model in (failing, fine, failing)]
    check.close()


def test_endless_loop_is_a_timeout() -> None:
    """The child is stopped, and started again."""
    name, pipeline, _ = BUGS["endless loop at a branch"]
    check = PipelineCheck(pipeline, timeout=3.0)
    assert check.isolated
    assert "timeout" == check(MODELS[name](2, odd=1), ())
    assert check(MODELS[name](2, odd=-1), ()) is None
    check.close()


@rewrite(op.Relu(op.Mul(any_("x"), const("c"))))
def relu_first(m, rw):
    """Wrong where c is negative, and gives another zero where it is zero."""
    return rw.new("Mul", rw.new("Relu", m["x"]), m["c"])


class ReluFirst(RewritePass):
    """Relu(x * c) -> Relu(x) * c. Exact."""

    name = "relu-first"
    rules = (relu_first,)


def test_numbers_that_are_far_off_do_not_become_signs_of_zeros() -> None:
    """Both are wrong numbers of an exact pass, but the second is another mistake."""
    text = HEAD + "g (float[n,4] x) => (float[n,4] y) <float[4] c = {2, -3, 4, -5}> { a = Mul(x, c) y = Relu(a) }"
    found = graphopt.reduce(onnx.parser.parse_model(text), pipeline=Pipeline((ReluFirst(),)), isolate=False)
    assert (["Mul", "Relu"], "wrong-numbers") == (ops(found.model), found.kind)
    check = PipelineCheck(Pipeline((ReluFirst(),)), isolate=False)
    assert "wrong-numbers" == check(found.model, found.samples)
    zero = graphopt.lift(onnx.parser.parse_model(text.replace("2, -3, 4, -5", "0, 0, 0, 0")))
    assert "wrong-numbers: signs of zeros" == check(zero, [{"x": np.full((1, 4), -1, np.float32)}])
    check.close()


def test_three_hundred_nodes_become_two_in_this_process_too() -> None:
    """Without a child; twice the same."""
    planted = Pipeline((ForgetDilations(),))
    found = [
        graphopt.reduce(MODELS["convolutions"](43, odd=30), pipeline=planted, isolate=False, shrinkers=FEW)
        for _ in "ab"
    ]
    first, second = found
    assert (301, ["Conv", "BatchNormalization"], "wrong-numbers") == (first.nodes_before, ops(first.model), first.kind)
    assert emit_model(first.model).SerializeToString() == emit_model(second.model).SerializeToString()
    assert (first.checks, list(first.feeds)) == (second.checks, list(second.feeds))
    assert all(np.array_equal(np.asarray(first.feeds[name]), np.asarray(second.feeds[name])) for name in first.feeds)
    assert first.checks < 100


def test_names_of_what_is_left_are_those_of_the_original() -> None:
    """People recognize the place."""
    found = graphopt.reduce(digits_model(), pipeline=Pipeline((ForgetRelu(),)), isolate=False)
    names = {node.name for node in graphopt.lift(digits_model()).graph.nodes}
    assert ["BatchNormalization", "Relu"] == ops(found.model)
    assert {node.name for node in found.model.graph.nodes} <= names


@dataclass(frozen=True)
class _Local(Pass):
    """A pass made in a function: no other process can import it."""

    name: ClassVar[str] = "local"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Raise where there is an Erf."""
        if any(node.op == "Erf" for node in graph.nodes):
            raise OverflowError("too far")
        return PassResult(changed=False)


def test_passes_that_cannot_travel_run_here() -> None:
    """Their exceptions are kinds of failure all the same."""

    @dataclass(frozen=True)
    class Inner(_Local):
        pass

    check = PipelineCheck(Pipeline((Inner(),)))
    assert not check.isolated
    check.close()
    found = graphopt.reduce(MODELS["transformer"](1, odd=-1), pipeline=Pipeline((Inner(),)))
    assert ("exception: OverflowError in pass local", ["Erf"]) == (found.kind, ops(found.model))


def test_model_that_does_not_fail_is_an_error() -> None:
    """The level does what it should."""
    with pytest.raises(ExecutionError, match="the original does not fail on 4 sets of inputs; give the inputs"):
        graphopt.reduce(digits_model())


def test_check_that_is_not_steady_is_an_error() -> None:
    """Three answers are asked for before anything else."""
    answers = iter(["once", None, "once"])
    with pytest.raises(ExecutionError, match="not steady on the original: once, no failure, once"):
        graphopt.reduce(digits_model(), check=lambda model, samples: next(answers))


def test_interrupt_gives_the_smallest_so_far() -> None:
    """Ctrl-C in the tenth check."""
    calls = 0

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise KeyboardInterrupt
        return "fails" if "Conv" in ops(model) else None

    found = graphopt.reduce(digits_model(), check=check)
    assert (True, 9) == (found.interrupted, calls - 1)
    assert "Conv" in ops(found.model)
    assert found.nodes_after < found.nodes_before


def test_inputs_that_are_brought_are_those_that_show_it(tmp_path: Path) -> None:
    """Several files; the one with the failure is left, with a value recorded from it."""
    model = graphopt.GraphBuilder()
    x = model.input("x", graphopt.ir.DType.FLOAT, ["n"])
    model.output(model.Log(model.Neg(x)), "y", graphopt.ir.DType.FLOAT, ["n"])
    paths = []
    for number, value in enumerate((-1.0, 2.0, -3.0)):
        paths.append(tmp_path / f"{number}.npz")
        np.savez(paths[-1], x=np.array([value], np.float32))

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        from graphopt.runtime import OrtRunner

        with OrtRunner(emit_model(model)) as runner:
            nan = any(np.isnan(np.asarray(out)).any() for feeds in samples for out in runner.run(feeds).values())
        return "not a number" if nan else None

    found = graphopt.reduce(model.build(), check=check, inputs=paths)
    assert (["Log"], 1) == (ops(found.model), len(found.samples))
    (data,) = found.feeds.values()
    assert (np.asarray(data) < 0).all()


def test_model_and_inputs_are_saved_together_and_never_over_others(tmp_path: Path) -> None:
    """Both files, or none."""
    found = graphopt.reduce(digits_model(), check=lambda model, samples: "fails" if "Relu" in ops(model) else None)
    files = found.save(tmp_path / "small.onnx")
    assert [tmp_path / "small.onnx", tmp_path / "small.npz"] == files
    with graphopt.Session(files[0]) as session:
        session.run(dict(np.load(files[1])))
    files[0].unlink()
    with pytest.raises(graphopt.GraphoptError, match=r"small\.npz' exists already"):
        found.save(tmp_path / "small.onnx")
    assert [files[1]] == list(tmp_path.iterdir())
    assert 2 == len(found.save(tmp_path / "small.onnx", force=True))


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pipeline": "canonicalise"}, PipelineError, "canonicalise"),
        ({"level": "O9"}, PipelineError, "unknown level 'O9'"),
        ({"target": "moon"}, PipelineError, "moon"),
        ({"pipeline": "cse", "check": "true"}, PipelineError, "state one of them"),
        ({"seeds": 0}, PipelineError, "seeds is 0, expected 1 to 1000"),
        ({"seeds": 100_000_000}, PipelineError, "seeds is 100000000, expected 1 to 1000"),
        ({"timeout": 0}, PipelineError, "the timeout is 0 s, expected more than 0"),
        ({"seeds": "many"}, TypeError, "seeds is 'many'"),
        ({"check": 5}, TypeError, "check is 5"),
        ({"inputs": {"picture": np.zeros(1)}}, ExecutionError, "'image' is missing"),
        ({"inputs": "nowhere.npz"}, ExecutionError, "'.*nowhere.npz' cannot be read"),
        ({"check": "no-such-program"}, ExecutionError, "can't be run"),
    ],
)
def test_arguments_that_cannot_be_meant_are_errors(options, error: type[Exception], said: str) -> None:
    """One line that says what to do."""
    with pytest.raises(error, match=said):
        graphopt.reduce(digits_model(), **options)


def test_broken_model_is_an_error(tmp_path: Path) -> None:
    """Before anything runs."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07broken")
    with pytest.raises(ModelError):
        graphopt.reduce(path, check="true")


def _keeps(op: str) -> Callable[[Model, Sequence[Feeds]], str | None]:
    return lambda model, samples: "fails" if any(n.op == op for g in model.graphs() for n in g.nodes) else None


WEIRD = {
    "loop with captures": (
        """g (float[2] x, float[2] z) => (float[2] y) <int64 n = {3}, bool go = {1}> { a = Neg(z) l = Loop(n, go, x) <
        body = b (int64 i, bool on, float[2] v) => (bool on2, float[2] w) { on2 = Identity(on) s = Sin(v) w = Add(s, a) }>
        y = Abs(l) }""",
        "Sin",
    ),
    "branches": (
        """g (bool c, float[n] x) => (float[n] y) { a = Neg(x) y = If(c) <
        then_branch = t () => (float[n] p) { p = Sin(a) }, else_branch = e () => (float[n] q) { q = Cos(a) }> }""",
        "Cos",
    ),
    "functions": (
        """g (float[n] x) => (float[n] y) { a = own.f(x) y = Neg(a) }
        <domain: "own", opset_import: ["": 17]> f (a) => (c) { b = Exp(a) c = Sin(b) }""",
        "Sin",
    ),
    "sequences": (
        """g (float[2] x) => (float[4] y) { s = SequenceConstruct(x, x) t = SequenceInsert(s, x) y = ConcatFromSequence<axis=0>(s)
        u = SequenceLength(t) }""",
        "SequenceInsert",
    ),
    "strings": (
        "g (string[2] x) => (string[2] y) { a = Identity(x) b = StringNormalizer(a) y = Identity(b) }",
        "StringNormalizer",
    ),
    "no nodes": ("g (float[2] x) => (float[2] x) { }", None),
    "no inputs": ("g () => (float[2] y) { a = RandomNormal<shape=[2]>() y = Sin(a) }", "Sin"),
    "empty tensors": ("g (float[0,n] x) => (float[0,n] y) { a = Neg(x) y = Sin(a) }", "Sin"),
    "nothing runs it": ("g (float[2] x) => (float[2] y) { a = Neg(x) b = own.Odd(a) y = Sin(b) }", "own::Odd"),
    "sizes that are sums": ("g (float[n,3] x) => (float[m,3] y) { a = Concat<axis=0>(x, x) y = Sin(a) }", "Sin"),
}


@pytest.mark.parametrize("name", WEIRD)
def test_weird_models_are_reduced(name: str) -> None:
    """To the operator that is wanted, valid, and running if the original runs."""
    text, op = WEIRD[name]
    proto = onnx.parser.parse_model(HEAD + text)
    check = _keeps(op) if op is not None else lambda model, samples: "fails"
    found = graphopt.reduce(proto, check=check)
    onnx.checker.check_model(emit_model(found.model))
    left = {"no nodes": 0, "nothing runs it": 2}  # nobody knows the type of what an unknown operator gives
    assert left.get(name, 1) == found.nodes_after


def test_weights_in_a_file_of_their_own_go_into_the_small_model(tmp_path: Path) -> None:
    """The result depends on no other file."""
    path = tmp_path / "large.onnx"
    model = onnx.load(digits_model())
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location="large.data")
    found = graphopt.reduce(path, check=_keeps("Conv"))
    (small, _) = found.save(tmp_path / "small.onnx")
    (tmp_path / "large.data").unlink()
    with graphopt.Session(small) as session:
        session.run(found.feeds)


def test_seconds_and_steps_are_told() -> None:
    """They add up."""
    start = time.perf_counter()
    found = graphopt.reduce(digits_model(), check=_keeps("MatMul"))
    assert 0 < found.seconds <= time.perf_counter() - start
    assert found.nodes_before - found.nodes_after == sum(step.nodes_before - step.nodes_after for step in found.steps)
    assert found.checks == 3 + sum(step.checks for step in found.steps)
    assert {"kind", "nodes_before", "nodes_after", "steps"} <= set(found.to_json())
