"""How small `graphopt reduce` makes models of a thousand nodes with a bug planted into one place, in how many checks and seconds.

Checks run in a child process, as on the command line. The bugs are those of `benchmarks.reduce_bugs`; the digits model that ships
with graphopt is reduced by a command too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

import graphopt
from benchmarks.measure import save_record
from benchmarks.reduce_bugs import BUGS, ForgetRelu
from benchmarks.reduce_models import MODELS
from graphopt.data import digits_model
from graphopt.verify.reduction import Reduction

__all__ = ["Row", "main", "measure"]

GOAL = 10
TIMEOUT_S = 4.0
DIGITS_CHECK = (
    f'{sys.executable} -c "import onnx, sys; ops = [n.op_type for n in onnx.load(sys.argv[1]).graph.node]; '
    "sys.exit(0 if 'MaxPool' in ops and 'MatMul' in ops[ops.index('MaxPool'):] else 1)\""
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one bug came to."""

    bug: str
    model: str
    kind: str
    nodes_before: int
    nodes_after: int
    weight_bytes_after: int
    input_elements_after: int
    checks: int
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the goal was reached."""
        return self.nodes_after <= GOAL


def _row(bug: str, model: str, found: Reduction) -> Row:
    elements = sum(getattr(data, "size", 0) for feeds in found.samples for data in feeds.values())
    return Row(
        bug,
        model,
        found.kind,
        found.nodes_before,
        found.nodes_after,
        found.model.constant_bytes,
        elements,
        found.checks,
        found.seconds,
    )


def measure(names: Sequence[str], console: Console) -> list[Row]:
    """Reduce the model of each bug."""
    rows = []
    for name in names:
        model, pipeline, kind = BUGS[name]
        with console.status(name) as status:
            found = graphopt.reduce(
                MODELS[model](),
                pipeline=pipeline,
                timeout=TIMEOUT_S if kind == "timeout" else 60.0,
                progress=partial(_tell, status, name),
            )
        assert found.kind == kind, f"{name}: {found.kind}, expected {kind}"
        rows.append(_row(name, model, found))
    return rows


def _tell(status: Status, name: str, text: str) -> None:
    status.update(f"{name}: {text}")


def digits() -> list[Row]:
    """The digits model, by a pipeline and by a command."""
    return [
        _row("Relu forgotten", "digits", graphopt.reduce(digits_model(), pipeline=graphopt.Pipeline((ForgetRelu(),)))),
        _row("MaxPool before MatMul, by a command", "digits", graphopt.reduce(digits_model(), check=DIGITS_CHECK)),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Reduce all, print the table, and store the record; return 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reduce", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(BUGS), help="bugs (default: all)")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/reduce.json)")
    options = parser.parse_args(argv)
    console = Console()
    rows = measure(options.only or list(BUGS), console)
    if not options.only:
        rows += digits()
    table = Table("bug", "model", "failure", "nodes", "left", "checks", "seconds")
    for row in rows:
        numbers = (f"{row.nodes_before:,}", f"{row.nodes_after:,}", f"{row.checks:,}", f"{row.seconds:.1f}")
        table.add_row(row.bug, row.model, row.kind, *numbers)
    console.print(table)
    settings = {"goal": GOAL, "timeout_s": TIMEOUT_S}
    path = save_record("reduce", [asdict(row) for row in rows], settings=settings, path=options.json)
    console.print(f"record: {path}")
    return int(not all(row.good for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
