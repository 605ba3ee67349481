"""Subgraphs are cut away, and values stay what they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphopt.ir import Model
from graphopt.runtime import OrtRunner
from graphopt.runtime.base import Feeds
from graphopt.serde import emit_model
from graphopt.verify.reduction.shrinkers import CutNodes, CutToConstants
from tests.verify.reduction.searching import (
    FAILS,
    array_of,
    fails_when,
    has_ops,
    input_of,
    model_of,
    numbers,
    ops,
    searched,
)

CHAIN = "g (float[n,2] x) => (float[n,2] y) { a = Exp(x) b = Neg(a) c = Abs(b) d = Sqrt(c) y = Log(d) }"


def test_middle_of_a_chain_is_left_with_the_numbers_that_it_had(tmp_path: Path) -> None:
    """What was before it is an input with recorded values, what came after it is gone; names are kept."""
    x = numbers(1, 2)
    search = searched(tmp_path, model_of(CHAIN), CutNodes(), has_ops("Abs"), [{"x": x}])
    graph = search.case.model.graph
    assert (["Abs"], ["b"], ["c"]) == (
        ops(search.case.model),
        [v.name for v in graph.inputs],
        [v.name for v in graph.outputs],
    )
    np.testing.assert_allclose(-np.exp(x), array_of(search.case.samples[0]["b"]), rtol=1e-6)


def test_each_sample_keeps_its_own_numbers(tmp_path: Path) -> None:
    """Cut values are recorded for all of them, whatever their sizes."""
    feeds = [{"x": numbers(1, 2)}, {"x": numbers(3, 2)}]
    search = searched(tmp_path, model_of(CHAIN), CutNodes(), has_ops("Log"), feeds)
    assert [(1, 2), (3, 2)] == [array_of(sample["d"]).shape for sample in search.case.samples]


def test_wrong_number_shows_at_the_value_that_lost_its_users(tmp_path: Path) -> None:
    """A value that only nodes read that are gone becomes an output, since the failure may show there."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        """Fails where a negative number is given out."""
        with OrtRunner(emit_model(model)) as runner:
            return FAILS if any((np.asarray(v) < 0).any() for v in runner.run(samples[0]).values()) else None

    text = "g (float[2] x) => (float[2] y) { a = Neg(x) b = Relu(a) c = Add(b, x) y = Sub(c, x) z = Neg(y) }"
    model = model_of(text.replace("float[2] y)", "float[2] y, float[2] a)"))
    search = searched(tmp_path, model, CutNodes(), check, [{"x": numbers(2)}])
    assert ["Neg"] == ops(search.case.model)


def test_what_follows_from_constants_stays_constant(tmp_path: Path) -> None:
    """A rule that needs a constant weight needs it after the cut as well."""
    text = "g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1,2,3,4}> { t = Transpose<perm=[1,0]>(w) m = MatMul(x, t) y = Relu(m) }"

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        found = [node for node in model.graph.nodes if node.op == "MatMul"]
        return FAILS if found and (input_of(found[0], 1).is_constant or "Transpose" in ops(model)) else None

    search = searched(tmp_path, model_of(text), CutNodes(), check, [{"x": numbers(2, 2)}])
    assert ["MatMul"] == ops(search.case.model)
    weight = search.case.model.graph.initializers()[0]
    assert ("t", [[1, 3], [2, 4]]) == (weight.name, array_of(weight).tolist())


def test_computed_values_become_constants_where_a_failure_needs_them(tmp_path: Path) -> None:
    """A shape that the model computes, for a failure at reshapes to constants or computed shapes."""
    text = "g (float[2,3] x) => (float[6] y) { s = Shape(x) p = ReduceProd<keepdims=1>(s) y = Reshape(x, p) }"
    check = fails_when(lambda m: any(n.op == "Reshape" and not input_of(n, 1).is_input for n in m.graph.nodes))
    search = searched(tmp_path, model_of(text), CutToConstants(), check, [{"x": numbers(2, 3)}])
    assert (["Reshape"], [6]) == (ops(search.case.model), array_of(search.case.model.graph.initializers()[0]).tolist())


def test_model_that_does_not_run_is_cut_by_its_types(tmp_path: Path) -> None:
    """An operator without a kernel anywhere: there are no samples, and none are needed."""
    text = "g (float[2] x) => (float[2] y) { a = Neg(x) b = own.Strange(a) c = Abs(x) y = Exp(c) }"
    search = searched(tmp_path, model_of(text), CutNodes(), has_ops("Exp"))
    assert (["Exp"], ["c"]) == (ops(search.case.model), [value.name for value in search.case.model.graph.inputs])


def test_value_of_unknown_type_is_not_cut(tmp_path: Path) -> None:
    """Nobody knows what a strange operator gives, so what reads it keeps it."""
    text = "g (float[2] x) => (float[2] y) { a = own.Strange(x) y = Neg(a) }"
    search = searched(tmp_path, model_of(text), CutNodes(), has_ops("Neg"))
    assert ["own::Strange", "Neg"] == ops(search.case.model)


def test_captured_values_become_inputs_of_the_main_graph(tmp_path: Path) -> None:
    """What a branch reads from around it is cut like what a node reads."""
    text = """g (bool c, float[2] x) => (float[2] y) {
        a = Exp(x)
        b = If(c) <then_branch = t () => (float[2] p) { p = Neg(a) }, else_branch = e () => (float[2] q) { q = Abs(a) }>
        y = Sqrt(b)
    }"""
    search = searched(tmp_path, model_of(text), CutNodes(), has_ops("If"), [{"c": np.array(True), "x": numbers(2)}])
    assert (["If"], {"a", "c"}) == (ops(search.case.model), set(search.case.samples[0]))


def test_sequences_are_cut_as_they_are(tmp_path: Path) -> None:
    """A list of tensors can be an input too."""
    text = "g (float[2] x, float[2] z) => (float[2] y) <int64 one = {1}> { s = SequenceConstruct(x, z) a = SequenceAt(s, one) y = Neg(a) }"
    search = searched(
        tmp_path, model_of(text), CutNodes(), has_ops("SequenceAt"), [{"x": numbers(2), "z": -numbers(2)}]
    )
    assert ["SequenceAt"] == ops(search.case.model)
    assert [[1, 2], [-1, -2]] == array_of(search.case.samples[0]["s"]).tolist()
