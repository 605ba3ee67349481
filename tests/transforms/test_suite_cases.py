"""All whole-graph passes, one after the other, on every case of the ONNX backend suite: valid models, and the same bits."""

from __future__ import annotations

import pytest

from graphopt.errors import ModelError
from graphopt.ir.verifier import verify
from graphopt.passes import Pass
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.constant_folding import FoldConstants
from graphopt.transforms.constants import ConstantsToInitializers, InitializersToConstants
from graphopt.transforms.control_flow import SimplifyIf, SimplifyLoop
from graphopt.transforms.cse import EliminateCommonSubexpressions
from graphopt.transforms.dead_code import EliminateDeadCode, RemoveUnusedFunctions
from graphopt.transforms.deduplicate import DeduplicateConstants
from graphopt.transforms.inlining import InlineFunctions
from graphopt.transforms.opset_imports import RemoveUnusedOpsets
from tests.onnx_suite import Case, load_cases, ort_correct_names
from tests.transforms.whole_graph import apply, assert_same_bits, context

PASSES: tuple[Pass, ...] = (
    InlineFunctions(),
    RemoveUnusedFunctions(),
    ConstantsToInitializers(),
    FoldConstants(),
    SimplifyIf(),
    SimplifyLoop(),
    FoldConstants(),
    DeduplicateConstants(),
    EliminateCommonSubexpressions(),
    EliminateDeadCode(),
    RemoveUnusedOpsets(),
    InitializersToConstants(),
)
PARTS = 4


def changed_outcome(case: Case, *, compare: bool) -> set[str]:
    """Run all passes on a case; the names of those that changed it."""
    try:
        model = lift_model(case.model)
    except ModelError:
        return set()
    ctx = context()
    changed = set()
    for step in PASSES:
        if apply(step, model, ctx).changed:
            changed.add(step.name)
        verify(model)
    if changed and compare:
        proto = emit_model(model)
        for data_set in case.data_sets:
            assert_same_bits(case.model, proto, data_set.inputs)
    return changed


@pytest.mark.parametrize("part", range(PARTS))
def test_cases_keep_their_numbers(part):
    """The cases that ONNX Runtime runs correctly give the same bits; the others stay valid."""
    correct = set(ort_correct_names())
    seen: set[str] = set()
    for case in load_cases()[part::PARTS]:
        try:
            seen |= changed_outcome(case, compare=case.name in correct)
        except AssertionError as err:
            raise AssertionError(f"case {case.name}: {err}") from err
    assert {"constants-to-initializers", "deduplicate-constants", "eliminate-dead-code", "fold-constants"} <= seen
