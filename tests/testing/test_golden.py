"""Golden files and before/expected models."""

from __future__ import annotations

import pytest

from graphopt.errors import ModelError, PipelineError
from graphopt.testing import LawBroken, assert_becomes, assert_golden
from graphopt.testing.golden import GoldenFile
from tests.testing.oracles import broken_passes as planted
from tests.testing.oracles.broken_passes import DOUBLE_NEG, HEAD, SUM

FILE = f"""# Two negations are none.
# Exact.
== pipeline
canonicalize  # a comment
== before
{HEAD}
g (float[n] x) => (float[n] y)
<float[2, 10] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}>
{{
  a = Neg(x)  # inner
  b = Neg(a)
  y = Relu(b)
}}
"""
RESULT = """== rewrites
shorten-unary-chain: 1
== after
graphopt-ir 1
model [ir_version=8, opset={"": 17}]

graph g(%x: float[n]) -> (%y) {
"""


@pytest.fixture
def golden(tmp_path):
    path = tmp_path / "neg.golden"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_new_file_fails_and_says_how(golden):
    with pytest.raises(
        AssertionError, match="has no result yet; run pytest --update-golden, look at what it writes, and commit it"
    ):
        assert_golden(golden)
    assert FILE == golden.read_text(encoding="utf-8")


def test_update_writes_the_result_and_keeps_what_people_wrote(golden):
    found = assert_golden(golden, update=True)
    assert ("golden", {"shorten-unary-chain": 1}) == (found.law, found.rewrites)
    text = golden.read_text(encoding="utf-8")
    assert text.startswith(FILE + RESULT)
    assert "%y: float[n] = Relu(%x)" in text
    assert "sha256:" in text, "large weights are digests"
    assert assert_golden(golden).compared
    assert text == golden.read_text(encoding="utf-8")
    assert [golden] == list(golden.parent.iterdir()), "no draft is left"
    stamp = golden.stat().st_mtime_ns
    assert_golden(golden, update=True)
    assert stamp == golden.stat().st_mtime_ns, "what is right is not written again"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("= Relu(%x)", "= Abs(%x)", "-  %y: float[n] = Abs(%x)"),
        ("shorten-unary-chain: 1", "shorten-unary-chain: 2", "+shorten-unary-chain: 1"),
        ("y = Relu(b)", "y = Relu(a)", "+  %y: float[n] = Relu(%a)"),
    ],
)
def test_what_differs_is_shown_in_lines(golden, old, new, line):
    assert_golden(golden, update=True)
    golden.write_text(golden.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(AssertionError, match="says something else; look at the difference") as caught:
        assert_golden(golden)
    assert line in str(caught.value).splitlines()


def test_wrong_results_are_not_written_either(golden):
    golden.write_text(FILE.replace("canonicalize", "neg-to-abs"), encoding="utf-8")
    with pytest.raises(LawBroken, match="equivalent"):
        assert_golden(golden, planted.neg_to_abs, update=True)
    assert "== after" not in golden.read_text(encoding="utf-8")


def test_passes_that_nobody_registered_are_given_in_the_test(golden):
    golden.write_text(FILE.replace("canonicalize", "right"), encoding="utf-8")
    with pytest.raises(PipelineError, match="unknown"):
        assert_golden(golden)
    assert_golden(golden, planted.Right, update=True)
    assert {"drop-double-neg": 1} == assert_golden(golden, planted.Right).rewrites


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("== pipeline\ncanonicalize  # a comment\n", ""), "part '== pipeline' is missing"),
        (FILE.replace("== before", "== befor"), "unknown part 'befor', expected pipeline, before, rewrites, after"),
        (FILE + "== pipeline\ncse\n", "a part occurs twice"),
        ("canonicalize\n" + FILE, "expected a comment"),
        (FILE.replace("Relu(b)", "Relu(b"), "part 'before' is not ONNX text"),
    ],
)
def test_files_that_are_not_understood(golden, text, message):
    golden.write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        assert_golden(golden)


def test_text_and_file_agree(golden):
    assert FILE == GoldenFile.read(golden).text()
    assert_golden(golden, update=True)
    assert golden.read_text(encoding="utf-8") == GoldenFile.read(golden).text()


# -- before and expected ----------------------------------------------------------------------------------------------------


def test_names_of_inner_values_do_not_matter():
    expected = f"{HEAD} other (float[n, 3] x) => (float[n, 3] y) {{ y = Relu(x) }}"
    assert {"drop-double-neg": 1} == assert_becomes(planted.Right, DOUBLE_NEG, expected).rewrites
    assert not assert_becomes(
        planted.Right, SUM, SUM.replace("a = ", "inner = ").replace("(a, x)", "(inner, x)")
    ).changed


def test_another_model_is_shown_as_a_difference_with_numbers_for_names():
    expected = f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) {{ z = Abs(x) y = Relu(z) }}"
    with pytest.raises(
        AssertionError, match=r"pass 'right' makes another model of it, by rewrites \{'drop-double-neg': 1\}"
    ) as caught:
        assert_becomes(planted.Right, DOUBLE_NEG, expected)
    lines = str(caught.value).splitlines()
    assert ["-  %1 = Abs(%x)", "-  %y: float[n, 3] = Relu(%1)", "+  %y: float[n, 3] = Relu(%x)"] == [
        line for line in lines if line[:3] in ("-  ", "+  ")
    ]


def test_constants_and_outputs_are_part_of_the_structure():
    for expected in (SUM.replace("0.1", "0.2"), SUM.replace("=> (float[n, 3] y)", "=> (float[n, 3] b)")):
        with pytest.raises(AssertionError, match="makes another model"):
            assert_becomes(planted.Right, SUM, expected)
