"""What a bisection or a replay found, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from graphopt.report.layout import facts, printable
from graphopt.report.units import counted

if TYPE_CHECKING:
    from graphopt.compiler.bisection import Bisection, Blamed
    from graphopt.compiler.replaying import Replayed

__all__ = ["bisection_view", "replay_view"]

_SHOWN = 8


def bisection_view(found: Bisection) -> RenderableType:
    """What is at fault, and what was seen before and after it."""
    parts: list[RenderableType] = [_headline(found)]
    if found.blamed is not None:
        parts += ["", facts(_blame(found.blamed))]
    rows = {
        "pipeline": found.pipeline or "(empty)",
        "target": found.target,
        "looked at": f"{counted(found.applications, 'rewrite')} in {counted(found.passes, 'run of a pass', 'runs of passes')}, "
        f"{counted(found.samples, 'set of inputs', 'sets of inputs')}",
        "took": f"{counted(found.runs, 'run')} of the pipeline, in part or in whole, {found.seconds:.1f} s",
    }
    if found.reproducer:
        rows["to see it again"] = f"graphopt replay {found.reproducer}"
    parts += ["", facts(rows)]
    for note in found.notes:
        parts += ["", Text(printable(note), style="yellow")]
    return Group(*parts)


def _headline(found: Bisection) -> Text:
    if found.status == "right" and found.whole.kind is not None:
        return Text(f"nothing of that kind; the result fails in another way: {found.whole.kind}", style="yellow")
    if found.status == "right":
        return Text("nothing is wrong: the result computes what the original computes", style="green")
    if found.blamed is not None:
        return Text(printable(f"{found.blamed.kind}: {found.blamed}"), style="red")
    reason = printable(found.whole.reason)
    return Text(
        f"wrong before the first pass: reading, legalizing or writing the model is at fault; {reason}", style="red"
    )


def _blame(blamed: Blamed) -> dict[str, str]:
    rows = {"pass": str(blamed.place)}
    if blamed.plugin:
        rows["plugin"] = blamed.plugin
    if blamed.granularity == "rewrite":
        rows["rewrite"] = f"{'' if blamed.number is None else f'#{blamed.number} '}{blamed.rule} at {blamed.site!r}"
    else:
        rows["rewrite"] = "the pass as a whole; it does not number its edits"
    for title, nodes in (("removed", blamed.removed), ("added", blamed.added), ("changed", blamed.changed)):
        if nodes:
            rows[title] = _listed([str(node) for node in nodes])
    if blamed.origins:
        rows["original nodes"] = _listed(list(blamed.origins))
    rows["before it"] = str(blamed.before)
    rows["with it"] = str(blamed.after)
    if blamed.alone:
        rows["without it"] = "the whole result is right"
    elif blamed.rule_alone:
        rows["without it"] = f"the result is still wrong; without {blamed.rule} at any place it is right"
    else:
        rows["without it"] = "the result is still wrong"
    return rows


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def replay_view(found: Replayed) -> RenderableType:
    """Whether a failure shows again, and what is not as it was."""
    if not found.again:
        head = Text(f"does not fail any more (it was: {found.recorded})", style="green")
    elif found.kind == found.recorded:
        head = Text(printable(f"fails again: {found.kind}: {found.reason}"), style="red")
    else:
        head = Text(
            printable(f"fails in another way: {found.kind}: {found.reason} (it was: {found.recorded})"), style="red"
        )
    return Group(head, *(Text(printable(f"warning: {text}"), style="yellow") for text in found.warnings))
