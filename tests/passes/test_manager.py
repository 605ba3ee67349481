"""How passes are run, recorded, limited and blamed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from graphopt.errors import ModelError, PassError
from graphopt.ir import DType, Graph, GraphBuilder
from graphopt.passes import (
    Exact,
    Fixpoint,
    Instrumentation,
    Pass,
    PassContext,
    PassManager,
    PassResult,
    Pipeline,
    Reassociates,
    RewritePass,
)
from graphopt.passes.record import count_nodes
from graphopt.rewriting import Applications, any_, op, rewrite
from tests.passes.sample_passes import DropOne, EliminateDoubleNeg, SimplifyAbs, Tune, chain, ops

NEG = EliminateDoubleNeg()


@dataclass(frozen=True)
class Fail(Pass):
    """Fails."""

    name: ClassVar[str] = "fail"
    error: Exception = field(default_factory=lambda: ValueError("boom"), repr=False)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        raise self.error


class Types:
    """Counts how often a model's types are asked for."""

    def __init__(self):
        self.models = 0

    def infer_node(self, node):
        return (None,) * len(node.outputs)

    def infer_model(self, model):
        self.models += 1
        return 0


def test_records_say_what_each_pass_did():
    model = chain("Neg", "Neg", "Relu", "Abs", "Neg")
    report = PassManager([NEG, Tune(count=1), SimplifyAbs()]).run(model)
    assert ["Relu", "Neg"] == ops(model)
    assert [
        ("eliminate-double-neg", "", True, {"eliminate-double-neg": 1}, 5, 3, Exact(), 1, 1),
        ("tune", "count=1", False, {}, 3, 3, Exact(), 2, 1),
        ("simplify-abs", "", True, {"relu-is-positive": 1}, 3, 2, Reassociates(1e-3), 2, 2),
    ] == [
        (
            r.name,
            r.options,
            r.changed,
            r.stats,
            r.nodes_before,
            r.nodes_after,
            r.numerics,
            r.first_application,
            r.last_application,
        )
        for r in report.records
    ]
    assert (5, 2, Reassociates(1e-3), True) == (
        report.nodes_before,
        report.nodes_after,
        report.numerics,
        report.changed,
    )
    assert ["eliminate-double-neg", "relu-is-positive"] == [item.rule for item in report.applications]
    assert ["eliminate-double-neg", "simplify-abs"] == [item.pass_name for item in report.applications]
    assert report.ms >= sum(r.ms for r in report.records)


def test_numerics_of_a_run_are_those_of_passes_that_changed_something():
    report = PassManager([NEG, SimplifyAbs()]).run(chain("Neg", "Neg"))
    assert Exact() == report.numerics


def test_a_group_runs_until_nothing_changes():
    model = chain("Relu", "Relu", "Relu", "Neg")
    report = PassManager([Fixpoint((DropOne(), NEG))]).run(model)
    assert ["Neg"] == ops(model)
    (group,) = report.records
    assert (True, True, 4, 4, 1) == (
        group.changed,
        group.converged,
        group.rounds,
        group.nodes_before,
        group.nodes_after,
    )
    names = [(child.name, child.changed) for child in group.children]
    assert [("drop-one", True), ("eliminate-double-neg", False)] * 3 + [("drop-one", False)] == names
    assert {"dropped": 3} == report.stats


def test_a_group_stops_after_its_rounds(caplog):
    model = chain("Relu", "Relu", "Relu", "Neg")
    report = PassManager([Fixpoint((DropOne(),), max_rounds=2)]).run(model)
    assert ["Relu", "Neg"] == ops(model)
    assert not report.records[0].converged
    assert "fixpoint(drop-one) still changes the model after 2 rounds" in caplog.text


def test_a_pass_is_not_run_again_in_the_model_that_it_left():
    model = chain("Neg", "Neg", "Relu", "Abs", "Relu", "Sigmoid")
    tune = Tune(table={"not": 1.0})  # can't be hashed, so nobody knows that it is the same again
    report = PassManager([NEG, Tune(), NEG, DropOne(), NEG, Tune(), Tune(count=1), tune, tune, DropOne()]).run(model)
    again = "nothing changed since it ran"
    assert ["", "", again, "", "", "", "", "", "", ""] == [record.skipped for record in report.records]
    assert ["Abs", "Sigmoid"] == ops(model)


def test_a_group_ends_without_a_last_round_of_passes_that_do_all_at_once():
    model = chain("Neg", "Neg", "Relu", "Abs", "Sigmoid")
    report = PassManager([Fixpoint((SimplifyAbs(), NEG))]).run(model)
    ran = [child.name for child in report.records[0].children if not child.skipped]
    assert ["simplify-abs", "eliminate-double-neg", "simplify-abs"] == ran
    assert ["Relu", "Sigmoid"] == ops(model)


def test_an_empty_group_does_nothing():
    report = PassManager([Fixpoint(())]).run(chain("Relu"))
    assert not report.changed


def test_groups_nest():
    model = chain("Relu", "Relu", "Neg", "Neg", "Abs")
    PassManager([Fixpoint((Fixpoint((DropOne(),)), NEG))]).run(model)
    assert ["Abs"] == ops(model)


def test_types_are_inferred_once_before_the_first_pass_that_needs_them():
    types = Types()
    report = PassManager([Fixpoint((NEG,)), SimplifyAbs()]).run(chain("Relu", "Neg"), PassContext(types=types))
    assert 1 == types.models
    assert report.types_ms > 0


def test_types_are_inferred_again_after_an_edit_that_did_not_keep_them():
    types = Types()
    PassManager([NEG, DropOne(), SimplifyAbs()]).run(chain("Relu", "Neg"), PassContext(types=types))
    assert 2 == types.models


def test_types_are_not_inferred_for_passes_that_need_none():
    types = Types()

    @dataclass(frozen=True)
    class Untyped(Tune):
        needs_types: ClassVar[bool] = False

    PassManager([Untyped()]).run(chain("Relu"), PassContext(types=types))
    assert 0 == types.models


def with_function():
    b = GraphBuilder(opset=17)
    x = b.input("x", DType.FLOAT, ["n"])
    f = b.function("local", "Twice", inputs=["a"])
    f.output(f.Neg(f.Neg(f.Relu(f.graph.inputs[0]))), "r")
    b.output(b.op("local::Twice", b.Neg(b.Neg(x))), "y")
    return b.build()


@pytest.mark.parametrize(("per_function", "left"), [(True, 2), (False, 4)])
def test_functions_are_passed_over_only_when_a_pass_says_so(per_function, left):
    model = with_function()

    @dataclass(frozen=True)
    class Here(EliminateDoubleNeg):
        per_function: ClassVar[bool] = True

    Here.per_function = per_function
    report = PassManager([Here()]).run(model)
    assert left == count_nodes(model) == report.nodes_after
    assert {"eliminate-double-neg": 1 + per_function} == report.records[0].stats


def test_a_pass_that_does_not_number_its_edits_is_one_application():
    model = chain("Relu", "Relu", "Neg", "Neg", "Abs")
    site = list(model.graph.nodes)[3].output.name
    report = PassManager([DropOne(), NEG, DropOne(), DropOne()]).run(model)
    assert [(1, "drop-one", ""), (2, "eliminate-double-neg", site), (3, "drop-one", "")] == [
        (item.number, item.rule, item.site) for item in report.applications
    ]
    assert [(1, 1), (2, 2), (3, 3), (4, 3)] == [(r.first_application, r.last_application) for r in report.records]


@pytest.mark.parametrize(("limit", "left"), [(0, 5), (1, 4), (2, 2), (3, 1), (9, 1)])
def test_a_limit_stops_after_the_nth_application_of_any_pass(limit, left):
    model = chain("Relu", "Relu", "Neg", "Neg", "Abs")
    ctx = PassContext(applications=Applications(limit))
    report = PassManager([DropOne(), NEG, DropOne()]).run(model, ctx)
    assert left == len(ops(model))
    assert min(limit, 3) == len(report.applications)
    if limit < 3:
        assert "the limit of applications is reached" == report.records[-1].skipped


def test_a_pass_can_be_left_out_by_its_site():
    model = chain("Relu", "Neg", "Neg")
    report = PassManager([DropOne(), NEG]).run(model, PassContext(applications=Applications(skip=[("drop-one", "")])))
    assert ["Relu"] == ops(model)[:1]
    assert ["left out", ""] == [record.skipped for record in report.records]


def test_an_error_names_the_pass_and_those_before():
    with pytest.raises(PassError) as caught:
        PassManager([NEG, Tune(count=1), Fail()]).run(chain("Neg", "Neg"))
    assert "pass 'fail': ValueError: boom; passes already run: eliminate-double-neg, tune" == str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_lists_the_last_passes_only():
    with pytest.raises(PassError, match=r"passes already run: (tune, ){11}tune and 3 before these$"):
        PassManager([Tune()] * 15 + [Fail()]).run(chain("Neg"))


def test_an_error_in_a_rule_names_pass_rule_and_node():
    @rewrite(op.Abs(any_("x")))
    def breaks(m, rw):
        raise RuntimeError("no luck")

    @dataclass(frozen=True)
    class Broken(RewritePass):
        """Breaks."""

        name = "broken"
        rules = (breaks,)

    model = chain("Neg", "Abs")
    node = list(model.graph.nodes)[1]
    node.name = "abs_1"
    with pytest.raises(PassError) as caught:
        PassManager([Broken()]).run(model)
    assert (
        "pass 'broken': rule 'breaks' failed at node 'abs_1' (Abs): RuntimeError: no luck; no pass ran before it"
        == str(caught.value)
    )


def test_other_errors_of_graphopt_keep_their_kind_and_get_a_note():
    with pytest.raises(ModelError, match="bad model") as caught:
        PassManager([NEG, Fail(ModelError("bad model"))]).run(chain("Neg"))
    assert "bad model" == str(caught.value)
    assert ["in pass 'fail'; passes already run: eliminate-double-neg"] == caught.value.__notes__


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_is_no_error_passes_through(error):
    with pytest.raises(type(error)) as caught:
        PassManager([Fail(error)]).run(chain("Neg"))
    assert error is caught.value


class Log(Instrumentation):
    def __init__(self, name, log, skip=""):
        self.name, self.log, self.skip = name, log, skip

    def before_pipeline(self, pipeline, model, ctx):
        self.log.append(f"{self.name} start {pipeline.to_text()}")

    def skip_reason(self, item, model, ctx):
        return "not wanted" if item.name == self.skip else ""

    def before_pass(self, item, model, record):
        self.log.append(f"{self.name} before {item.name}")

    def after_pass(self, item, model, result, record):
        self.log.append(f"{self.name} after {item.name} {result.changed}")

    def after_failed_pass(self, item, model, error, record):
        self.log.append(f"{self.name} failed {item.name}: {type(error).__name__}")

    def after_pipeline(self, model, report):
        self.log.append(f"{self.name} end {len(report.records)}")


def test_watchers_are_nested():
    log: list[str] = []
    PassManager(Pipeline.of(NEG), [Log("a", log), Log("b", log)]).run(chain("Neg", "Neg"))
    name = "eliminate-double-neg"
    assert [
        f"a start {name}",
        f"b start {name}",
        f"a before {name}",
        f"b before {name}",
        f"b after {name} True",
        f"a after {name} True",
        "b end 1",
        "a end 1",
    ] == log


def test_watchers_hear_of_failures_and_may_skip():
    log: list[str] = []
    with pytest.raises(PassError):
        PassManager([Tune(), Fail()], [Log("a", log, skip="tune")]).run(chain("Neg"))
    assert ["a before fail", "a failed fail: PassError"] == log[1:]


def test_reports_are_plain_values():
    report = PassManager([Fixpoint((DropOne(),)), NEG]).run(chain("Relu", "Neg"))
    plain = json.loads(json.dumps(report.to_dict()))
    assert ["fixpoint", "eliminate-double-neg"] == [record["pass"] for record in plain["passes"]]
    assert [2, 1] == plain["nodes"]
    assert 2 == len(plain["passes"][0]["children"])
