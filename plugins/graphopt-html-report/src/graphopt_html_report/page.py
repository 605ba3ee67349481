"""A report, as plain values, to one HTML page. Every text in it comes from a model or a plugin and is escaped."""

import os
import secrets
from contextlib import suppress
from html import escape
from importlib.resources import files
from pathlib import Path

from graphopt.errors import OutputError

__all__ = ["page_of", "write_page"]


def page_of(report, changes=()):
    """The page.

    Args:
        report: what ``graphopt optimize --json`` prints, as plain values.
        changes: for each run of a pass, in order, how many operators of which kind came or went; not shown when there are more or fewer
            of them than runs in the report.

    Returns:
        HTML, complete in itself.
    """
    runs = _runs(report["passes"])
    if len(changes) != len(runs):
        changes = [{}] * len(runs)
    parts = [
        _facts(report),
        _verdict(report["verdict"]),
        _notes([*report["notes"], *(f"left out: {item}" for item in report["skipped"])]),
        "<h2>Passes</h2>",
        _timeline(runs),
        _passes(runs, changes),
        "<h2>Operators</h2>",
        _operators(report["ops_before"], report["ops_after"]),
        f"<h2>Pipeline</h2><p class=pipeline>{escape(report['pipeline'])}</p>",
    ]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    title = escape(f"graphopt: {Path(report['source']).name}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{style}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n'


def _runs(records):
    """Runs of passes in order, groups resolved, those that were skipped left out."""
    found = []
    todo = list(reversed(records))
    while todo:
        record = todo.pop()
        if "children" in record:
            todo.extend(reversed(record["children"]))
        elif not record.get("skipped"):
            found.append(record)
    return found


def _table(heads, rows):
    """Cells are HTML already; heads that end in ``>`` are of numbers."""
    marks = ["<th class=number>" if head.endswith(">") else "<th>" for head in heads]
    head = "".join(f"{mark}{escape(head.removesuffix('>'))}" for mark, head in zip(marks, heads, strict=True))
    cells = [mark.replace("th", "td", 1) for mark in marks]
    body = "\n".join("<tr>" + "".join(f"{mark}{cell}" for mark, cell in zip(cells, row, strict=True)) for row in rows)
    return f"<table><thead><tr>{head}</thead>\n<tbody>\n{body}\n</tbody></table>"


def _facts(report):
    rows = {
        "model": report["source"],
        "target": report["target"],
        "level": report["level"] or "own pipeline",
        "numerics": report["numerics"],
        "nodes": f"{report['nodes_before']:,} → {report['nodes_after']:,}",
        "weights": f"{report['bytes_before']:,} → {report['bytes_after']:,} bytes",
        "time": ", ".join(f"{phase} {seconds * 1e3:,.1f} ms" for phase, seconds in report["seconds"].items()),
    }
    return "<dl>" + "".join(f"<dt>{name}<dd>{escape(text)}" for name, text in rows.items()) + "</dl>"


def _verdict(verdict):
    if verdict is None:
        return "<p class=verdict>not checked against the original</p>"
    kind = {"ok": "good", "failed": "bad"}.get(verdict["status"], "unsure")
    return f'<p class="verdict {kind}">{escape(verdict["summary"])}</p>'


def _notes(notes):
    return "<ul>" + "".join(f"<li>{escape(note)}" for note in notes) + "</ul>" if notes else ""


def _timeline(runs):
    """A strip with a piece for each run, as wide as it took long; under it, the number of nodes after each."""
    total = sum(run["ms"] for run in runs)
    if not total:
        return ""
    most = max(1, *(max(run["nodes"]) for run in runs))
    pieces, at = [], 0.0
    for run in runs:
        x, width = 1000 * at / total, 1000 * run["ms"] / total
        label = escape(f"{run['pass']}: {run['ms']:,.3f} ms, {run['nodes'][0]:,} → {run['nodes'][1]:,} nodes")
        kind = "changed" if run["changed"] else "idle"
        height = 80 * run["nodes"][1] / most
        pieces.append(
            f'<g><title>{label}</title><rect class={kind} x="{x:.2f}" y="0" width="{width:.2f}" height="24"/>'
            f'<rect class=nodes x="{x:.2f}" y="{110 - height:.2f}" width="{width:.2f}" height="{height:.2f}"/></g>'
        )
        at += run["ms"]
    about = escape(
        f"{total:,.1f} ms in {len(runs)} runs of passes; under them the nodes that each left, of {most:,} at most"
    )
    return (
        f'<figure><svg viewBox="0 0 1000 110" preserveAspectRatio="none" role="img" aria-label="{about}">'
        f"{''.join(pieces)}</svg><figcaption>{about}</figcaption></figure>"
    )


def _passes(runs, changes):
    rows = []
    for run, change in zip(runs, changes, strict=True):
        if not run["changed"]:
            continue
        name = f"{run['pass']}{{{run['options']}}}" if run["options"] else run["pass"]
        did = ", ".join(f"{rule} {count:,}" for rule, count in run["stats"].items() if count)
        ops = ", ".join(f"{op} {count:+,}" for op, count in change.items())
        numbers = [f"{run['nodes'][0]:,}", f"{run['nodes'][1]:,}", f"{run['ms']:,.3f}"]
        rows.append([escape(name), *numbers, *map(escape, (run["numerics"], did, ops))])
    if not rows:
        return "<p>No pass changed anything.</p>"
    heads = ["pass", "nodes before>", "after>", "ms>", "numerics", "what it did", "operators"]
    idle = len(runs) - len(rows)
    return _table(heads, rows) + (f"<p>{idle:,} runs found nothing to do.</p>" if idle else "")


def _operators(before, after):
    most = max(1, *before.values(), *after.values())
    names = sorted({*before, *after}, key=lambda op: (-before.get(op, 0), -after.get(op, 0), op))
    rows = []
    for op in names:
        counts = [table.get(op, 0) for table in (before, after)]
        bars = "".join(
            f'<div class="bar {kind}" style="width:{100 * count / most:.1f}%"></div>'
            for kind, count in zip(("before", "after"), counts, strict=True)
        )
        rows.append([escape(op), *(f"{count:,}" for count in counts), bars])
    return _table(["operator", "before>", "after>", ""], rows)


def write_page(path, page, *, replace):
    """Write the page, which appears whole or not at all.

    Raises:
        OutputError: if the file is there and may not be replaced, or can't be written.
    """
    place = Path(path)
    if place.exists() and not replace:
        raise OutputError(f"{str(path)!r} exists already; choose another path, or allow it to be replaced (--force)")
    draft = place.with_name(f".{place.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        draft.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(draft, place)
    except OSError as err:
        raise OutputError(f"{str(path)!r} cannot be written: {err.strerror or err}; choose another path") from err
    finally:
        with suppress(OSError):
            draft.unlink()
