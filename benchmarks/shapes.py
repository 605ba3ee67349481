"""Shape inference beside onnx's (with data propagation) and ONNX Runtime's symbolic one: how much is known, is it right, how long.

For each model: the share of values of the main graph whose sizes are all numbers or expressions over the names of the inputs' dynamic
sizes; claims that a run contradicts, each value being compared in ONNX Runtime without optimization on the given inputs
(`NAME.npz`, `NAME.alt.npz`); seconds. Dynamic sizes without a name get one before, and what a file states of inner values and of the
sizes of outputs is removed, so that no tool can repeat it. Each tool runs in a child process of its own; turns are interleaved.
"""

from __future__ import annotations

import argparse
import json
import keyword
import math
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import Spread, run_process, save_record, spread
from benchmarks.shape_claims import all_values
from benchmarks.shape_tools import TOOLS, Claims

__all__ = ["Finding", "judge", "main", "named", "sizes_of"]

Arrays = Mapping[str, npt.NDArray[Any]]
#: What the names of sizes mean in a run, and what each value was.
Run = tuple[dict[str, int], Arrays]
#: What exporters write for a size without a name.
_NO_NAMES = frozenset({"", "?", "-1", "None", "none", "unk", "unknown"})
_FUNCTIONS = {"floor": math.floor, "ceiling": math.ceil, "Max": max, "Min": min, "max": max, "min": min}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one tool makes of one model; `reason` says why it has no numbers."""

    model: str
    tool: str
    values: int = 0
    full: int = 0
    wrong: int = 0
    runs: int = 0
    seconds: Spread | None = None
    reason: str = ""
    examples: list[str] = field(default_factory=list)


def named(source: Path) -> onnx.ModelProto:
    """The model with a name for each dynamic size of its inputs, and without statements about what it computes."""
    model = onnx.load(source)
    del model.graph.value_info[:]
    names: dict[str, str] = {}
    constants = {item.name for item in model.graph.initializer}
    for index, info in enumerate(model.graph.input):
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            if info.name in constants or (dim.HasField("dim_value") and dim.dim_value >= 0):
                continue
            name = dim.dim_param if dim.dim_param not in _NO_NAMES else f"input{index}_{axis}"
            plain = re.sub(r"\W", "_", name)
            names.setdefault(
                name, plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"size{len(names)}"
            )
            dim.dim_param = names[name]
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return model


def sizes_of(model: onnx.ModelProto, feeds: Arrays) -> dict[str, int]:
    """What the names of dynamic sizes mean in a run."""
    sizes: dict[str, int] = {}
    for info in model.graph.input:
        if info.name in feeds:
            for dim, size in zip(info.type.tensor_type.shape.dim, feeds[info.name].shape, strict=False):
                if dim.dim_param:
                    sizes[dim.dim_param] = size
    return sizes


def judge(claims: Claims, names: frozenset[str], values: Sequence[str], runs: Sequence[Run]) -> tuple[int, list[str]]:
    """How many values are fully known, and each claim that a run contradicts.

    Args:
        claims: what a tool says.
        names: of the dynamic sizes of inputs.
        values: of the main graph.
        runs: what the names mean, and what each value was.
    """
    full = sum(_is_full(claims.get(name), names) for name in values)
    wrong: list[str] = []
    for sizes, found in runs:
        meant = dict(sizes)
        for name in values:
            claim, array = claims.get(name), found.get(name)
            if claim is None or not isinstance(array, np.ndarray):
                continue
            dtype, dims = claim
            kind = None if dtype in (0, onnx.TensorProto.STRING) else np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
            right = (kind is None or kind == array.dtype) and (
                dims is None
                or (
                    len(dims) == array.ndim
                    and all(_holds(dim, size, meant) for dim, size in zip(dims, array.shape, strict=True))
                )
            )
            if not right:
                wrong.append(f"{name}: {dtype} {dims}, found {array.dtype} {array.shape} with {sizes}")
    return full, wrong


def _is_full(claim: tuple[int, list[int | str | None] | None] | None, names: frozenset[str]) -> bool:
    if claim is None or claim[1] is None:
        return False
    return all(
        isinstance(dim, int)
        or (isinstance(dim, str) and set(re.findall(r"[A-Za-z_]\w*", dim)) - _FUNCTIONS.keys() <= names)
        for dim in claim[1]
    )


def _holds(dim: int | str | None, size: int, meant: dict[str, int]) -> bool:
    if not isinstance(dim, str):
        return dim is None or dim == size
    if dim.isidentifier():
        return meant.setdefault(dim, size) == size
    try:
        return bool(eval(dim, {"__builtins__": {}}, {**_FUNCTIONS, **meant}) == size)
    except (NameError, SyntaxError):
        return True


def _inputs(folder: Path, name: str) -> list[dict[str, npt.NDArray[Any]]]:
    files = [folder / f"{name}.npz", folder / f"{name}.alt.npz"]
    return [dict(np.load(file, allow_pickle=True)) for file in files if file.is_file()]


def measure(source: Path, inputs: Path, tools: Sequence[str], *, repeats: int, limit_s: float) -> list[Finding]:
    """Return what each tool makes of one model."""
    model = named(source)
    values = [name for node in model.graph.node for name in node.output if name]
    names = frozenset(dim.dim_param for info in model.graph.input for dim in info.type.tensor_type.shape.dim) - {""}
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        onnx.save(model, path)
        runs = [(sizes_of(model, feeds), all_values(path, feeds)) for feeds in _inputs(inputs, source.stem)]
        taken: dict[str, list[float]] = {tool: [] for tool in tools}
        records: dict[str, dict[str, Any]] = {}
        for _ in range(repeats):
            for tool in tools:
                target = Path(scratch) / f"{tool}.json"
                target.unlink(missing_ok=True)
                code, text = run_process(
                    [sys.executable, "-m", "benchmarks.shape_tools", tool, str(path), str(target)], limit_s
                )
                if not target.is_file():
                    ended = "time limit" if code is None else f"exit code {code}: {text.strip()[-200:]}"
                    records[tool] = {"status": "crash", "reason": ended}
                    continue
                records[tool] = json.loads(target.read_text(encoding="utf-8"))
                taken[tool] += records[tool].get("seconds", [])
        for tool in tools:
            record = records[tool]
            if record["status"] != "ok":
                found.append(Finding(source.stem, tool, values=len(values), reason=record["reason"]))
                continue
            full, wrong = judge(record["claims"], names, values, runs)
            found.append(
                Finding(source.stem, tool, len(values), full, len(wrong), len(runs), spread(taken[tool]), "", wrong[:5])
            )
    return found


def _row(findings: Sequence[Finding], tool: str) -> list[str]:
    finding = next(item for item in findings if item.tool == tool)
    if finding.seconds is None:
        return ["failed", "", ""]
    share = finding.full / max(finding.values, 1)
    return [f"{share:.1%}", str(finding.wrong), f"{1e3 * finding.seconds.median:.1f}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and store the record; return 1 when a claim of graphopt is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of ONNX files")
    parser.add_argument("--inputs", type=Path, required=True, help="folder of NAME.npz and NAME.alt.npz")
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument(
        "--repeats", type=int, default=2, help="child processes for each tool; two timed inferences in each"
    )
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which a tool is stopped")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/shapes.json)")
    options = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table("model", "values", *(f"{tool} {what}" for tool in options.tools for what in ("full", "wrong", "ms")))
    found: list[Finding] = []
    for source in track(sorted(options.models.glob("*.onnx")), "models", transient=True):
        findings = measure(source, options.inputs, options.tools, repeats=options.repeats, limit_s=options.limit)
        found += findings
        table.add_row(
            source.stem, str(findings[0].values), *(cell for tool in options.tools for cell in _row(findings, tool))
        )
    console.print(table)
    totals: dict[str, dict[str, float]] = {}
    for tool in options.tools:
        mine = [item for item in found if item.tool == tool]
        totals[tool] = {
            "share_full": sum(item.full for item in mine) / max(sum(item.values for item in mine), 1),
            "wrong": sum(item.wrong for item in mine),
            "failed": sum(item.seconds is None for item in mine),
            "seconds": sum(item.seconds.median for item in mine if item.seconds is not None),
        }
        console.print(tool, totals[tool])
    settings = {"repeats": options.repeats, "models": len({item.model for item in found}), "tools": options.tools}
    record = {"models": [asdict(item) for item in found], "totals": totals}
    console.print(f"record: {save_record('shapes', record, settings=settings, path=options.json)}")
    return int(any(item.wrong for item in found if item.tool == "graphopt"))


if __name__ == "__main__":
    raise SystemExit(main())
