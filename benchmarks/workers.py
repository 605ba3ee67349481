"""Runs named cases in a child process that is replaced when a case takes it down or never ends.

A worker is a module that is started with a file of case names and prints a line of JSON for each, ``{"name": ["kind", "reason"]}``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue

from rich.progress import Progress

from benchmarks.measure import ROOT

__all__ = ["CASE_SECONDS", "print_result", "run_in_workers"]

CASE_SECONDS = 60.0


def run_in_workers(
    title: str, module: str, arguments: Sequence[str], names: Sequence[str], *, limit_s: float = CASE_SECONDS
) -> dict[str, tuple[str, str]]:
    """Return kind and reason by case name.

    Args:
        title: shown beside the progress.
        module: started as `python -m module --worker FILE ARGUMENTS`; FILE holds names as JSON.
        arguments: further ones.
        names: of the cases, in order.
        limit_s: seconds that one case may take.
    """
    results: dict[str, tuple[str, str]] = {}
    left = list(names)
    with Progress(transient=True) as progress:
        task = progress.add_task(title, total=len(left))
        while left:
            ended = _run_worker(module, arguments, left, results, limit_s)
            left = [name for name in left if name not in results]
            if left and ended is not None:
                results[left[0]] = ended
                left = left[1:]
            progress.update(task, completed=len(results))
    return results


def print_result(name: str, kind: str, reason: str) -> None:
    """Say what came of a case; what a worker calls. A line of its own: tools print without ending theirs."""
    print("\n" + json.dumps({name: [kind, " ".join(reason.split())[:300]]}), flush=True)


def _run_worker(
    module: str, arguments: Sequence[str], names: Sequence[str], results: dict[str, tuple[str, str]], limit_s: float
) -> tuple[str, str] | None:
    """Fill `results` until the worker ends; return how the case it was at ended it, or None when all were done."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch) / "names.json"
        listed.write_text(json.dumps(list(names)), encoding="utf-8")
        command = [sys.executable, "-m", module, "--worker", str(listed), *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines: Queue[str | None] = Queue()
        threading.Thread(target=_read, args=(process, lines), daemon=True).start()
        try:
            while (line := lines.get(timeout=limit_s)) is not None:
                if line.startswith("{"):
                    results.update({key: (kind, reason) for key, (kind, reason) in json.loads(line).items()})
        except Empty:
            process.kill()
            process.wait()
            return "timeout", f"not finished in {limit_s:g} s"
        except BaseException:
            process.kill()
            raise
        code = process.wait()
        return None if code == 0 else ("crash", f"worker ended with {code}")


def _read(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)
