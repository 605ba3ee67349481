"""What a run of a pipeline did and took, as a tree that people and machines read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from graphopt.ir import Model
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import Application

__all__ = ["PassRecord", "PipelineReport", "count_nodes", "pass_totals"]


@dataclass(slots=True)
class PassRecord:
    """One run of a pass, or of a repeated group.

    Attributes:
        name: name of the pass, ``"fixpoint"`` for a group.
        options: options that are not the default, as text.
        changed: whether it changed anything.
        stats: counts by name.
        ms: time it took, without watchers; of a group, in all.
        nodes_before: nodes in all graphs of the model.
        nodes_after: the same afterwards.
        numerics: what it declares to do to numbers.
        first_application: number of its first application; none were made when it is above the last.
        last_application: number of its last application.
        skipped: why it did not run, ``""`` when it did.
        bytes_before: bytes of all constants, ``None`` unless asked for (:class:`PassStatistics`).
        bytes_after: the same afterwards.
        peak_bytes: most memory taken on top of what was there before it, ``None`` unless asked for (:class:`PeakMemory`).
        rounds: of a group, how often it was repeated.
        converged: of a group, whether it ended because nothing changed any more.
        children: of a group, the runs of its members in order.
    """

    name: str
    options: str = ""
    changed: bool = False
    stats: dict[str, int] = field(default_factory=dict)
    ms: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
    numerics: Numerics = field(default_factory=Exact)
    first_application: int = 1
    last_application: int = 0
    skipped: str = ""
    bytes_before: int | None = None
    bytes_after: int | None = None
    peak_bytes: int | None = None
    rounds: int = 0
    converged: bool = True
    children: list[PassRecord] = field(default_factory=list)

    @property
    def is_group(self) -> bool:
        """Whether this is a group and not a pass."""
        return self.rounds > 0

    @property
    def text(self) -> str:
        """Name and options as in pipeline text."""
        return f"{self.name}{{{self.options}}}" if self.options else self.name

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        found: dict[str, object] = {
            "pass": self.name,
            "options": self.options,
            "changed": self.changed,
            "stats": dict(self.stats),
            "ms": round(self.ms, 3),
            "nodes": [self.nodes_before, self.nodes_after],
            "numerics": str(self.numerics),
            "applications": [self.first_application, self.last_application],
        }
        if self.skipped:
            found["skipped"] = self.skipped
        if self.bytes_before is not None and self.bytes_after is not None:
            found["constant_bytes"] = [self.bytes_before, self.bytes_after]
        if self.peak_bytes is not None:
            found["peak_bytes"] = self.peak_bytes
        if self.is_group:
            found["rounds"] = self.rounds
            found["converged"] = self.converged
            found["children"] = [child.to_dict() for child in self.children]
        return found


@dataclass(slots=True)
class PipelineReport:
    """What a run of a pipeline did.

    Attributes:
        records: passes and groups in order.
        ms: time it took in all.
        types_ms: time that type inference of the whole model took.
        nodes_before: nodes in all graphs of the model.
        nodes_after: the same afterwards.
        numerics: the weakest declaration of the passes that changed something.
        applications: what was applied, in order.
        failed: the record of the pass that failed, ``None`` when none did.
    """

    records: list[PassRecord] = field(default_factory=list)
    ms: float = 0.0
    types_ms: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
    numerics: Numerics = field(default_factory=Exact)
    applications: list[Application] = field(default_factory=list)
    failed: PassRecord | None = None

    def runs(self) -> Iterator[PassRecord]:
        """Records of passes without groups, in the order in which they ran."""
        todo = list(reversed(self.records))
        while todo:
            record = todo.pop()
            if record.is_group:
                todo.extend(reversed(record.children))
            else:
                yield record

    @property
    def changed(self) -> bool:
        """Whether any pass changed anything."""
        return any(record.changed for record in self.records)

    @property
    def stats(self) -> Counter[str]:
        """Counts of all passes together."""
        total: Counter[str] = Counter()
        for record in self.runs():
            total.update(record.stats)
        return total

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "passes": [record.to_dict() for record in self.records],
            "ms": round(self.ms, 3),
            "types_ms": round(self.types_ms, 3),
            "nodes": [self.nodes_before, self.nodes_after],
            "numerics": str(self.numerics),
            "applications": len(self.applications),
        }


def count_nodes(model: Model) -> int:
    """Nodes in all graphs of a model; one look at each node, no more."""
    total = 0
    todo = [owner.graph for owner in model.owners()]
    while todo:
        graph = todo.pop()
        total += len(graph.nodes)
        for node in graph.nodes:
            if node.subgraphs:
                todo.extend(node.subgraphs)
    return total


def pass_totals(records: Iterable[PassRecord]) -> list[PassRecord]:
    """One record for each pass, in order of its first run, with what all its runs did and took.

    ``nodes_after`` is the number of nodes that it added (removed, when negative), ``rounds`` how often it ran.
    """
    totals: dict[str, PassRecord] = {}
    todo = list(records)[::-1]
    while todo:
        record = todo.pop()
        if record.is_group:
            todo.extend(reversed(record.children))
            continue
        total = totals.get(record.text)
        if total is None:
            total = PassRecord(record.name, record.options, numerics=record.numerics, skipped=record.skipped)
            totals[record.text] = total
        total.changed = total.changed or record.changed
        total.ms += record.ms
        total.rounds += not record.skipped
        total.nodes_after += record.nodes_after - record.nodes_before
        for name, count in record.stats.items():
            total.stats[name] = total.stats.get(name, 0) + count
    return list(totals.values())
