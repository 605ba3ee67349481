"""The record of rules that the reference shows is of the rules that there are, and its pictures say what is in it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from benchmarks.rules import builtin_rules, picture_of
from scripts.reference_pages import RULES_RECORD, rules_page
from scripts.rule_pictures import picture

GRAPH = {
    "inputs": {"x": "float[2]"},
    "outputs": ["y"],
    "nodes": [
        {"op": "Mul", "inputs": ["x", "=2.0"], "outputs": ["a"], "attributes": {}},
        {"op": "Clip", "inputs": ["a", "x"], "outputs": ["y"], "attributes": {"min": "<1"}},
    ],
}


def test_recorded_rules_exist():
    """After a rule was renamed or removed: `python -m benchmarks.rules FOLDER --json benchmarks/results/rules.json`."""
    record = json.loads(RULES_RECORD.read_text(encoding="utf-8"))["results"]
    recorded = {*record["pictures"], *(name for found in record["fires"].values() for name in found)}
    assert set() == recorded - set(builtin_rules())


def test_most_rules_have_a_picture():
    record = json.loads(RULES_RECORD.read_text(encoding="utf-8"))["results"]
    assert len(record["pictures"]) >= 0.8 * len(builtin_rules())


def test_picture_has_a_box_for_each_input_node_and_output():
    drawn = ET.fromstring(picture(GRAPH, {"inputs": {"x": ""}, "outputs": ["x"], "nodes": []}))
    texts = [element.text for element in drawn.iter() if element.tag.endswith("text")]
    assert ["x", "float[2]", "Mul", "2.0", "Clip", "min=<1", "y", "x", "x"] == texts
    assert 6 == sum(element.tag.endswith("rect") for element in drawn.iter())


def test_page_shows_pictures_and_models():
    page = rules_page()
    assert page.count("<svg") >= 0.8 * len(builtin_rules())
    assert "* Fires on: " in page


def test_picture_of_a_rule_is_a_graph_that_changes():
    drawn = picture_of(builtin_rules()["eliminate-identity"])
    assert drawn is not None
    assert drawn["before"] != drawn["after"]
