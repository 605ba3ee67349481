"""A graphopt plugin that writes what an optimization did as one HTML page, which needs no network and no scripts.

An entry point may name an object instead of a module; this one watches passes, and so has something to remember.
"""

import os
import weakref
from collections import Counter

from graphopt import hookimpl
from graphopt.plugin_manager import ReportSection

__all__ = ["HtmlReport", "plugin"]

#: The environment variable with the path of the page; without it nothing is watched and nothing is written.
VARIABLE = "GRAPHOPT_HTML_REPORT"


class HtmlReport:
    """Watches passes, adds a section to the report that writes the page, and a command that makes one from a report in JSON."""

    GRAPHOPT_API_VERSION = 1

    def __init__(self):
        self._model = lambda: None  # a weak reference: the model's memory is not ours to keep
        self._ops = Counter()
        self._changes = []

    @hookimpl
    def graphopt_before_pass(self, model):
        """Start over when another model is optimized, or the same one again with fewer rewrites."""
        if os.environ.get(VARIABLE) and model is not self._model():
            self._model, self._ops, self._changes = weakref.ref(model), _ops(model), []

    @hookimpl
    def graphopt_after_pass(self, model, record):
        """Note which operators a pass added and removed."""
        if model is not self._model():
            return
        before = self._ops
        if record.changed:
            self._ops = _ops(model)
        names = sorted({*before, *self._ops})
        self._changes.append({op: self._ops[op] - before[op] for op in names if self._ops[op] != before[op]})

    @hookimpl
    def graphopt_report_sections(self):
        """One section, which says where the page is."""
        return [ReportSection("HTML report", self._write)]

    def _write(self, report):
        path = os.environ.get(VARIABLE)
        changes, self._changes = self._changes, []
        if not path:
            return None
        from graphopt_html_report.page import page_of, write_page  # lazily: most runs write no page

        write_page(path, page_of(report, changes), replace=True)
        return f"written to {path}"

    @hookimpl
    def graphopt_cli(self, app):
        """The command ``graphopt html-report``."""
        from graphopt_html_report.command import html_report  # lazily: imports typer

        app.command("html-report")(html_report)


def _ops(model):
    """How often each operator is in a model, subgraphs and functions included."""
    return Counter(node.op for owner in model.owners() for node in owner.graph.walk())


plugin = HtmlReport()
