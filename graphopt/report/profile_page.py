"""A profile as one HTML page: shares as bars, a timeline of one run, and a table to sort. It loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphopt.report.html_page import escaped, html_page, sorted_table
from graphopt.report.profile_view import advice_text, profile_facts
from graphopt.report.units import seconds_text
from graphopt.runtime.profiling import Group, Kernel, Profile

__all__ = ["profile_page"]

_WIDTH, _LANE = 1080, 26
_HUES = ("#2a78c8", "#c8322a", "#2a9d5c", "#c88a2a", "#7d4fc8", "#2aa5b8", "#b8478d", "#6b7a2a", "#8a5a44", "#777777")
#: Kinds of work that only move data; the same colour everywhere.
_MOVING = {"layout change": _HUES[1], "convolution": _HUES[0], "matrix product": _HUES[2]}

_STYLE = """
svg { width: 100%; height: auto; }
rect:hover, rect:focus { stroke: currentColor; stroke-width: 1.5; }
td { vertical-align: top; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px; }
tr:target { outline: 2px solid var(--blue); }
"""


def profile_page(found: Profile) -> str:
    """The page as text.

    Args:
        found: the profile.
    """
    colours = _colours(found.by_pattern)
    told = [f"{name}: {text}" for name, text in profile_facts(found).items() if name != "model"]
    parts = [
        f"<ul>{''.join(f'<li>{escaped(line)}</li>' for line in (*told, *found.notes))}</ul>",
        "<h2>One run</h2>",
        _timeline(found, colours),
        "<h2>By kind of work</h2>",
        _groups("kind of work", found.by_pattern, colours),
        "<h2>By operator</h2>",
        _groups("operator", found.by_op, {}),
        "<h2>By kernel</h2>",
        _kernels(found.kernels, colours),
    ]
    return html_page(f"Where the time of {found.model} goes", parts, style=_STYLE)


def _colours(groups: Sequence[Group]) -> dict[str, str]:
    """A colour for each kind of work, for the longest ones first."""
    left = [hue for hue in _HUES if hue not in _MOVING.values()]
    found = {}
    for group in groups:
        found[group.name] = _MOVING.get(group.name) or (left.pop(0) if len(left) > 1 else left[0])
    return found


def _timeline(found: Profile, colours: dict[str, str]) -> str:
    """Kernels of one run from left to right, those inside others below them."""
    if not found.timeline:
        return ""
    end = max(span.start + span.seconds for span in found.timeline) or 1.0
    deepest = max(span.depth for span in found.timeline)
    height = (deepest + 1) * _LANE + 30
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="kernels of one run over time">']
    for span in found.timeline:
        kernel = found.kernels[span.kernel]
        x, width = span.start / end * _WIDTH, max(span.seconds / end * _WIDTH, 0.4)
        title = escaped(
            f"{kernel.op} {', '.join(kernel.nodes[:4]) or kernel.name}: {seconds_text(span.seconds)}, {kernel.pattern}"
        )
        parts.append(
            f'<a href="#k{span.kernel}"><rect x="{x:.2f}" y="{span.depth * _LANE}" width="{width:.2f}" height="{_LANE - 3}" '
            f'fill="{colours[kernel.pattern]}"><title>{title}</title></rect></a>'
        )
    for tick in range(5):
        anchor = "start" if tick == 0 else "end" if tick == 4 else "middle"
        text = seconds_text(end * tick / 4) if tick else "0"
        parts.append(f'<text x="{_WIDTH * tick / 4:.0f}" y="{height - 10}" text-anchor="{anchor}">{text}</text>')
    return "\n".join((*parts, "</svg>"))


def _groups(head: str, groups: Sequence[Group], colours: dict[str, str]) -> str:
    rows = []
    for group in groups:
        key = f'<span class="key" style="background:{colours[group.name]}"></span>' if group.name in colours else ""
        cells = [f"<td>{key}{escaped(group.name)}</td>", *_numbers(group.seconds, group.share)]
        cells.append(
            f'<td class="number">{group.kernels}</td><td>{escaped(advice_text(group.advice, group.remark))}</td>'
        )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return sorted_table((head, "time>", "share>", "kernels>", "what would change it (pass, level)"), rows)


def _kernels(kernels: Sequence[Kernel], colours: dict[str, str]) -> str:
    rows = []
    for place, kernel in enumerate(kernels):
        key = f'<span class="key" style="background:{colours[kernel.pattern]}"></span>'
        texts = (kernel.shape, ", ".join(kernel.nodes), ", ".join(kernel.origins), advice_text(kernel.advice))
        cells = [f"<td>{key}{escaped(kernel.op)}</td>", *_numbers(kernel.seconds, kernel.share)]
        cells.append(f'<td class="number">{kernel.calls:g}</td><td>{escaped(kernel.pattern)}</td>')
        cells += [f"<td>{escaped(text)}</td>" for text in texts]
        rows.append(f'<tr id="k{place}">{"".join(cells)}</tr>')
    heads = ("kernel", "time>", "share>", "calls>", "kind", "gives", "nodes", "original nodes", "what would change it")
    return sorted_table(heads, rows)


def _numbers(seconds: float, share: float) -> Iterator[str]:
    yield f'<td class="number" data-sort="{seconds!r}">{seconds_text(seconds)}</td>'
    yield f'<td class="number" data-sort="{share!r}">{share:.1%}</td>'
