"""Every model of some folders at one ratio: whether it runs and keeps its interface, what is saved, and why groups are frozen.

A model is brought to O1 first, as shapes that it computes freeze what they are computed from, and layers get vectors of their own.
Operations are counted before and after, and beside what was promised: the same sum with the sizes that the groups say are left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

import graphopt
from benchmarks.measure import save_record
from benchmarks.numbers import draw_inputs
from benchmarks.pruning_costs import flops_of_model
from benchmarks.quantizers import Array, read_arrays
from graphopt.analysis.dim_groups import DimGroups, find_dim_groups
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.errors import GraphoptError
from graphopt.ir import Model
from graphopt.passes import PassContext
from graphopt.serde import emit_model, lift_model
from graphopt.transforms.pruning import PruneChannels
from graphopt.transforms.pruning.budget import Costs
from graphopt.transforms.pruning.ranking import Limits, by_ratio

__all__ = ["ZooRow", "measure"]


@dataclass(slots=True)
class ZooRow:
    """What became of a model.

    Attributes:
        status: ``runs`` with the interface it had, ``nothing to prune``, ``not run`` where the original does not run on drawn inputs
            either, or what went wrong.
        flops: operations before, in millions.
        left: operations after, as a share.
        promised: the same, from the sizes that the groups say are left.
        groups: how many there are.
        open: how many of them can be pruned.
        frozen: how many groups each reason freezes, with the first place.
    """

    model: str
    status: str
    nodes: int = 0
    flops: float = 0.0
    left: float = 1.0
    promised: float = 1.0
    groups: int = 0
    open: int = 0
    seconds: float = 0.0
    frozen: dict[str, int] = field(default_factory=dict)


def measure(folders: Sequence[Path], inputs: Path | None, ratio: float, record: Path | None) -> int:
    """Prune each model, print the tables, store the record.

    Args:
        folders: of ``.onnx`` files.
        inputs: folder with ``NAME.npz``, the inputs of a model; those of other models are drawn.
        ratio: part of each group that goes.
        record: where it goes; ``None`` for benchmarks/out/pruning_zoo.json.
    """
    console, rows = Console(width=180), list[ZooRow]()
    for path in [path for folder in folders for path in sorted(folder.glob("*.onnx"))]:
        start = time.perf_counter()
        try:
            row = _measured(path, inputs, ratio)
        except GraphoptError as err:
            row = ZooRow(path.stem, f"refused: {' '.join(str(err).split())}"[:160])
        row.seconds = time.perf_counter() - start
        rows.append(row)
        console.print(
            f"{row.model}: {row.status}, {row.left:.1%} of the operations left, {row.open} of {row.groups} groups open"
        )
    console.print(_table(rows), _reasons(rows))
    path = save_record("pruning_zoo", {"rows": [asdict(row) for row in rows]}, settings={"ratio": ratio}, path=record)
    console.print(f"record: {path}")
    return 0


def _measured(path: Path, inputs: Path | None, ratio: float) -> ZooRow:
    before = graphopt.optimize(path, pipeline="O1,separate-constants", check=False).proto
    model = lift_model(before)
    OnnxTypes().infer_model(model)
    groups = find_dim_groups(model.graph)
    row = ZooRow(path.stem, "nothing to prune", len(list(model.graph.walk())), flops_of_model(model) / 1e6)
    row.groups, row.open = len(groups.groups), sum(not group.is_frozen for group in groups.groups)
    row.frozen = dict(Counter(f"{why} ({where})" for why, where in _frozen(groups)).most_common())
    row.promised = _promised(model, groups, ratio)
    if not PruneChannels(ratio=ratio).run(model.graph, PassContext()).changed:
        return row
    row.left = flops_of_model(model) / 1e6 / max(row.flops, 1e-9)
    row.status = _judged(before.SerializeToString(), emit_model(model).SerializeToString(), _inputs(path, inputs))
    return row


def _frozen(groups: DimGroups) -> list[tuple[str, str]]:
    """The reason of each frozen group, with the first place where any group met it."""
    places: dict[str, str] = {}
    found = []
    for group in groups.groups:
        if group.is_frozen:
            why, where = next(iter(group.reasons.items()))
            found.append((why, places.setdefault(why, where)))
    return found


def _promised(model: Model, groups: DimGroups, ratio: float) -> float:
    open_groups = {group: np.zeros(0) for group in groups.groups if not group.is_frozen}
    costs = Costs(model.graph, groups, {group.leaf for group in open_groups})
    whole = costs.total({})
    return costs.total(by_ratio(open_groups, lambda group: ratio, Limits(8, 1))) / whole if whole else 1.0


def _inputs(path: Path, inputs: Path | None) -> dict[str, Array] | None:
    for file in (path.with_suffix(".npz"), *(() if inputs is None else (inputs / f"{path.stem}.npz",))):
        if file.exists():
            return read_arrays(file)
    return None


def _judged(before: bytes, after: bytes, given: dict[str, Array] | None) -> str:
    """Run both on the inputs of a model, or on drawn ones."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    old = ort.InferenceSession(before, options, providers=["CPUExecutionProvider"])
    try:
        new = ort.InferenceSession(after, options, providers=["CPUExecutionProvider"])
    except Exception as err:  # noqa: BLE001  ONNX Runtime's exceptions share no base class
        return f"is not loaded: {' '.join(str(err).split())}"[:160]
    for kind in ("inputs", "outputs"):
        told = [
            [(value.name, value.type, value.shape) for value in getattr(run, f"get_{kind}")()] for run in (old, new)
        ]
        if [item[:2] for item in told[0]] != [item[:2] for item in told[1]]:
            return f"has other {kind}"
    names = {value.name for value in old.get_inputs()}
    feeds = draw_inputs(before) if given is None else {name: array for name, array in given.items() if name in names}
    try:
        expected = [np.shape(array) for array in old.run(None, feeds)]
    except Exception:  # noqa: BLE001
        return "not run"
    try:
        found = [np.shape(array) for array in new.run(None, feeds)]
    except Exception as err:  # noqa: BLE001
        return f"does not run: {' '.join(str(err).split())}"[:160]
    return "runs" if found == expected else f"gives {found}, expected {expected}"


def _table(rows: Sequence[ZooRow]) -> Table:
    table = Table("model", "status", "nodes", "MFLOPs", "left", "promised", "groups", "open", "seconds")
    for row in rows:
        table.add_row(
            row.model, row.status, str(row.nodes), f"{row.flops:,.1f}", f"{row.left:.1%}", f"{row.promised:.1%}",
            str(row.groups), str(row.open), f"{row.seconds:.1f}",
        )  # fmt: skip
    return table


def _reasons(rows: Sequence[ZooRow]) -> Table:
    table = Table("model", "frozen groups", "because (first at)")
    for row in rows:
        for number, (why, count) in enumerate(row.frozen.items()):
            table.add_row(row.model if number == 0 else "", str(count), why)
    return table
