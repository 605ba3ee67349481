"""Rules without a guard: the real ones, their modules and their files stay as they are."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import graphopt.backends.onnx.legalize
import graphopt.transforms.canonicalize
from benchmarks.guards.guard import SHARED, units
from benchmarks.guards.mutants import guards_of
from benchmarks.guards.worlds import Edit, import_edited, is_mutable, path_of
from graphopt.ir import DType, GraphBuilder, Model
from graphopt.passes import Pass, PassManager, RewritePass
from graphopt.transforms.canonicalize.transposes import eliminate_transpose
from tests.rewriting.graphs import model, ops

UNITS = {unit.name: unit for unit in units()}
GUARDS = {guard.id: guard for guard in guards_of(UNITS.values())}


def run(item: type[Pass], subject: Model) -> list[str]:
    PassManager([item()]).run(subject)
    return ops(subject)


def transposed() -> Model:
    return model(lambda b, x: b.Abs(b.Transpose(x, perm=[1, 0])))


def tiled_by_default() -> Model:
    """Repeats of 1, which a caller may override."""
    b = GraphBuilder(opset=17)
    x, repeats = b.input("x", DType.FLOAT, [2, 3]), b.input("repeats", DType.INT64, [2])
    b.output(b.Tile(x, repeats), "y")
    subject = b.build()
    repeats.const = b.constant(np.array([1, 1])).const
    subject.graph.add_initializer(repeats)
    return subject


def state() -> dict[str, object]:
    return {name: module for name, module in sys.modules.items() if is_mutable(name)}


def test_a_condition_of_a_body_is_gone_from_the_mutant_only():
    guard = GUARDS["eliminate-transpose: shape: eliminate_transpose: order != tuple(range(len(order)))"]
    (unit,) = guard.holders
    files = {path: path.read_bytes() for path in (path_of(name) for name in state())}
    before = state()
    mutant = guard.mutant(unit)
    assert before == state()
    assert files == {path: path.read_bytes() for path in files}
    assert sys.modules["graphopt.transforms"] is graphopt.transforms
    assert sys.modules["graphopt.transforms.canonicalize"] is graphopt.transforms.canonicalize
    assert ["Abs"] == run(mutant, transposed())
    assert ["Transpose", "Abs"] == run(unit.real, transposed())


def test_a_mutant_is_its_rule_alone_in_its_pass():
    unit = UNITS["eliminate-transpose"]
    guard = next(guard for guard in GUARDS.values() if guard.owner == unit.name)
    mutant = guard.mutant(unit)
    assert issubclass(mutant, unit.pass_class)
    assert issubclass(mutant, RewritePass)
    assert ["eliminate-transpose"] == [rule.name for rule in mutant.rules]
    assert mutant.rules[0] is not eliminate_transpose
    assert "canonicalize" == mutant.name


def test_a_condition_in_a_function_of_several_rules_counts_once():
    guard = GUARDS["shared: constant: constant_ints: not value.is_constant"]
    assert {"eliminate-tile", "eliminate-slice", "fold-pad-into-conv"} <= {unit.name for unit in guard.holders}

    unit = UNITS["eliminate-tile"]
    assert ["Tile"] == run(unit.real, tiled_by_default())
    assert "Tile" not in run(guard.mutant(unit), tiled_by_default())


def test_rules_of_backends_have_mutants_too():
    guard = GUARDS["use-fused-conv: element type: UseFusedConv.match_and_rewrite: data.dtype is not DType.FLOAT"]
    before = graphopt.backends.onnx.legalize
    assert "legalize-onnxruntime" == guard.mutant(guard.holders[0]).name
    assert before is graphopt.backends.onnx.legalize


def test_opsets_and_references_are_guards():
    owners = {guard.owner for guard in GUARDS.values() if guard.what == "min_opset 7"}
    assert {"fold-addition", "fold-multiplication", "fuse-matmul-add"} <= owners
    classes = {guard.owner for guard in GUARDS.values() if guard.what == "root: no references"}
    assert {"flatten-concat", "fold-transpose-into-gemm"} <= classes
    assert "shorten-unary-chain" not in classes  # its operators have no attributes


def test_each_guard_has_an_id_of_its_own_and_holders():
    guards = guards_of(UNITS.values())
    assert len(guards) == len({guard.id for guard in guards})
    assert all(guard.holders for guard in guards)
    assert all((guard.owner == SHARED) == (len(guard.holders) > 1) for guard in guards)
    assert all(guard.owner in (SHARED, *UNITS) for guard in guards)


@pytest.mark.parametrize("name", ["merge-casts", "fold-batch-norm", "eliminate-dead-code", "use-fused-conv"])
def test_all_mutants_of_a_rule_can_be_made(name):
    guards = [guard for guard in GUARDS.values() if guard.owner == name]
    assert guards
    for guard in guards:
        assert UNITS[name].pass_class.name == guard.mutant(UNITS[name]).name


def test_an_edit_that_fits_nowhere_is_an_error():
    before = state()
    with pytest.raises(
        ValueError, match=r"0 expressions at \(1, 0, 1, 1\) when graphopt.transforms.canonicalize is imported"
    ):
        import_edited(
            Edit("graphopt.transforms.canonicalize.casts", (1, 0, 1, 1), "True"), "graphopt.transforms.canonicalize"
        )
    assert before == state()


def test_units_name_each_rule_once():
    rules = [unit.name for unit in units() if unit.rule is not None]
    assert sorted(set(rules)) == rules
    assert all(unit.real.name == unit.pass_class.name for unit in units())
