"""The parser: what it takes, and what it says about what it does not take."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.errors import ModelError
from graphopt.ir import AttributeKind, DType, TensorType, parse_model, print_model
from tests.ir.sample_models import rich_model

HEAD = 'graphopt-ir 1\nmodel [opset={"": 17}]\n'


def parse(body: str):
    return parse_model(HEAD + body)


def attribute(text: str):
    model = parse(f"graph() -> () {{\n () = d::Op() {{a={text}}}\n}}")
    return next(iter(model.graph.nodes)).attributes["a"]


def test_space_and_comments_do_not_matter():
    model = parse("# a comment\ngraph(%x:float[ 2 , n ])->(%y){# another\n%y=Relu(\n%x\n)@name\n}")
    assert model.graph.inputs[0].type is not None
    node = next(iter(model.graph.nodes))
    assert (node.op, node.name) == ("Relu", "name")
    assert model.ir_version == 10


def test_stated_and_inferred_types_are_told_apart():
    model = parse("graph(%x: float[*], %y: ~int4[?], %z) -> () {}")
    x, y, z = model.graph.inputs
    assert (x.declared, y.declared, z.declared) == (True, False, False)
    assert x.type == TensorType(DType.FLOAT)
    assert y.type == TensorType(DType.INT4, (None,))
    assert z.type is None


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", AttributeKind.INT, 1),
        ("-7", AttributeKind.INT, -7),
        ("1.0", AttributeKind.FLOAT, 1.0),
        ("1e3", AttributeKind.FLOAT, 1000.0),
        ("-inf", AttributeKind.FLOAT, float("-inf")),
        ("0.1d", AttributeKind.FLOAT, 0.1),
        ('"a"', AttributeKind.STRING, "a"),
        ('b"\\x00"', AttributeKind.STRING, b"\0"),
        ("[1, 2,]", AttributeKind.INTS, (1, 2)),
        ("ints[]", AttributeKind.INTS, ()),
        ("strings[]", AttributeKind.STRINGS, ()),
        ("graphs[]", AttributeKind.GRAPHS, ()),
        ("type(float[2])", AttributeKind.TYPE_PROTO, TensorType(DType.FLOAT, (2,))),
        ("none", AttributeKind.UNDEFINED, None),
    ],
)
def test_attribute_kinds_are_seen_from_the_text(text, kind, value):
    found = attribute(text)
    assert (found.kind, found.value) == (kind, value)


def test_names_mean_the_innermost_value():
    model = parse(
        "graph(%x, %c) -> (%y) {\n"
        "%y = If(%c) { then_branch=graph() -> (%z) { %z = A(%x) }, else_branch=graph(%x) -> (%z) { %z = B(%x) } }\n}"
    )
    one, two = next(iter(model.graph.nodes)).subgraphs
    assert next(iter(one.nodes)).inputs[0] is model.graph.inputs[0]
    assert next(iter(two.nodes)).inputs[0] is two.inputs[0]


@pytest.mark.parametrize(
    ("body", "line", "column", "problem"),
    [
        ("graph(%x) -> (%y) {\n  %y = Relu(%z)\n}", 4, 13, "the value %z is not defined before"),
        ("graph(%x) -> (%y) {\n}", 3, 15, "the value %y is not defined before"),
        ("graph(%x, %x) -> () {}", 3, 11, "the value %x is defined twice"),
        ("graph(%x) -> () {\n  %x = Relu(%x)\n}", 4, 3, "the value %x is defined twice"),
        ("graph(%x -> () {}", 3, 10, "expected ')', found '-> () {}'"),
        ("graph(%x) -> () {\n", 4, 1, "expected '%', found the end of the text"),
        ("graph(%x: flaot[1]) -> () {}", 3, 11, "unknown element type 'flaot'"),
        ("graph(%x: float[1+]) -> () {}", 3, 19, "expected a dimension"),
        ("graph(%x: float[n//0]) -> () {}", 3, 18, "division by zero"),
        ("graph(%x [dco=1]) -> () {}", 3, 11, "unknown key 'dco'; known are"),
        ('graph(%x [doc="a", doc="b"]) -> () {}', 3, 20, "doc is stated twice"),
        ("graph(%x [doc=1]) -> () {}", 3, 15, "expected a string, found '1]"),
        ('graph(%"a\\q") -> () {}', 3, 8, "bad escape"),
        ("graph() -> () {\n const %w = float[2]{1.0}\n}", 4, 13, "needs 2 elements, found 1"),
        ("graph() -> () {\n const %w = int8[1]{x}\n}", 4, 13, "an element is no int8"),
        ("graph() -> () {\n const %w = bool[1]{1}\n}", 4, 13, "an element is no bool"),
        ("graph() -> () {\n const %w = float[n]{1.0}\n}", 4, 13, "a constant needs a shape of numbers"),
        ("graph() -> () {\n const %w = float[1] sha256:12\n}", 4, 29, "expected a digest"),
        (f"graph() -> () {{\n const %w = float[1] sha256:{'0' * 32} base64:AAAA\n}}", 4, 13, "needs 4 bytes, found 3"),
        (f"graph() -> () {{\n const %w = float[1] sha256:{'0' * 32} base64:AAAAA\n}}", 4, 13, "broken base64"),
        (f"graph() -> () {{\n const %w = float[1] sha256:{'0' * 32} base64:AAAAAA==\n}}", 4, 13, "not what its digest"),
        ("graph() -> () {\n () = A() {a=1, a=2}\n}", 4, 17, "the attribute a is stated twice"),
        ("graph() -> () {\n () = A() {a=[]}\n}", 4, 14, "an empty list is written like ints[]"),
        ('graph() -> () {\n () = A() {a=[1, "b"]}\n}', 4, 14, "all of one kind"),
        ("graph() -> () {\n () = A() {a=ref(b, FLAOT)}\n}", 4, 21, "unknown kind of attribute 'FLAOT'"),
        ("graph() -> () {} graph", 3, 18, "expected the end of the text, found 'graph'"),
        ("", 3, 1, "expected 'graph', found the end of the text"),
    ],
)
def test_errors_give_line_and_column(body, line, column, problem):
    with pytest.raises(ModelError, match=re.escape(problem)) as caught:
        parse(body)
    assert str(caught.value).startswith(f"model text, line {line}, column {column}: ")


def test_other_text_is_refused():
    with pytest.raises(ModelError, match="my file, line 1, column 1: expected 'graphopt-ir 1'"):
        parse_model("ir_version: 7", source="my file")


TEXT = print_model(rich_model(), weights="inline")


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 20), st.text(max_size=3))
def test_damaged_text_raises_model_errors_only(at, length, inserted):
    problem = "model text, line 0, column 0: "
    try:
        parse_model(TEXT[:at] + inserted + TEXT[at + length :])
    except ModelError as err:
        problem = str(err)
    assert re.match(r"model text, line \d+, column \d+: ", problem)
