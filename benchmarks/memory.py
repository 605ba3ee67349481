"""Peak resident memory of each tool from load to save, above that of a process that imports onnx and onnxruntime only.

On the models given and on a generated one with 200 MB of weights; graphopt alone, without the numeric check, also on one
with 3 GB of external data in a sparse file. Each run is a child process of its own; the peak is the process's VmHWM.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import models
from benchmarks.measure import Outcome, run_tool, save_record, spread
from benchmarks.tools import PEERS

__all__ = ["Peak", "main", "measure"]

TOOLS = ("graphopt O2", *PEERS)
EXTERNAL_TOOL = "graphopt O2"


@dataclass(frozen=True, slots=True)
class Peak:
    """What one tool held on one model, repeat by repeat, above the imports alone, beside the size of the files."""

    model: str
    file_bytes: int
    tool: str
    outcomes: list[Outcome]
    above_bytes: list[int]

    @property
    def times_file(self) -> float:
        """Median of the memory above the imports alone, over the size of the files."""
        return spread(self.above_bytes).median / self.file_bytes


def measure(source: Path, tools: Sequence[str], *, baseline: int, repeats: int, limit_s: float) -> list[Peak]:
    """Return the peak of each tool on one model; a failed run is not repeated.

    Args:
        source: the model; external data beside it counts as its size.
        tools: keys of `benchmarks.tools.TOOLS`.
        baseline: bytes of a process with the imports alone.
        repeats: runs of each tool.
        limit_s: seconds a run may take.
    """
    data = source.with_name(source.name + ".data")
    size = source.stat().st_size + (data.stat().st_size if data.exists() else 0)
    peaks = []
    for tool in track(tools, source.stem, transient=True):
        outcomes: list[Outcome] = []
        while len(outcomes) < repeats and all(outcome.status == "ok" for outcome in outcomes):
            outcomes.append(run_tool(tool, source, limit_s=limit_s))
        above = [outcome.peak_bytes - baseline for outcome in outcomes]
        peaks.append(Peak(source.stem, size, tool, outcomes, above))
    return peaks


def _table(peaks: Sequence[Peak], limit_bytes: float | None) -> Table:
    table = Table("tool", "MB above imports", "x file", "seconds", "")
    table.title = f"{peaks[0].model}: {peaks[0].file_bytes / 1e6:,.1f} MB"
    for peak in peaks:
        last = peak.outcomes[-1]
        if last.status != "ok":
            table.add_row(peak.tool, last.status, "", "", last.reason[:80])
            continue
        note = "" if limit_bytes is None else f"limit {limit_bytes / 1e6:,.0f} MB"
        megabytes = spread([above / 1e6 for above in peak.above_bytes])
        table.add_row(peak.tool, str(megabytes), f"{peak.times_file:.2f}", f"{last.seconds:.2f}", note)
    return table


def _sources(given: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in given:
        files += sorted(path.glob("*.onnx")) if path.is_dir() else [path]
    return files


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table per model, and store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="files, or folders of .onnx files")
    parser.add_argument("--tools", nargs="+", default=list(TOOLS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a run may take (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="weights of the generated model; 0 leaves it out")
    parser.add_argument("--gigabytes", type=float, default=3.0, help="external data; 0 leaves that model out")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/memory.json)")
    options = parser.parse_args(argv)
    console = Console()
    peaks: list[Peak] = []
    with tempfile.TemporaryDirectory() as scratch:
        sources = _sources(options.models)
        zeros = [run_tool("imports alone", Path("none")).peak_bytes for _ in range(3)]
        baseline = int(spread(zeros).median)
        console.print(f"imports alone: {baseline / 1e6:.1f} MB")
        if options.megabytes:
            sources.append(Path(scratch) / f"heavy_{options.megabytes}mb.onnx")
            onnx.save(models.heavy(options.megabytes), sources[-1])
        for source in sources:
            measured = measure(source, options.tools, baseline=baseline, repeats=options.repeats, limit_s=options.limit)
            console.print(_table(measured, None))
            peaks += measured
        if options.gigabytes:
            source = models.external_data(Path(scratch) / "external_data.onnx", gigabytes=options.gigabytes)
            measured = measure(source, [EXTERNAL_TOOL], baseline=baseline, repeats=1, limit_s=options.limit)
            console.print(_table(measured, 500e6))
            peaks += measured
    record = {"imports_alone_bytes": baseline, "runs": [asdict(peak) for peak in peaks]}
    settings = {"repeats": options.repeats, "limit_s": options.limit}
    console.print(f"record: {save_record('memory', record, settings=settings, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
