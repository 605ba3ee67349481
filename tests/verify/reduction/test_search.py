"""Candidates are judged: only what is valid, runs, and fails in the same way is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir import DType, Model, TensorType, structural_hash
from graphopt.runtime.base import Feeds
from graphopt.serde import emit_model
from graphopt.verify.reduction import Case, Recorder, Search, Shrinker, default_shrinkers, run_shrinkers
from tests.verify.reduction.searching import FAILS, array_of, has_ops, input_of, model_of, numbers, ops, searched

CHAIN = "g (float[n,2] x) => (float[n,2] y) { a = Exp(x) b = Neg(a) c = Abs(b) d = Sqrt(c) y = Log(d) }"


class Offer:
    """A stranger's shrinker: offers what a function makes of the case."""

    name = "offer"

    def __init__(self, edit) -> None:
        self.edit = edit
        self.accepted: bool | None = None

    def shrink(self, search: Search) -> None:
        """One candidate."""
        candidate = search.case.copy()
        self.edit(candidate.model)
        self.accepted = search.attempt(candidate)


def _drop_last(model: Model) -> None:
    """The last node of the chain."""
    graph = model.graph
    last = list(graph.nodes)[-1]
    graph.set_output(0, input_of(last))
    graph.erase(last)


def test_a_strangers_shrinker_is_one_like_any_other(tmp_path: Path) -> None:
    """No base class; what it brought is in the account."""
    offer = Offer(_drop_last)
    assert isinstance(offer, Shrinker)
    search = searched(tmp_path, model_of(CHAIN), offer, has_ops("Exp"), [{"x": numbers(1, 2)}])
    assert (True, ["Exp", "Neg", "Abs", "Sqrt"]) == (offer.accepted, ops(search.case.model))
    (step,) = search.steps
    assert ("offer", 5, 4, 1, 1) == (step.name, step.nodes_before, step.nodes_after, step.checks, step.accepted)


def test_other_failure_is_not_accepted(tmp_path: Path) -> None:
    """The same model fails, but for another reason."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if len(ops(model)) == 5 else "another failure"

    offer = Offer(_drop_last)
    search = searched(tmp_path, model_of(CHAIN), offer, check, [{"x": numbers(1, 2)}])
    assert (False, 5, 1) == (offer.accepted, search.case.node_count, search.checks)


def test_invalid_model_is_not_even_checked(tmp_path: Path) -> None:
    """An output whose type nobody states, and a node whose input comes after it."""

    def forget_type(model: Model) -> None:
        model.graph.outputs[0].type = None

    def misspell(model: Model) -> None:
        list(model.graph.nodes)[-1].set_op("Logg")

    for edit in (forget_type, misspell):
        offer = Offer(edit)
        search = searched(tmp_path, model_of(CHAIN), offer, has_ops("Exp"), [{"x": numbers(1, 2)}])
        assert (False, 0) == (offer.accepted, search.checks)


def test_candidate_that_does_not_run_is_not_accepted(tmp_path: Path) -> None:
    """The checker takes it, the runtime does not: the weight has another width."""

    def widen(model: Model) -> None:
        model.graph.inputs[1].type = TensorType(DType.FLOAT, (3,))

    offer = Offer(widen)
    text = "g (float[2] x, float[2] z) => (float[2] y) { y = Add(x, z) }"
    searched(tmp_path, model_of(text), offer, has_ops("Add"), [{"x": numbers(2), "z": numbers(2)}])
    assert offer.accepted is False


def test_same_candidate_is_checked_once(tmp_path: Path) -> None:
    """However often it is offered."""
    calls: list[int] = []

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        calls.append(model.node_count)
        return None

    search = Search(Case(model_of(CHAIN), ({"x": numbers(1, 2)},)), check, FAILS, Recorder(tmp_path))
    for _ in range(3):
        search.run(Offer(_drop_last))
        search.run(Offer(lambda model: None))
    assert [4] == calls


def test_check_may_edit_what_it_is_given(tmp_path: Path) -> None:
    """It has a copy."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        found = "Exp" in ops(model)
        _drop_last(model)
        return FAILS if found else None

    search = Search(Case(model_of(CHAIN), ({"x": numbers(1, 2)},)), check, FAILS, Recorder(tmp_path))
    run_shrinkers(search, default_shrinkers())
    assert ["Exp"] == ops(search.case.model)


def test_progress_tells_nodes_checks_and_what_is_done(tmp_path: Path) -> None:
    """In one line."""
    lines: list[str] = []
    search = Search(
        Case(model_of(CHAIN), ({"x": numbers(1, 2)},)), has_ops("Exp"), FAILS, Recorder(tmp_path), lines.append
    )
    run_shrinkers(search, default_shrinkers())
    assert "5 of 5 nodes, 1 check, cut to inputs" in lines
    assert lines[-1].startswith("1 of 5 nodes, ")


@pytest.mark.parametrize("wanted", [("Exp", "Abs"), ("Log",), ("Exp", "Neg", "Abs", "Sqrt", "Log")])
def test_same_search_twice_gives_the_same(tmp_path: Path, wanted: tuple[str, ...]) -> None:
    """Model, inputs and number of checks."""
    found = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        search = Search(Case(model_of(CHAIN), ({"x": numbers(3, 2)},)), has_ops(*wanted), FAILS, Recorder(folder))
        run_shrinkers(search, default_shrinkers())
        feeds = {name: array_of(data).tolist() for name, data in search.case.samples[0].items()}
        found.append((emit_model(search.case.model).SerializeToString(), feeds, search.checks))
    assert found[0] == found[1]
    assert set(wanted) <= set(ops(search.case.model))


@settings(max_examples=25)
@given(st.sets(st.sampled_from(["Exp", "Neg", "Abs", "Sqrt", "Log"]), min_size=1))
def test_result_is_valid_and_has_what_is_needed_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, wanted: set[str]
) -> None:
    """Whatever is needed; the original stays as it was."""
    model = model_of(CHAIN)
    before = structural_hash(model)
    search = Search(
        Case(model, ({"x": numbers(1, 2)},)), has_ops(*wanted), FAILS, Recorder(tmp_path_factory.mktemp("r"))
    )
    run_shrinkers(search, default_shrinkers())
    onnx.checker.check_model(emit_model(search.case.model), full_check=True)
    assert sorted(wanted) == sorted(ops(search.case.model))
    assert search.recorder.runs(search.case)
    assert before == structural_hash(model)
