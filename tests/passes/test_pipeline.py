"""Pipeline text to passes and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import PipelineError
from graphopt.passes import Exact, Fixpoint, Pass, Pipeline, Reassociates, parse_overrides, parse_pipeline
from tests.passes.sample_passes import DropOne, EliminateDoubleNeg, Keep, Mode, SimplifyAbs, Tune, registry

REGISTRY = registry()
NEG = EliminateDoubleNeg()


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        ("  # nothing", ()),
        ("tune", (Tune(),)),
        ("tune{}", (Tune(),)),
        ("tune{ratio=0.25, count=-1, deep=true}", (Tune(ratio=0.25, count=-1, deep=True),)),
        ("tune{ratio=0}", (Tune(ratio=0.0),)),
        ('tune{label="two words", only=5, either=5}', (Tune(label="two words", only="5", either=5),)),
        ('tune{either="5"}', (Tune(either="5"),)),
        ("tune{axes=[0,-1,], words=[a,1,true]}", (Tune(axes=(0, -1), words=("a", "1", "true")),)),
        ("tune{kind=fancy,mode=small,only=null}", (Tune(kind="fancy", mode=Mode.SMALL),)),
        ('tune{table={a=1,"b c"=.5}}', (Tune(table={"a": 1.0, "b c": 0.5}),)),
        ("keep{nodes=2},\n tune # why\n", (Keep(nodes=2), Tune())),
        ("fixpoint(drop-one,simplify-abs)", (Fixpoint((DropOne(), SimplifyAbs())),)),
        ("fixpoint{max_rounds=3}(fixpoint(tune))", (Fixpoint((Fixpoint((Tune(),)),), 3),)),
        ("O2,tune", (NEG, Fixpoint((DropOne(), NEG)), Tune())),
        ("empty,fixpoint(empty),O1", (NEG,)),
    ],
)
def test_text_is_read(text, items):
    assert items == parse_pipeline(text, REGISTRY).items


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eliminate-dubble-neg", "column 1: unknown pass 'eliminate-dubble-neg'; did you mean 'eliminate-double-neg'?"),
        ("tune,\n  zzz", "line 2, column 3: unknown pass 'zzz'; known passes: graphopt list passes"),
        (
            "tune{rato=1}",
            "has no option 'rato'; did you mean 'ratio'? it has: ratio: float >= 0, < 1 = 0.5, count: int",
        ),
        ("eliminate-double-neg{a=1}", "has no option 'a'; it has no options"),
        ("tune{ratio=1}", "option 'ratio' of pass 'tune' is 1, expected float >= 0, < 1"),
        ("tune{ratio=-0.1}", "option 'ratio' of pass 'tune' is -0.1"),
        ("tune{count=1.5}", "option 'count' of pass 'tune' is 1.5, expected int"),
        ("tune{deep=maybe}", "option 'deep' of pass 'tune' is maybe, expected bool"),
        ("tune{kind=odd}", "option 'kind' of pass 'tune' is odd, expected 'plain' | 'fancy'"),
        ("tune{axes=[0,x]}", "option 'axes' of pass 'tune' is [0,x], expected tuple[int, ...]"),
        ("keep", "pass 'keep' needs nodes: int >= 1; write keep{option=value}"),
        ("keep{nodes=0}", "option 'nodes' of pass 'keep' is 0, expected int >= 1"),
        ("tune{count=1,count=2}", "column 14: key 'count' is there twice"),
        ("tune{count}", "column 11: expected '=' after key 'count', found '}'"),
        ("tune{count=1", "column 13: expected ',' or '}', found the end"),
        ('tune{label="x}', "column 12: quoted text has no end"),
        ('tune{label="\\x"}', "is not understood"),
        ("tune,", "column 6: expected a pass name, found the end"),
        (",tune", "column 1: expected a pass name, found ','"),
        ("tune tune", "column 6: expected ',' or the end, found 't'"),
        ("tune(drop-one)", "'tune' can't contain passes; only fixpoint(...) can"),
        ("fixpoint", "expected '(' after 'fixpoint', found the end"),
        ("fixpoint()", "expected a pass name, found ')'"),
        ("fixpoint(tune", "expected ')' after the last pass of the group, found the end"),
        ("fixpoint{rounds=1}(tune)", "fixpoint has no option 'rounds'; it has: max_rounds: int >= 1"),
        ("fixpoint{max_rounds=0}(tune)", "option 'max_rounds' of fixpoint is 0, expected int >= 1"),
        ("O1{a=1}", "pipeline 'O1' has no options of its own"),
        ("fixpoint(" * 40 + "tune" + ")" * 40, "more than 32 nested groups"),
    ],
)
def test_a_wrong_text_says_where_and_what(text, message):
    with pytest.raises(PipelineError, match=re.escape(message)) as caught:
        parse_pipeline(text, REGISTRY)
    assert "\n" not in str(caught.value)


def test_pipelines_that_name_each_other_are_refused():
    found = registry()
    found.pipelines.add("a", "tune,b", owner="p")
    found.pipelines.add("b", "fixpoint(a)", owner="p")
    with pytest.raises(
        PipelineError, match="pipeline 'b' of plugin 'p', column 10: pipelines go in a circle: a -> b -> a"
    ):
        parse_pipeline("a", found)


def test_an_error_inside_a_named_pipeline_names_it():
    found = registry()
    found.pipelines.add("vendor", "tune{ratio=2}", owner="chip")
    with pytest.raises(PipelineError, match="pipeline 'vendor' of plugin 'chip', column 1: option 'ratio'"):
        parse_pipeline("O1,vendor", found)


def test_text_has_only_options_that_differ_from_the_default():
    text = parse_pipeline(
        'tune{ratio=0.5,label="a b",mode=fast,words=[]},fixpoint{max_rounds=16}(O1)', REGISTRY
    ).to_text()
    assert 'tune{label="a b",words=[]},fixpoint(eliminate-double-neg)' == text


WORDS = st.text(max_size=8) | st.sampled_from(
    ["true", "null", "1", "-1.5", "inf", "nan", "1_0", "a b", 'q"', "\\", "é", "#", "{"]
)
TUNES = st.builds(
    Tune,
    ratio=st.floats(0, 1, exclude_max=True),
    count=st.integers(-(2**63), 2**63 - 1),
    deep=st.booleans(),
    label=WORDS,
    axes=st.lists(st.integers(-9, 9), max_size=3).map(tuple),
    words=st.lists(WORDS, max_size=3).map(tuple),
    only=st.none() | WORDS,
    kind=st.sampled_from(["plain", "fancy"]),
    mode=st.sampled_from(Mode),
    either=st.integers(-9, 9) | WORDS,
    table=st.dictionaries(WORDS, st.floats(allow_nan=False), max_size=3),
)
PASSES: st.SearchStrategy[Pass] = TUNES | st.builds(Keep, nodes=st.integers(1, 99)) | st.sampled_from([NEG, DropOne()])
ITEMS = st.recursive(
    PASSES,
    lambda inside: st.builds(Fixpoint, st.lists(inside, min_size=1, max_size=3).map(tuple), st.integers(1, 99)),
    max_leaves=6,
)


@given(st.lists(ITEMS, max_size=4).map(lambda items: Pipeline(tuple(items))))
def test_text_and_passes_round_trip(pipeline):
    """Text to passes to text is the identity on both sides."""
    text = pipeline.to_text()
    again = parse_pipeline(text, REGISTRY)
    assert pipeline == again
    assert text == again.to_text()


@given(st.text(alphabet='tunekp-{}()[]=,"\\#0.1 \nfixo', max_size=30))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        said = parse_pipeline(text, REGISTRY).to_text()
    except PipelineError as err:
        said = str(err)
    assert "\n" not in said


def test_without_leaves_out_passes_everywhere():
    pipeline = parse_pipeline("O2,fixpoint(drop-one)", REGISTRY)
    assert "eliminate-double-neg,fixpoint(eliminate-double-neg)" == pipeline.without("drop-one").to_text()
    assert "" == pipeline.without("drop-one", "eliminate-double-neg").to_text()


def test_options_are_changed_everywhere():
    pipeline = parse_pipeline("tune{count=1},fixpoint(tune)", REGISTRY)
    changed = pipeline.with_options({"tune": {"ratio": 0.25}})
    assert "tune{ratio=0.25,count=1},fixpoint(tune{ratio=0.25})" == changed.to_text()


def test_options_of_an_absent_pass_are_refused():
    with pytest.raises(PipelineError, match="for pass 'tun', which is not in the pipeline; did you mean 'tune'"):
        parse_pipeline("tune", REGISTRY).with_options({"tun": {"ratio": 0.25}})


def test_overrides_are_read_like_pipeline_text():
    found = parse_overrides(["tune.ratio=0.25", "tune.axes=[1,2]", "tune.label=a b", "keep.nodes= 4"])
    pipeline = parse_pipeline("tune,keep{nodes=1}", REGISTRY).with_options(found)
    assert (Tune(ratio=0.25, axes=(1, 2), label="a b"), Keep(nodes=4)) == pipeline.items


@pytest.mark.parametrize("text", ["tune", "tune=1", "tune.=1", ".ratio=1", "tune.ratio"])
def test_a_setting_that_is_none_is_refused(text):
    with pytest.raises(PipelineError, match=r"is not understood; expected pass\.option=value"):
        parse_overrides([text])


def test_numerics_of_a_pipeline_are_the_weakest():
    assert Exact() == parse_pipeline("O1", REGISTRY).declared_numerics
    assert Reassociates(1e-2) == parse_pipeline("simplify-abs,O2", REGISTRY).declared_numerics
