"""The fusibility guard: what leaves ONNX Runtime less to fuse is found and left out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler import fusibility
from graphopt.hookspecs import hookimpl
from graphopt.numerics import Reassociates
from graphopt.passes import RewritePass
from graphopt.rewriting import Match, Replacement, Rewriter, any_, const, op, rewrite
from graphopt.runtime.fused_kernels import kernel_counts
from tests.transforms.harness import model

GELU = "d = Div(x, r) e = Erf(d) f = Add(e, one) g = Mul(x, f) h = Mul(g, half) y = Neg(h)"
NUMBERS = {"r": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}


@rewrite(op.Mul(op.Mul(any_("x"), any_("f")), const("half", equal_to=0.5)), numerics=Reassociates())
def halve_first(m: Match, rw: Rewriter) -> Replacement:
    """Mul(Mul(x, f), 0.5) -> Mul(x, Mul(f, 0.5) - 0), which nobody knows for a Gelu."""
    nothing = rw.constant(np.float32(0))
    return rw.new("Mul", m["x"], rw.new("Sub", rw.new("Mul", m["f"], m["half"]), nothing))


@dataclass(frozen=True)
class HideGelu(RewritePass):
    """Hide Gelu from everybody."""

    name: ClassVar[str] = "hide-gelu"
    rules: ClassVar = (halve_first,)


class Plugin:
    """Brings the pass."""

    @hookimpl
    def graphopt_passes(self):
        return {"hide-gelu": HideGelu}


@pytest.fixture
def plugins():
    found = builtin_plugins(discover=False)
    found.register(Plugin(), name="hiding")
    return found


@pytest.fixture
def gelu():
    return model(GELU, "float[2,4] x", opset=14, initializers=NUMBERS)


def optimize(proto, plugins, **more):
    return graphopt.optimize(proto, pipeline="hide-gelu", plugins=plugins, **more).report


def test_the_rule_at_fault_is_left_out(gelu, plugins):
    report = optimize(gelu, plugins)
    assert ["halve-first"] == report.skipped
    assert report.nodes_before == report.nodes_after
    assert any(
        "fuses less with it (activation: 0 fused kernels instead of 1): halve-first" in note for note in report.notes
    )
    assert (("halve-first",), ()) == (report.fusibility.undone, report.fusibility.kept)
    assert {"activation": (1, 1, 0, 0)} == report.fusibility.families()
    assert "ok" == report.verdict.status
    assert json.loads(json.dumps(report.to_dict()))["fusibility"]["undone"] == ["halve-first"]


@pytest.mark.parametrize("more", [{"guard": False}, {"check": False}, {"target": "onnx"}])
def test_nobody_looks_where_nobody_asks(gelu, plugins, more):
    report = optimize(gelu, plugins, **more)
    assert (None, []) == (report.fusibility, report.skipped)
    assert report.nodes_after > report.nodes_before


def test_a_rule_that_saves_work_is_kept(gelu, plugins, monkeypatch):
    monkeypatch.setattr(fusibility, "_saved", lambda without, with_rule: 0.2)
    report = optimize(gelu, plugins)
    assert ((), ("halve-first",)) == (report.fusibility.undone, report.fusibility.kept)
    assert report.nodes_after > report.nodes_before
    assert any("which saves 20% of the work" in note for note in report.notes)


def test_exact_pipelines_are_not_looked_at(gelu):
    assert graphopt.optimize(gelu, level="O1").report.fusibility is None


def test_levels_lose_no_kernels(gelu):
    for level in ("O2", "O3"):
        report = graphopt.optimize(gelu, level=level).report
        assert report.fusibility is None or not report.fusibility.lost()


def test_a_model_that_does_not_load_is_the_checks_to_judge(plugins):
    proto = model(GELU, "float[2,4] x", opset=14, initializers=NUMBERS)
    proto.graph.node[-1].domain = "org.nobody"
    proto.opset_import.add(domain="org.nobody", version=1)
    with pytest.raises(graphopt.GraphoptError):
        optimize(proto, plugins)


def test_kernels_are_counted_in_subgraphs_and_by_activation(tmp_path):
    body = "c = ReduceMax<keepdims = 0>(x) b = Cast<to = 9>(c) a = Conv(x, w) y = Relu(a)"
    proto = model(body, "float[1,8,4,4] x", opset=17, initializers={"w": np.ones((8, 8, 1, 1), np.float32)})
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    counts = kernel_counts(str(path))
    assert 1 == sum(count for op, count in counts.items() if op.endswith("+activation"))
