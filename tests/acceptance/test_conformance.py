"""The ONNX backend suite, optimized: what ONNX Runtime ran correctly before it runs correctly after, with the same interface."""

from __future__ import annotations

import dataclasses

import onnx
import pytest
from onnx import ModelProto

from graphopt.compiler import Environment, optimize
from graphopt.errors import GraphoptError
from tests.onnx_suite import Case, load_cases, ort_correct_names, ort_runs_correctly

PARTS = 4


def interface(model: ModelProto) -> list[bytes]:
    """Inputs and outputs as the file states them, versions, and what callers may look up."""
    graph = model.graph
    stated = [*graph.input, *graph.output]
    return [b"%d" % len(graph.input), *(item.SerializeToString(deterministic=True) for item in stated)]


def accepted(model: ModelProto) -> bool:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def complaint(case: Case, level: str, environment: Environment, correct: frozenset[str]) -> str | None:
    """What is wrong with the optimized model of a case, ``None`` when nothing is."""
    try:
        proto = optimize(case.model, level=level, check=False, plugins=environment.plugins).proto
    except GraphoptError as err:
        return f"refused: {err}" if case.name in correct else None
    if interface(proto) != interface(case.model):
        return "another interface"
    if case.name in correct:
        return None if ort_runs_correctly(dataclasses.replace(case, model=proto)) else "wrong numbers"
    return "onnx.checker does not accept it any more" if accepted(case.model) and not accepted(proto) else None


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_each_case_of_the_suite_stays_right(level: str, part: int, environment: Environment):
    """All cases that ONNX Runtime runs correctly, and no other case made worse; the check at the end is off, so nothing is repaired."""
    correct = frozenset(ort_correct_names())
    cases = load_cases()[part::PARTS]
    found = {case.name: complaint(case, level, environment, correct) for case in cases}
    assert {name: text for name, text in found.items() if text is not None} == {}
    assert len(cases) >= len(load_cases()) // PARTS
