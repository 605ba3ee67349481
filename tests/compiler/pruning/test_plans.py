"""What pruning passes did is recorded while a model is optimized, and can be done again in the same place."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.compiler.pruning.plans import PlanRecorder, record_plan
from graphopt.data import digits_model
from graphopt.errors import PruningError
from graphopt.ir import Constant, Graph, Value, structural_equal
from graphopt.passes import NotedAxis, PassContext, PruningLog, weight_names
from graphopt.serde import lift_model
from graphopt.transforms.pruning import PruneMagnitude


def recorded(pipeline):
    recorder = PlanRecorder()
    result = graphopt.optimize(digits_model(), pipeline=pipeline, check=False, instrumentations=[recorder])
    assert recorder.plan is not None
    return result, recorder.plan


def test_the_plan_of_a_pipeline_does_the_same_behind_the_same_passes(tmp_path):
    result, plan = recorded("O2,prune-channels{ratio=0.5},prune-magnitude{sparsity=0.5}")
    assert ("prune-channels{ratio=0.5}", "prune-magnitude") == plan.steps
    path = plan.save(tmp_path / "plan.json")
    passes = f'{plan.prepare},apply-pruning-plan{{plan="{path}"}}'
    again = graphopt.optimize(digits_model(), pipeline=passes, check=False)
    assert structural_equal(result.model, again.model)


def test_a_plan_without_what_came_before_it_says_so(tmp_path):
    path = recorded("O2,prune-channels")[1].save(tmp_path / "plan.json")
    with pytest.raises(
        PruningError, match=r"the plan was made after other passes; put its 'prepare' before this one: .*inline"
    ):
        graphopt.optimize(digits_model(), pipeline=f'apply-pruning-plan{{plan="{path}"}}')


def test_a_pipeline_that_prunes_nothing_has_no_plan():
    recorder = PlanRecorder()
    graphopt.optimize(digits_model(), pipeline="O1", check=False, instrumentations=[recorder])
    assert recorder.plan is None


def test_passes_inside_a_group_are_prepared_by_what_is_before_the_group():
    _result, plan = recorded("eliminate-dead-code,fixpoint(prune-magnitude)")
    assert "eliminate-dead-code" == plan.prepare


def test_steps_add_up():
    log = PruningLog()
    log.note_masks({"w": np.array([[True, False, True], [True, True, True]])})
    log.note_axes(
        [
            NotedAxis("w", 1, ("w",), np.array([True, False, True])),
            NotedAxis("v", 0, ("w",), np.array([True, False, True])),
        ]
    )
    log.note_axes([NotedAxis("w", 0, ("u",), np.array([False, True]))])
    log.note_masks({"w": np.array([[True, False]])})
    plan = record_plan(log)
    assert [
        "w: 2 of 3 kept, in w axis 1, v axis 0",
        "u: 1 of 2 kept, in w axis 0",
        "w: 1 of 2 zero",
    ] == plan.summary().split("\n")


def test_nothing_recorded_is_an_empty_plan():
    assert record_plan(PassContext().pruned).is_empty


def test_a_step_with_an_option_that_has_no_text_is_named():
    """A pass made in Python may hold anything; what it takes away is noted all the same."""
    model = lift_model(onnx.load(digits_model()))
    odd = PruneMagnitude(include=("a\0b", object()))  # type: ignore[arg-type]  # nothing checks it here
    log = PruningLog()
    log.begin(model.graph, odd)
    assert ["prune-magnitude"] == log.steps


@pytest.mark.parametrize(
    "again",
    [
        lambda log: log.note_axes([NotedAxis("w", 1, (), np.array([True, False, True]))]),
        lambda log: log.note_masks({"w": np.ones((3, 2), np.bool_)}),
        lambda log: log.note_axes([NotedAxis("w", 2, (), np.array([True, False]))]),
    ],
)
def test_a_weight_that_was_turned_between_two_prunings_is_no_plan(again):
    log = PruningLog()
    log.note_masks({"w": np.ones((2, 3), np.bool_)})
    log.note_axes([NotedAxis("w", 1, (), np.array([True, False, True]))])
    again(log)
    with pytest.raises(PruningError, match="no plan: weight 'w' has another shape than the last pruning left of it"):
        record_plan(log)


def test_names_of_weights_are_told_apart():
    graph = Graph("g")
    for name in ("w", "w#2", "w"):
        graph.add_initializer(Value(name, None, Constant(np.ones(2, np.float32))))
    assert ["w", "w#2", "w#3"] == list(weight_names(graph).values())
