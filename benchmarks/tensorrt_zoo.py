"""Real models as TensorRT networks: whole or in part, engines for compute capabilities, numbers of outputs and of tensors inside.

Each model is legalized and lowered; what TensorRT has no layers for is left to ONNX Runtime, and the share of the operations that is not
is told. The networks are evaluated on the CPU, regions one after the other, and compared with the original in ONNX Runtime with its
optimizer off: all outputs, and some tensors inside, by the largest difference over the largest magnitude. Models run in processes of their
own. Inputs are NAME.npz beside the model or in a folder; else they are drawn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.measure import ROOT, save_record
from benchmarks.numbers import draw_inputs
from benchmarks.tensorrt_networks import lowered, refusal

__all__ = ["Row", "main", "measure_model"]

#: Relative to the largest magnitude; a model of halves rounds each layer.
TOLERANCE: Final = 1e-4
OF_HALVES: Final = 2e-2
INNER: Final = 12
LIMIT_S: Final = 900


@dataclass
class Row:
    """One model.

    Attributes:
        model: its name.
        status: ``whole``, ``in parts``, ``refused`` or ``failed``.
        share: of the operations that TensorRT does, 0 to 1.
        regions: how many parts.
        layers: of all networks.
        refused: operators that TensorRT does not take, and why.
        engines: by compute capability, why none is built, ``""`` when one is.
        outputs: largest difference by output.
        inner: the same by tensor inside.
        halves: whether the model computes in float16.
        reason: why it failed.
    """

    model: str
    status: str = "failed"
    share: float = 0.0
    regions: int = 0
    layers: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    engines: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, float] = field(default_factory=dict)
    inner: dict[str, float] = field(default_factory=dict)
    halves: bool = False
    seconds: float = 0.0
    reason: str = ""

    def is_right(self) -> bool:
        """Whether all engines are built and all numbers are right."""
        bound = OF_HALVES if self.halves else TOLERANCE
        numbers = [*self.outputs.values(), *self.inner.values()]
        return not any(self.engines.values()) and bool(numbers) and max(numbers) <= bound


def measure_model(path: Path, inputs: Path | None, capabilities: Sequence[str]) -> Row:
    """Lower, build, evaluate and compare one model."""
    from graphopt.compiler.cutting import cut

    row, began = Row(path.stem), time.perf_counter()
    feeds = _feeds(path, inputs)
    found = cut(str(path), level="O0")
    row.share, row.regions = found.partition.share, len(found.partition.regions)
    row.refused = {node.op: reason for node, reason in found.partition.reasons.items()}
    row.status = "whole" if all(region.taken for region in found.partition.regions) else "in parts"
    if not any(region.taken for region in found.partition.regions):
        row.status = "refused"
    known: dict[str, Any] = dict(feeds)
    built: dict[str, list[str]] = {item: [] for item in capabilities}
    for region, part in zip(found.partition.regions, found.parts(), strict=True):
        if region.taken:
            row.layers += _evaluate(part, known, built, capabilities)
        else:
            _run(part, known)
    row.engines = {item: "; ".join(reason for reason in reasons if reason) for item, reasons in built.items()}
    _compare(path, feeds, known, row)
    row.seconds = time.perf_counter() - began
    return row


def _feeds(path: Path, inputs: Path | None) -> dict[str, Any]:
    for folder in (path.parent, inputs):
        file = None if folder is None else folder / f"{path.stem}.npz"
        if file is not None and file.is_file():
            with np.load(file) as arrays:
                return {name: arrays[name] for name in arrays.files}
    return dict(draw_inputs(path))


def _evaluate(part: Any, known: dict[str, Any], built: Mapping[str, list[str]], capabilities: Sequence[str]) -> int:  # noqa: ANN401  IR
    """Compute a region of TensorRT's; its tensors are known afterwards."""
    from graphopt.backends.tensorrt.api import load
    from graphopt.testing.tensorrt import evaluate

    made = lowered(part)
    for item in capabilities:
        built[item].append(refusal(made, known, (item,)))
    values = evaluate(load(), made.network, known, stored=made.stored, inner=True)
    known |= {name: values[tensor] for name, tensor in made.names.items() if tensor in values and name not in known}
    for place in range(made.network.num_outputs):
        name = made.network.get_output(place).name
        known[name] = values[name]
    return int(made.network.num_layers)


def _run(part: Any, known: dict[str, Any]) -> None:  # noqa: ANN401  IR
    """Compute a region of ONNX Runtime's."""
    from benchmarks.numbers import session as loaded
    from graphopt.compiler.environment import Environment
    from graphopt.serde.emit import emit_model

    session = loaded(emit_model(Environment().legalized(part, "onnxruntime")).SerializeToString(), optimize=False)
    names = [item.name for item in session.get_outputs()]
    fed = {item.name: known[item.name] for item in session.get_inputs()}
    known |= dict(zip(names, session.run(names, fed), strict=True))


def _compare(path: Path, feeds: Mapping[str, Any], known: Mapping[str, Any], row: Row) -> None:
    """Differences of outputs and of tensors inside, evenly over the model."""
    from benchmarks.numbers import session

    model = onnx.load(path)
    row.halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in model.graph.initializer)
    results = [item.name for item in model.graph.output]
    inside = [
        name
        for node in model.graph.node
        for name in node.output
        if name in known
        and name not in results
        and getattr(known[name], "dtype", np.dtype(object)).kind == "f"
        and known[name].size
    ]
    picked = (
        [inside[place] for place in sorted({*np.linspace(0, len(inside) - 1, INNER).astype(int)})] if inside else []
    )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in picked)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        marked = Path(folder) / path.name
        onnx.save(model, marked, save_as_external_data=model.ByteSize() > 2**30)
        wanted = dict(
            zip([*results, *picked], session(marked, optimize=False).run([*results, *picked], dict(feeds)), strict=True)
        )
    row.outputs = {name: _difference(known[name], wanted[name]) for name in results}
    row.inner = {name: _difference(known[name], wanted[name]) for name in picked}


def _numbers(item: Any) -> Any:  # noqa: ANN401  arrays
    """Numbers of a tensor, or of what classifiers give: a map of scores for each example."""
    if isinstance(item, list) and item and isinstance(item[0], dict):
        item = [list(scores.values()) for scores in item]
    return np.asarray(item, np.float64)


def _difference(actual: Any, wanted: Any) -> float:  # noqa: ANN401  arrays
    actual, wanted = _numbers(actual), _numbers(wanted)
    if actual.shape != wanted.shape or not np.array_equal(np.isfinite(actual), np.isfinite(wanted)):
        return float("inf")
    finite = np.isfinite(wanted)
    largest = np.abs(wanted[finite]).max(initial=0)
    return float(np.abs(actual[finite] - wanted[finite]).max(initial=0) / (largest or 1))


def _models(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.rglob("*.onnx")) if path.is_dir() else (path,)


def _in_a_process(path: Path, inputs: Path | None, capabilities: Sequence[str]) -> Row:
    command = [sys.executable, "-m", "benchmarks.tensorrt_zoo", str(path), "--one", "--sm", *capabilities]
    command += [] if inputs is None else ["--inputs", str(inputs)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return Row(path.stem, reason=f"not finished in {LIMIT_S} s")
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"model"'):
            return Row(**json.loads(line))
    return Row(path.stem, reason=" ".join(done.stderr.split())[-300:] or f"ended with {done.returncode}")


def _table(rows: Sequence[Row]) -> Table:
    table = Table(
        "model", "status", "share", "regions", "layers", "engines", "outputs", "inside", "", title="real models"
    )
    for row in rows:
        wrong = [item for item, reason in row.engines.items() if reason]
        engines = f"not {', '.join(wrong)}" if wrong else ", ".join(row.engines)
        outputs, inner = (f"{max(found.values()):.1e}" if found else "" for found in (row.outputs, row.inner))
        verdict = "right" if row.is_right() else row.reason[-60:] or "off"
        table.add_row(
            row.model,
            row.status,
            f"{row.share:.1%}",
            str(row.regions),
            str(row.layers),
            engines,
            outputs,
            f"{inner} of {len(row.inner)}",
            verdict,
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, store the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorrt_zoo", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, help="model files, or folders of them")
    parser.add_argument("--inputs", type=Path, help="folder of NAME.npz")
    parser.add_argument("--sm", nargs="*", default=["86", "89"], help="compute capabilities")
    parser.add_argument("--json", type=Path, help="where the record goes (default: benchmarks/out/tensorrt_zoo.json)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one:
        print("\n" + json.dumps(asdict(measure_model(options.models[0], options.inputs, options.sm))), flush=True)
        return 0
    rows = [
        _in_a_process(path, options.inputs, options.sm) for path in track(list(_models(options.models)), transient=True)
    ]
    console = Console()
    console.print(_table(rows))
    settings = {"capabilities": options.sm, "tolerance": TOLERANCE, "tolerance_of_halves": OF_HALVES}
    results = {row.model: asdict(row) | {"right": row.is_right()} for row in rows}
    console.print(f"record: {save_record('tensorrt_zoo', results, settings=settings, path=options.json)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
