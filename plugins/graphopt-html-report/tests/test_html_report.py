"""The page is complete, well-formed, needs nothing else, and shows every text as text."""

import json
import re
from html.parser import HTMLParser

import pytest
from graphopt_html_report import VARIABLE, HtmlReport
from graphopt_html_report.page import page_of
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import graphopt
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli import app
from graphopt.data import digits_model
from graphopt.ir import DType, GraphBuilder

MODEL = str(digits_model())
VOID = {"meta", "rect"}
OPEN_ENDED = {"li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "p"}


class Page(HTMLParser):
    """Tags that are open, and what a browser would load or run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.loads, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href", "srcset") or name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        while self.open[-1] != tag:
            assert self.open.pop() in OPEN_ENDED
        self.open.pop()

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def plugins():
    found = builtin_plugins(discover=False)
    found.register(HtmlReport(), name="html_report")
    return found


def report_of(model=MODEL, **options):
    return graphopt.optimize(model, check=False, **options).report.to_dict()


def test_the_page_shows_passes_operators_and_verdict():
    report = graphopt.optimize(MODEL).report.to_dict()
    page = Page(page_of(report))
    assert not page.open
    for text in ("fuse-conv-batch-norm", "fold-batch-norm 3", "BatchNormalization", report["verdict"]["summary"]):
        assert text in page.text
    assert f"{report['nodes_before']:,} → {report['nodes_after']:,}" in page.text
    runs = [record for record in walk(report["passes"]) if "children" not in record and not record.get("skipped")]
    assert 2 * len(runs) == page.tags.count("rect")


def walk(records):
    for record in records:
        yield record
        yield from walk(record.get("children", []))


def test_the_page_is_complete_in_itself():
    text = page_of(report_of())
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert [] == page.loads
    assert not re.search(r"url\(|@import|https?://", text)


HOSTILE = '</style><script>alert("1")</script><img src=x onerror=y> & \' "'


@given(st.text() | st.just(HOSTILE))
def test_every_text_is_shown_as_text(name):
    """Names come from models and may be anything."""
    report = report_of_once() | {
        "source": name, "target": name, "level": name, "pipeline": name, "notes": [name], "skipped": [name],
        "ops_before": {name: 3}, "seconds": {name: 1.0},
        "verdict": {"status": name, "summary": name},
        "passes": [
            {"pass": name, "options": name, "changed": True, "stats": {name: 1}, "ms": 1.0, "nodes": [2, 1], "numerics": name}
        ],
    }  # fmt: skip
    plain = page_of(report_of_once() | report | {"notes": ["x"], "skipped": ["x"]})
    page = Page(page_of(report, [{name: -1}]))
    assert not page.open
    assert not {"script", "img"} & set(page.tags)
    assert [] == page.loads
    assert page.tags == Page(plain).tags


_REPORTS = []


def report_of_once():
    if not _REPORTS:
        _REPORTS.append(report_of())
    return dict(_REPORTS[0])


def test_a_model_in_which_nothing_is_to_do():
    b = GraphBuilder(opset=17)
    b.output(b.Relu(b.input("x", DType.FLOAT, ["n"])), "y", DType.FLOAT)
    page = Page(page_of(report_of(b.build(), level="O0")))
    assert "No pass changed anything." in page.text
    assert not page.open


def test_operators_of_each_pass_are_watched(monkeypatch, tmp_path):
    """The observer and the section of one plugin work together."""
    place = tmp_path / "page.html"
    monkeypatch.setenv(VARIABLE, str(place))
    found = plugins()
    report = graphopt.optimize(MODEL, check=False, plugins=found).report.to_dict()
    ((owner, section),) = found.report_sections()
    assert ("html_report", "HTML report", f"written to {place}") == (owner, section.title, section.make(report))
    assert "BatchNormalization -3" in Page(place.read_text(encoding="utf-8")).text
    assert [place] == list(tmp_path.iterdir())


def test_a_second_model_starts_over(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "page.html"))
    found = plugins()
    graphopt.optimize(MODEL, check=False, plugins=found)
    b = GraphBuilder(opset=17)
    b.output(b.Identity(b.Identity(b.Relu(b.input("x", DType.FLOAT, ["n"])))), "y", DType.FLOAT)
    report = graphopt.optimize(b.build(), check=False, plugins=found).report.to_dict()
    found.report_sections()[0][1].make(report)
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "Identity -" in text
    assert "BatchNormalization" not in text


def test_nothing_is_written_unless_asked_for(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    found = plugins()
    report = graphopt.optimize(MODEL, check=False, plugins=found).report.to_dict()
    assert found.report_sections()[0][1].make(report) is None


RUN = CliRunner(env={"COLUMNS": "160"})


def test_optimize_says_where_the_page_is(monkeypatch, tmp_path):
    """Found by its entry point, so this needs the plugin to be installed."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "page.html"))
    shown = RUN.invoke(app, ["optimize", MODEL, "--no-check"])
    assert f"written to {tmp_path / 'page.html'}" in shown.output.replace("\n", "")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_page_is_made_of_a_report_in_json(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    written = RUN.invoke(app, ["optimize", MODEL, "--no-check", "--json"]).stdout
    (tmp_path / "report.json").write_text(written, encoding="utf-8")
    command = ["html-report", str(tmp_path / "report.json"), "-o", str(tmp_path / "page.html")]
    assert 0 == RUN.invoke(app, command).exit_code
    assert "fuse-conv-batch-norm" in (tmp_path / "page.html").read_text(encoding="utf-8")
    again = RUN.invoke(app, command)
    assert (2, "exists already" in again.stderr) == (again.exit_code, True)
    assert 0 == RUN.invoke(app, [*command, "--force"]).exit_code


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"passes": 3}), "null"])
def test_what_is_no_report_is_one_line(tmp_path, content):
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    shown = RUN.invoke(app, ["html-report", str(tmp_path / "report.json"), "-o", str(tmp_path / "page.html")])
    assert (2, 1) == (shown.exit_code, shown.stderr.count("\n"))
    assert "is no report of an optimization" in shown.stderr
    assert not (tmp_path / "page.html").exists()


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report_of()), encoding="utf-8")
    shown = RUN.invoke(app, ["html-report", str(tmp_path / "report.json"), "-o", str(tmp_path / "none" / "page.html")])
    assert 2 == shown.exit_code
    assert "cannot be written: No such file or directory; choose another path" in shown.stderr
