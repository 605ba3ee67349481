"""What counts as a guard in the source of a function, and what is left when one is dropped."""

from __future__ import annotations

import ast
import textwrap

import pytest

from benchmarks.guards.bodies import conditions_in
from benchmarks.guards.conditions import parts_of
from benchmarks.guards.functions import Function, called_functions, function_of
from benchmarks.guards.kinds import kind_of
from benchmarks.guards.polarity import wanted_answers
from graphopt.ir import Graph
from graphopt.transforms.canonicalize.neutral import DropNeutralOperand, DropZeroTerm
from graphopt.transforms.canonicalize.slices import eliminate_slice, merge_slices


def function(source: str, name: str = "f") -> Function:
    (node,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(node, ast.FunctionDef)
    return Function("sample", name, node)


def found_in(source: str, **how: bool) -> list[tuple[str, str]]:
    return [(found.part.what, found.part.without) for found in conditions_in(function(source), **how)]


@pytest.mark.parametrize(
    ("text", "accepts", "expected"),
    [
        ("a", False, [("a", "False")]),
        ("a", True, [("not a", "True")]),
        ("a or b or not c", False, [("a", "False"), ("b", "False"), ("not c", "True")]),
        ("a and b", False, [("a and b", "False")]),
        ("a and b", True, [("not a", "True"), ("not b", "True")]),
        ("a or (b and c)", True, [("not (a or (b and c))", "True"), ("not b", "True"), ("not c", "True")]),
        ("a and (b or c)", False, [("a and (b or c)", "False"), ("b", "False"), ("c", "False")]),
        ("not (a and b == c)", False, [("not a", "True"), ("b != c", "True")]),
        ("low <= x < high", True, [("not low <= x", "(x < high)"), ("not x < high", "(low <= x)")]),
        ("any(p(i) or q(i) for i in many)", False, [("p(i)", "False"), ("q(i)", "False")]),
        ("all(p(i) and q(i) for i in many)", True, [("not p(i)", "True"), ("not q(i)", "True")]),
        ("any(p(i) for i in many)", True, [("not any((p(i) for i in many))", "True")]),
        ("(y := g()) is None", False, [("(y := g()) is None", "(((y := g()) is None) and False)")]),
        ("True", True, []),
    ],
)
def test_parts_of_a_condition(text, accepts, expected):
    parts = list(parts_of(ast.parse(text, mode="eval").body, accepts=accepts))
    assert expected == [(part.what, part.without) for part in parts]


def test_conditions_before_a_reason_are_guards():
    source = """
    def f(m, rw) -> Replacement:
        found = read(m)
        if isinstance(found, NoMatch):
            return found
        if a or b:
            return NoMatch("no")
        for item in many:
            if skip(item):
                continue
            if item.fits:
                use(item)
        return x if c and d else NoMatch("no")
    """
    expected = ["a", "b", "skip(item)", "not item.fits", "not c", "not d"]
    assert expected == [what for what, _ in found_in(source)]


def test_conditions_under_which_a_rule_goes_ahead_are_guards():
    source = """
    def f(m, rw) -> Value | NoMatch:
        if a == b:
            return x
        if nested:
            if c:
                return x
            return NoMatch("no")
        return NoMatch("no")
    """
    assert [("a != b", "True"), ("not c", "True")] == found_in(source)


def test_no_reason_is_consent_where_reasons_are_answered():
    source = """
    def f(node) -> NoMatch | None:
        if a:
            return None
        return None if b else NoMatch("no")
    """
    assert ["not a", "not b"] == [what for what, _ in found_in(source)]


def test_nothing_is_refusal_where_something_is_answered():
    source = """
    def f(value) -> Node | None:
        if a:
            return None
        return inner if b else None
    """
    assert ["a", "not b"] == [what for what, _ in found_in(source)]


def test_the_wanted_answer_says_what_rejects():
    source = """
    def f(x) -> bool:
        if a:
            return False
        if b:
            return True
        return c and d
    """
    assert [("a", "False"), ("not b", "True"), ("not c", "True"), ("not d", "True")] == found_in(source)
    assert [("not a", "True"), ("b", "False"), ("c and d", "False")] == found_in(source, wanted=False)


def test_deeds_are_looked_at_on_demand():
    source = """
    def f(graph) -> None:
        if a:
            return
        if b:
            graph.erase(node)
    """
    assert [] == found_in(source)
    assert [("a", "False"), ("not b", "True")] == found_in(source, deeds=True)


def test_a_break_rejects_what_stands_in_the_else_of_the_loop():
    source = """
    def f(graph) -> None:
        for value in node.outputs:
            if a:
                break
        else:
            graph.erase(node)
        for value in node.outputs:
            if b:
                break
    """
    assert [("a", "False")] == found_in(source, deeds=True)


def test_a_pass_that_says_that_nothing_changed_gives_up():
    source = """
    def f(graph, ctx) -> PassResult:
        if not model.functions:
            return PassResult(changed=False)
        return PassResult(changed=True)
    """
    assert [("not model.functions", "True")] == found_in(source, deeds=True)


def test_answers_of_other_functions_are_no_guards():
    assert [] == found_in("def f(node) -> int:\n    if a:\n        return 1\n    return 2\n")


def test_functions_are_followed_into_what_they_call():
    names = [item.name for item in called_functions([merge_slices.body])]
    assert ["merge_slices", "_by_axis", "read_ranges", "_one_after_the_other"] == names[:4]
    assert {"normalize_axes", "ints_operand", "constant_ints"} == set(names[4:])


def test_methods_are_those_of_the_class_of_the_rule():
    for kind in (DropNeutralOperand, DropZeroTerm):
        names = [item.name for item in called_functions([kind.match_and_rewrite], kind)]
        assert f"{kind.__name__}._keeps_bits" in names


def test_functions_outside_the_transforms_have_no_guards_here():
    assert function_of(Graph.walk) is None
    assert function_of(len) is None
    assert function_of(eliminate_slice.body) is not None


def test_the_wanted_answer_is_that_of_the_caller():
    caller = function('def f(m, rw) -> Replacement:\n    if is_bad(m) or not fits(m):\n        return NoMatch("no")\n')
    called = [function(f"def {name}(m) -> bool:\n    return a\n", name) for name in ("is_bad", "fits")]
    assert {"is_bad": False, "fits": True} == wanted_answers([caller, *called])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x is None", "type narrowing"),
        ("isinstance(x, tuple)", "type narrowing"),
        ("(node.opset or 0) < 7", "opset"),
        ("value.has_single_use", "use"),
        ("inner.graph is node.graph", "scope"),
        ("operand.is_constant", "constant"),
        ("node.attr('axis') == 1", "attribute"),
        ("dtype in FLOATS", "element type"),
        ("len(shape) == 2", "shape"),
        ("inner.op == 'Relu'", "operator"),
        ("low <= high", "numbers"),
    ],
)
def test_kinds(text, kind):
    (part,) = parts_of(ast.parse(text, mode="eval").body, accepts=True)
    assert kind == kind_of(part)
