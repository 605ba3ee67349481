"""What a failure does not need is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphopt.ir import Model, Node
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction.shrinkers import DropDeadNodes, DropNotes, DropOutputs, DropSamples, DropUnused
from tests.verify.reduction.searching import FAILS, fails_when, has_ops, model_of, numbers, ops, searched

FORK = "g (float[2] x) => (float[2] a, float[2] b, float[2] c) { a = Exp(x) b = Neg(x) c = Abs(b) }"


def test_outputs_go_with_what_only_they_need(tmp_path: Path) -> None:
    """Of three outputs the one at which it fails is left."""
    search = searched(tmp_path, model_of(FORK), DropOutputs(), has_ops("Abs"), [{"x": numbers(2)}])
    assert (["Neg", "Abs"], ["c"]) == (
        ops(search.case.model),
        [value.name for value in search.case.model.graph.outputs],
    )


def test_dead_nodes_stay_with_outputs_and_go_by_themselves(tmp_path: Path) -> None:
    """A failure may sit in a node that no output needs."""
    text = "g (float[2] x) => (float[2] a, float[2] b) { a = Exp(x) b = Neg(x) dead = Abs(x) dull = Sqrt(x) }"
    search = searched(tmp_path, model_of(text), DropOutputs(), has_ops("Abs", "Neg"), [{"x": numbers(2)}])
    assert ["Neg", "Abs", "Sqrt"] == ops(search.case.model)
    search = searched(tmp_path, search.case.model, DropDeadNodes(), has_ops("Abs"), search.case.samples)
    assert ["Neg", "Abs"] == ops(search.case.model)


def test_samples_that_do_not_show_the_failure_go(tmp_path: Path) -> None:
    """One is left, the one with the NaN."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if any(np.isnan(np.asarray(feeds["x"])).any() for feeds in samples) else None

    feeds = [{"x": numbers(2)}, {"x": np.array([np.nan, 1], np.float32)}, {"x": -numbers(2)}]
    search = searched(tmp_path, model_of(FORK), DropSamples(), check, feeds)
    assert [True] == [bool(np.isnan(np.asarray(sample["x"])).any()) for sample in search.case.samples]


def test_failure_that_needs_two_samples_keeps_two(tmp_path: Path) -> None:
    """And not the third."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if {1.0, 3.0} <= {float(np.asarray(feeds["x"])[0]) for feeds in samples} else None

    feeds = [{"x": numbers(2, start=start)} for start in (1, 2, 3)]
    search = searched(tmp_path, model_of(FORK), DropSamples(), check, feeds)
    assert [1.0, 3.0] == [float(np.asarray(sample["x"])[0]) for sample in search.case.samples]


def test_unused_inputs_constants_functions_and_domains_go(tmp_path: Path) -> None:
    """With the numbers of the inputs."""
    text = """g (float[2] x, float[2] spare) => (float[2] y) <float[1] w = {1}> { y = Neg(x) }
    <domain: "own", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }"""
    feeds = [{"x": numbers(2), "spare": numbers(2)}]
    search = searched(tmp_path, model_of(text), DropUnused(), has_ops("Neg"), feeds)
    model = search.case.model
    assert (["x"], [], {}, {"": 17}) == (
        [value.name for value in model.graph.inputs],
        model.graph.initializers(),
        model.functions,
        model.opset_imports,
    )
    assert ["x"] == list(search.case.samples[0])


def test_texts_and_statements_go_apart_if_need_be(tmp_path: Path) -> None:
    """A failure at a stated inner type keeps that, and loses the doc strings."""
    model = model_of("g (float[2] x) => (float[2] y) { a = Exp(x) y = Neg(a) }")
    inner = next(iter(model.graph.nodes))
    model.doc, inner.doc, inner.metadata, inner.output.declared = "long", "story", {"key": "value"}, True
    all_of_it = searched(tmp_path, model, DropNotes(), has_ops("Exp")).case.model
    assert ("", "", None, False) == (
        all_of_it.doc,
        _first(all_of_it).doc,
        _first(all_of_it).metadata,
        _declared(all_of_it),
    )
    some = searched(tmp_path, model, DropNotes(), fails_when(_declared)).case.model
    assert ("", True) == (some.doc, _declared(some))


def _first(model: Model) -> Node:
    return next(iter(model.graph.nodes))


def _declared(model: Model) -> bool:
    return _first(model).output.declared
