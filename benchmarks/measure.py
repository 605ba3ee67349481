"""From a tool and a model to what the tool took, measured in a child process of its own.

Holds what every benchmark shares: the child process with its time limit, the spread of repeats, and the JSON record
with the machine and the versions of all tools beside the numbers. Imports neither onnx nor a measured tool.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

__all__ = ["RESULTS", "Outcome", "Spread", "machine", "run_process", "run_tool", "save_record", "spread", "versions"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "out"
PACKAGES = (
    "graphopt",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnx-ir",
    "onnxslim",
    "onnxsim",
    "onnxoptimizer",
    "onnx-graphsurgeon",
    "sympy",
    "numpy",
    "protobuf",
)
Status = Literal["ok", "exception", "crash", "timeout", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of one tool came to: seconds from load to save, seconds of its imports, peak memory in bytes."""

    tool: str
    status: Status
    seconds: float = 0.0
    import_seconds: float = 0.0
    peak_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some repeats."""

    min: float
    median: float
    max: float
    repeats: int

    def __str__(self) -> str:
        """Return the median with the range behind it."""
        if self.repeats == 1:
            return _figure(self.median)
        return f"{_figure(self.median)} ({_figure(self.min)}-{_figure(self.max)})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(min(values), statistics.median(values), max(values), len(values))


def run_tool(tool: str, source: Path, target: Path | None = None, *, limit_s: float = 300.0) -> Outcome:
    """Return what `tool` of `benchmarks.tools` took from `source` to `target`, in a child process.

    Args:
        tool: a key of `benchmarks.tools.TOOLS`.
        source: the model to read.
        target: where the optimized model goes; None writes it to a scratch folder that is removed.
            A file that is there is replaced.
        limit_s: seconds after which the child is killed; its imports count.
    """
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        out = Path(scratch) / "optimized.onnx" if target is None else target
        out.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.tools", tool, str(source), str(out), str(result)]
        code, text = run_process(command, limit_s)
        if code is None:
            return Outcome(tool, "timeout", seconds=limit_s, reason=f"not finished in {limit_s:g} s")
        if not result.exists():
            return Outcome(tool, "crash", reason=_ended(code, text))
        record = json.loads(result.read_text(encoding="utf-8"))
        return Outcome(tool, **record)


def run_process(command: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Return exit code and standard error of a child process in its own group; the code is None if it was killed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, text = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, text


def _ended(code: int, text: str) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = text.strip().splitlines()
    return f"exit code {code}: {lines[-1] if lines else ''}"[:300]


def machine() -> dict[str, object]:
    """Return what the numbers depend on: processor, number of cores, memory in bytes, system and Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the version of every measured package that this interpreter has, by name."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def save_record(name: str, results: object, *, settings: Mapping[str, object], path: Path | None = None) -> Path:
    """Write results with date, machine, versions and settings as JSON, and return the file: `path` or out/NAME.json."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "versions": versions(),
        "settings": dict(settings),
        "results": results,
    }
    path.write_text(json.dumps(record, indent=1, default=_plain) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    """Return the commit of the working tree, "+" behind it when files differ from it; empty outside of git."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _plain(value: object) -> object:
    if isinstance(value, Outcome | Spread):
        return asdict(value)
    return str(value)
