"""Which models can be raised to newer opsets, by graphopt's `raise-opset` and by `onnx.version_converter`, and with what numbers.

A folder of models and a folder of inputs (NAME.npz, and NAME.alt.npz with other dynamic sizes; without them inputs are drawn), and small
models of forms of operators that later opsets have otherwise (`benchmarks.opset_models`). Numbers are compared with the original's in
ONNX Runtime with its optimizer off. Converting happens in child processes with a time limit; the clock runs from load to save.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import run_process, save_record

__all__ = ["CONVERTERS", "Row", "main", "measure"]

Array = npt.NDArray[Any]
OPSETS: Final = (17, 20, 23, 26)
TOLERANCE: Final = 1e-4


@dataclass(slots=True)
class Row:
    """One tool, one model, one opset; `differences` are relative to the largest magnitude of each output, by input file."""

    model: str
    made: bool
    tool: str
    opset: int
    old: int
    status: str
    seconds: float = 0.0
    differences: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the model was made, runs, and gives the original's numbers."""
        return self.status == "ok" and all(value <= TOLERANCE for value in self.differences.values())


# -- in the child process -----------------------------------------------------------------------------------------------------------


def by_graphopt(source: str, target: str, opset: int) -> None:
    """Raise with graphopt, without its check: numbers are compared here."""
    import graphopt

    graphopt.optimize(source, pipeline="prepare", opset=opset, check=False).save(target, force=True)


def by_onnx(source: str, target: str, opset: int) -> None:
    """Convert with onnx.version_converter."""
    import onnx
    import onnx.version_converter

    onnx.save(onnx.version_converter.convert_version(onnx.load(source), opset), target)


CONVERTERS: Final[Mapping[str, Callable[[str, str, int], None]]] = {
    "graphopt": by_graphopt,
    "onnx.version_converter": by_onnx,
}


def _convert(tool: str, source: str, target: str, opset: int, result: str) -> None:
    """Run one conversion and write down what came of it."""
    import onnx.version_converter  # noqa: F401  imports are not counted

    import graphopt.compiler.optimizing  # noqa: F401  as above

    started = time.perf_counter()
    try:
        CONVERTERS[tool](source, target, opset)
        record: dict[str, object] = {"status": "ok"}
    except Exception as err:  # noqa: BLE001  a tool's failure is a result here
        record = {"status": "exception", "reason": f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]}
    record["seconds"] = time.perf_counter() - started
    Path(result).write_text(json.dumps(record), encoding="utf-8")


# -- in this process ------------------------------------------------------------------------------------------------------------------


def _run(tool: str, source: Path, target: Path, opset: int, limit_s: float) -> dict[str, Any]:
    result = target.with_suffix(".json")
    for path in (target, result):
        path.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "benchmarks.opset",
        "--convert",
        tool,
        str(source),
        str(target),
        str(opset),
        str(result),
    ]
    code, text = run_process(command, limit_s)
    if code is None:
        return {"status": "timeout"}
    if not result.exists():
        return {
            "status": "crash",
            "reason": text.strip().splitlines()[-1][:300] if text.strip() else f"exit code {code}",
        }
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def measure(
    source: Path,
    inputs: Mapping[str, Mapping[str, Array]],
    opsets: Sequence[int],
    folder: Path,
    limit_s: float,
    *,
    made: bool = False,
) -> list[Row]:
    """Return a row for each tool and each opset that is newer than the model's own.

    Args:
        source: the model.
        inputs: one set of inputs or more by name.
        opsets: to raise to.
        folder: where results may lie.
        limit_s: seconds that one conversion may take.
        made: whether it is a small model that was made up.
    """
    import onnx

    from benchmarks.numbers import difference, outputs

    imports = onnx.load(source, load_external_data=False).opset_import
    old = next((item.version for item in imports if item.domain in ("", "ai.onnx")), None)
    rows: list[Row] = []
    if old is None:
        return rows
    expected = {name: outputs(source, feeds) for name, feeds in inputs.items()}
    for opset in (item for item in opsets if item > old):
        for tool in CONVERTERS:
            target = folder / "raised.onnx"
            found = _run(tool, source, target, opset, limit_s)
            row = Row(
                source.stem,
                made,
                tool,
                opset,
                old,
                found["status"],
                found.get("seconds", 0.0),
                reason=found.get("reason", ""),
            )
            rows.append(row)
            if row.status == "ok":
                try:
                    row.differences = {
                        name: difference(outputs(target, feeds), expected[name]) for name, feeds in inputs.items()
                    }
                except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
                    row.status, row.reason = "invalid", " ".join(str(err).split())[:300]
    return rows


def _summary(rows: Sequence[Row]) -> Table:
    table = Table(
        "models",
        "tool",
        "opset",
        "models",
        "right",
        "same bits",
        "refused or failed",
        "does not run",
        "wrong",
        "seconds, median",
    )
    for made, tool, opset in product((False, True), CONVERTERS, sorted({row.opset for row in rows})):
        mine = [row for row in rows if (row.made, row.tool, row.opset) == (made, tool, opset)]
        ran = [row for row in mine if row.status == "ok"]
        invalid = sum(row.status == "invalid" for row in mine)
        counts = (
            len(mine),
            sum(row.is_right for row in mine),
            sum(row.is_right and not any(row.differences.values()) for row in mine),
            len(mine) - len(ran) - invalid,
            invalid,
            sum(not row.is_right for row in ran),
        )
        seconds = statistics.median(row.seconds for row in ran) if ran else 0.0
        table.add_row("made" if made else "real", tool, str(opset), *map(str, counts), f"{seconds:.3f}")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, store the record; return 1 when graphopt went wrong somewhere."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--convert"]:
        tool, source, target, opset, result = given[1:]
        _convert(tool, source, target, int(opset), result)
        return 0
    from benchmarks.opset_models import write_models
    from benchmarks.zoo import read_inputs

    parser = argparse.ArgumentParser(prog="python -m benchmarks.opset", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of .onnx files, or one file")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz and NAME.alt.npz")
    parser.add_argument("--opsets", type=int, nargs="*", default=list(OPSETS))
    parser.add_argument(
        "--limit", type=float, default=120.0, help="seconds that one conversion may take (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/opset.json)")
    options = parser.parse_args(given)
    console, rows = Console(), list[Row]()
    with tempfile.TemporaryDirectory() as scratch:
        real = sorted(options.models.glob("*.onnx")) if options.models.is_dir() else [options.models]
        for source in track([*real, *write_models(Path(scratch))], "models", transient=True):
            inputs = read_inputs(source, options.inputs)
            rows += measure(source, inputs, options.opsets, Path(scratch), options.limit, made=source not in real)
    console.print(_summary(rows))
    for row in rows:
        if not row.is_right:
            console.print(
                f"{row.model} {row.old} -> {row.opset} {row.tool}: {row.status} {row.reason or row.differences}",
                markup=False,
            )
    settings = {"opsets": options.opsets, "limit_s": options.limit, "tolerance": TOLERANCE}
    path = save_record("opset", [asdict(row) for row in rows], settings=settings, path=options.json)
    console.print(f"record: {path}")
    return int(any(row.tool == "graphopt" and not row.is_right and row.status != "exception" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
