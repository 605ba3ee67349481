"""Whether `graphopt bisect` names the pass and the rewrite of twenty planted bugs, in how many runs and how long.

Each bug notes where it first did something wrong, which is compared with what is named. With models of one's own (a folder of `.onnx`
files), each bug is looked for in each of them, too, as far as it shows there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import save_record
from benchmarks.planted import Planted, planted
from graphopt.compiler import bisect, lift
from graphopt.compiler.bisection import Bisection
from graphopt.data import digits_model
from graphopt.errors import GraphoptError
from graphopt.ir import Model

__all__ = ["Measured", "main", "measure"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One bug in one model.

    Attributes:
        bug: its name.
        story: what its author did.
        model: the model.
        nodes: of the model.
        status: `right` or `wrong` answer, `hidden` when the bug does not show in the model, or `error`.
        pass_right: whether the pass was named right.
        rewrite_right: whether rule and site were, or that the pass as a whole is at fault.
        named: what was named.
        expected: the rule and the site where the bug first did something wrong.
        kind: how the result failed.
        applications: rewrites of the whole pipeline.
        runs: of the pipeline, in part or in whole.
        seconds: all in all.
        reason: of an error.
    """

    bug: str
    story: str
    model: str
    nodes: int
    status: str
    pass_right: bool = False
    rewrite_right: bool = False
    named: str = ""
    expected: str = ""
    kind: str = ""
    applications: int = 0
    runs: int = 0
    seconds: float = 0.0
    reason: str = ""


def measure(bug: Planted, name: str, make: Callable[[], Model]) -> Measured:
    """Return what a bisection of one bug in one model finds."""
    model = make()
    nodes = sum(1 for owner in model.owners() for _ in owner.graph.walk())
    bug.notes.clear()
    started = time.perf_counter()
    try:
        found = bisect(model, pipeline=bug.pipeline, plugins=bug.plugins())
    except GraphoptError as err:
        return Measured(bug.name, bug.story, name, nodes, "error", reason=str(err)[:300])
    spent = time.perf_counter() - started
    if found.blamed is None:
        hidden = "hidden" if found.ok else "wrong"
        return Measured(bug.name, bug.story, name, nodes, hidden, runs=found.runs, seconds=spent)
    return _judged(bug, name, nodes, found, spent)


def _judged(bug: Planted, name: str, nodes: int, found: Bisection, spent: float) -> Measured:
    blamed = found.blamed
    assert blamed is not None, "something was named"
    expected = (bug.rule, bug.notes[0] if bug.numbered and bug.notes else "")
    pass_right = blamed.pass_name == bug.name
    rewrite_right = (
        pass_right and (blamed.rule, blamed.site) == expected and (blamed.granularity == "rewrite") is bug.numbered
    )
    return Measured(
        bug.name,
        bug.story,
        name,
        nodes,
        "right" if rewrite_right and blamed.kind == bug.kind else "wrong",
        pass_right,
        rewrite_right,
        str(blamed),
        " at ".join(filter(None, expected)),
        blamed.kind,
        found.applications,
        found.runs,
        spent,
    )


def _models(folder: Path | None) -> dict[str, Callable[[], Model]]:
    found: dict[str, Callable[[], Model]] = {"digits": lambda: lift(digits_model())}
    for path in sorted(folder.glob("**/*.onnx")) if folder is not None else ():
        found[path.stem] = lambda path=path: lift(path)  # type: ignore[misc]  # bound now, not when it is called
    return found


def _table(rows: Sequence[Measured]) -> Table:
    table = Table("bug", "model", "nodes", "pass", "rewrite", "kind", "rewrites", "runs", "seconds", "wrong answer")
    for row in rows:
        marks = ("right" if row.pass_right else "WRONG", "right" if row.rewrite_right else "WRONG")
        numbers = (f"{row.applications:,}", str(row.runs), f"{row.seconds:.1f}")
        if row.status in ("hidden", "error"):
            marks, numbers = (row.status, ""), ("", str(row.runs or ""), f"{row.seconds:.1f}")
        table.add_row(
            row.bug,
            row.model,
            f"{row.nodes:,}",
            *marks,
            row.kind,
            *numbers,
            "" if row.status == "right" else row.named or row.reason,
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all bugs, print the table, and store the record; exit code 1 when an answer is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bisect", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="models in which the bugs are looked for, too")
    parser.add_argument("--only", nargs="+", help="names of bugs")
    parser.add_argument("--json", type=Path, help="where to store the record")
    arguments = parser.parse_args(argv)
    bugs = [bug for bug in planted() if not arguments.only or bug.name in arguments.only]
    others = _models(arguments.folder)
    rows: list[Measured] = []
    for bug in track(bugs, "planted bugs", transient=True):
        rows.append(measure(bug, "made for it", bug.model))
        rows += [measure(bug, name, make) for name, make in others.items()]
    made = [row for row in rows if row.model == "made for it"]
    right = sum(row.status == "right" for row in made)
    seen = [row for row in rows if row.status in ("right", "wrong")]
    console = Console()
    console.print(_table([row for row in rows if row.status != "hidden"]))
    console.print(
        f"named right: {right} of {len(made)} bugs, {sum(row.status == 'right' for row in seen)} of {len(seen)} cases that show"
    )
    settings = {"bugs": len(bugs), "folder": "" if arguments.folder is None else arguments.folder.name}
    console.print(save_record("bisect", [asdict(row) for row in rows], settings=settings, path=arguments.json))
    return 0 if all(row.status == "right" for row in seen) and right == len(made) else 1


if __name__ == "__main__":
    raise SystemExit(main())
