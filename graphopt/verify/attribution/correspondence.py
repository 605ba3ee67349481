"""Which values of two models are to be the same: by name, or by what became of the node that gives them.

A value that a fused node gives keeps the name of the last value that was fused into it; what was inside has no counterpart any more and is
counted. So are values inside subgraphs and functions, which no runtime gives out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphopt.analysis.model_survey import label_of
from graphopt.analysis.node_matching import match_models
from graphopt.ir import Model, OptionalType, SequenceType, Value, collector_paused

__all__ = ["Correspondences", "Pair", "find_correspondences"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of the first model and its counterpart, by name.

    Attributes:
        name: the value.
        counterpart: of the other model.
        how: what says so.
        node: the node that gives the value.
        op: its operator.
        is_output: whether the first model gives it out.
    """

    name: str
    counterpart: str
    how: Literal["name", "lineage"]
    node: str
    op: str
    is_output: bool = False


@dataclass(slots=True)
class Correspondences:
    """What can be compared.

    Attributes:
        pairs: in the order of the first model.
        skipped: values without a pair, counted by reason.
    """

    pairs: Sequence[Pair]
    skipped: Counter[str] = field(default_factory=Counter)


def find_correspondences(before: Model, after: Model) -> Correspondences:
    """Values of two models that are to be the same.

    Args:
        before: the model whose values are wanted.
        after: the other one.
    """
    with collector_paused():
        return _find(before, after)


def _find(before: Model, after: Model) -> Correspondences:
    lineage = match_models(before, after).values
    given = {value.name: value for node in after.graph.nodes for value in node.outputs if value.name}
    known = given | {value.name: value for value in after.graph.initializers() if not value.is_input}
    skipped: Counter[str] = Counter()
    pairs = []
    for node in before.graph.nodes:
        if node.op == "Constant":
            continue
        for value in node.outputs:
            if not value.name:
                continue
            if isinstance(value.type, SequenceType | OptionalType):
                skipped["no tensor"] += 1
                continue
            counterpart = known.get(value.name)
            how: Literal["name", "lineage"] = "name"
            if counterpart is None:
                counterpart, how = _in_main_graph(lineage.get(value), known), "lineage"
            if counterpart is None:
                skipped["no counterpart: removed, or inside what was fused"] += 1
                continue
            pairs.append(Pair(value.name, counterpart.name, how, label_of(node), node.op, value.is_graph_output))
    skipped += _inside(before)
    return Correspondences(pairs, skipped)


def _in_main_graph(value: Value | None, known: dict[str, Value]) -> Value | None:
    return value if value is not None and known.get(value.name) is value else None


def _inside(model: Model) -> Counter[str]:
    """Values that a runtime does not give out."""
    found: Counter[str] = Counter()
    for owner in model.owners():
        for graph in owner.graph.walk_graphs():
            if graph is not model.graph:
                reason = "inside a subgraph" if owner is model else "inside a function"
                found[reason] += sum(len(node.outputs) for node in graph.nodes if node.op != "Constant")
    return +found
