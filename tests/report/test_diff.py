"""Differences of models as text and JSON."""

from __future__ import annotations

from rich.console import Console

import graphopt
from graphopt.analysis.model_diff import ModelDiff, NodeChange, NodeGroup, NodeRef
from graphopt.data import digits_model
from graphopt.report.diff_view import diff_document, diff_view
from graphopt.report.machine import builtin_of


def text_of(found: ModelDiff, *, everything: bool = False) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(diff_view(found, everything=everything))
    return captured.get()


def test_no_difference_is_one_line() -> None:
    """With the number of nodes that were compared."""
    found = graphopt.diff(digits_model(), digits_model())
    assert "no differences in 26 nodes\n" == text_of(found)
    assert False is diff_document(found)["different"]


def test_operators_are_counted_and_nodes_are_grouped() -> None:
    """Only operators to which something happened."""
    found = graphopt.diff(digits_model(), graphopt.optimize(digits_model(), check=False))
    text = text_of(found)
    assert "BatchNormalization       3               3" in text
    assert "MaxPool  " not in text
    assert "/fc/MatMul (MatMul) + /fc/Add (Add) -> /fc/MatMul (Gemm)" in text
    assert "  /dropout/Dropout (Dropout)\n" in text


def test_long_lists_are_cut_unless_all_is_wanted() -> None:
    """The rest is counted."""
    nodes = tuple(NodeRef(f"n{place}", "Relu") for place in range(25))
    found = ModelDiff(0, removed=nodes)
    assert "  n19 (Relu)\n  and 5 more; --all shows them\n" in text_of(found)
    assert "  n24 (Relu)\n" in text_of(found, everything=True)
    assert "--all" not in text_of(found, everything=True)


def test_one_group_is_no_groups() -> None:
    """Nor are two one group."""
    group = NodeGroup("fused", (NodeRef("a", "Abs"), NodeRef("b", "Neg")), (NodeRef("c", "Abs"),))
    assert "nodes: 1 group fused, split or rewritten;" in text_of(ModelDiff(0, groups=(group,)))
    assert "nodes: 2 groups fused, split or rewritten;" in text_of(ModelDiff(0, groups=(group, group)))


def test_names_that_steer_a_terminal_are_escaped() -> None:
    """They are anybody's."""
    hostile = NodeRef("a\x1b[31m", "Relu", "sub\x07")
    found = ModelDiff(0, renamed=(NodeChange(hostile, NodeRef("b", "Relu")),), removed=(hostile,))
    assert "\x1b" not in text_of(found)
    assert "sub\\x07: a\\x1b[31m (Relu)" in text_of(found)


def test_document_is_plain() -> None:
    """Everything that was found, as JSON takes it."""
    found = builtin_of(diff_document(graphopt.diff(digits_model(), graphopt.optimize(digits_model(), check=False))))
    assert isinstance(found, dict)
    assert (True, 11) == (found["different"], len(found["removed"]))
    assert {"kind": "fused"}.items() <= found["groups"][0].items()
