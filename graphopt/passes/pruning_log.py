"""What pruning passes took away from a model, noted while they run: it can be kept as a plan, and done again.

Weights are named as they are in the model before the first of these passes; indices are those that they had then.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from graphopt.errors import PipelineError
from graphopt.ir import Function, Graph, Model, Value, structural_hash

if TYPE_CHECKING:
    from graphopt.passes.base import Pass

__all__ = ["NotedAxis", "PruningLog", "structure_digest", "weight_names"]

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NotedAxis:
    """What is left of an axis of a weight.

    Attributes:
        weight: its name, as :func:`weight_names` has it.
        axis: on which axis.
        groups: names of the groups whose indices the axis has.
        kept: bool [size of the axis as it is], which indices stay; not all of them.
    """

    weight: str
    axis: int
    groups: tuple[str, ...]
    kept: _Mask


@dataclass(slots=True)
class PruningLog:
    """What was taken away so far.

    Attributes:
        model: digest of the structure of the model before anything was, ``""`` if nothing was.
        steps: texts of the passes, in order.
        kept: by weight and axis, bool [size of the axis before anything was taken away].
        groups: by weight and axis, the names of the groups whose indices it has.
        masks: by weight, bool [its shape as it is now]: false where it was made zero.
        broken: why this can't be told as one plan: the model was rewritten between two of the passes; ``""`` if it can.
    """

    model: str = ""
    steps: list[str] = field(default_factory=list)
    kept: dict[tuple[str, int], _Mask] = field(default_factory=dict)
    groups: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    masks: dict[str, _Mask] = field(default_factory=dict)
    broken: str = ""

    def begin(self, graph: Graph, item: Pass) -> None:
        """A pass is about to take something away from a graph, or to say again what is gone."""
        step = _text(item)
        if not self.model:
            self.model = structure_digest(graph)
        if step not in self.steps[-1:]:  # a pass sees the graph of each function
            self.steps.append(step)

    def note_axes(self, axes: Iterable[NotedAxis]) -> None:
        """Indices are about to go.

        Example:
            >>> log = PruningLog()
            >>> for left in ([1, 0, 1, 1], [0, 1, 1]):
            ...     log.note_axes([NotedAxis("w", 0, ("w",), np.array(left, np.bool_))])
            >>> log.kept["w", 0].astype(int)
            array([0, 0, 1, 1])
        """
        for item in axes:
            place = item.weight, item.axis
            mask, before = self.masks.get(item.weight), self.kept.get(place)
            known = item.kept.size if before is None else int(np.count_nonzero(before))
            if known != item.kept.size or (mask is not None and mask.shape[item.axis : item.axis + 1] != (known,)):
                self._break(item.weight)
                continue
            if mask is not None:
                self.masks[item.weight] = np.compress(item.kept, mask, item.axis)
            if before is None:
                self.kept[place], self.groups[place] = item.kept.copy(), item.groups
            else:
                before[np.flatnonzero(before)[~item.kept]] = False
                self.groups[place] = tuple(dict.fromkeys((*self.groups[place], *item.groups)))

    def note_masks(self, masks: Mapping[str, _Mask]) -> None:
        """Elements are zero from now on: by weight, bool [its shape], false where they are."""
        for name, mask in masks.items():
            before = self.masks.get(name)
            if before is not None and before.shape != mask.shape:
                self._break(name)
            else:
                self.masks[name] = mask.copy() if before is None else before & mask

    def _break(self, weight: str) -> None:
        self.broken = f"weight {weight!r} has another shape than the last pruning left of it"


def _text(item: Pass) -> str:
    """A pass as pipeline text; its name where an option has no text."""
    from graphopt.passes.options import pass_text  # lazily: it imports what imports this module

    try:
        return pass_text(item)
    except PipelineError:
        return item.name


def structure_digest(subject: Model | Graph) -> str:
    """SHA-256, as hexadecimal digits, of a model without what its weights hold; of a function's graph that of the function."""
    owner = subject if isinstance(subject, Model) else subject.owner
    whole = owner if isinstance(owner, Model) else subject
    return structural_hash(whole, names=True, weights=False).hex()


def weight_names(graph: Graph, *, computed: bool = False) -> dict[Value, str]:
    """The constants of a graph and the graphs inside it, each with a name that no other has.

    It is the name of the value; in a function that of the function stands before it. Where branches give one name to different
    constants, those that come later have a number.

    Args:
        graph: the outermost one.
        computed: whether what nodes compute follows, under names that are made likewise.
    """
    owner = graph.root.owner
    scope = "::".join(part for part in owner.key if part) + "/" if isinstance(owner, Function) else ""
    names: dict[Value, str] = {}
    taken: set[str] = set()
    graphs = list(graph.walk_graphs())
    nodes = [node for inner in graphs for node in inner.nodes if node.op != "Constant"] if computed else []
    for inner in graphs:
        stated = [node.outputs[0] for node in inner.nodes if node.op == "Constant"]
        for value in (*inner.initializers(), *stated):
            names[value] = _untaken(scope + value.name, taken)
    for value in (value for node in nodes for value in node.outputs if value.name):
        names[value] = _untaken(scope + value.name, taken)
    return names


def _untaken(name: str, taken: set[str]) -> str:
    """The name, with a number if somebody has it; somebody has it then."""
    choices = (f"{name}#{number}" for number in itertools.count(2))
    found = next(choice for choice in itertools.chain([name], choices) if choice not in taken)
    taken.add(found)
    return found
