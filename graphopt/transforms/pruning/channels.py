"""Removes channels, heads and hidden units for good: the graph that is left is smaller, and every runtime gains.

What can only go together, through residual sums, joins, reshapes, grouped convolutions and heads, is found by
:mod:`graphopt.analysis.dim_groups`. Inputs and outputs keep their shapes, no layer goes as a whole, and of equal indices the last go
first. Shapes that a model computes freeze what they are computed from, so run ``fold-constants`` (any level) before. Touches weights; needs
types; needs data for criteria that look at activations. Not idempotent. Numerics: lossy.

Source: Fang et al., DepGraph: Towards Any Structural Pruning, 2023, section 3; criteria: :mod:`graphopt.transforms.pruning.importance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import msgspec

from graphopt.analysis.cost_model import shipped_cost_model
from graphopt.analysis.dim_groups import DimGroup, DimGroups, Leaf, Removal, find_dim_groups
from graphopt.errors import PassError, PipelineError
from graphopt.ir import Graph, Model, clone_model
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult, Reference
from graphopt.transforms.pruning.budget import Costs
from graphopt.transforms.pruning.importance import importance
from graphopt.transforms.pruning.ranking import Limits, Scores, by_budget, by_ratio, masks_of
from graphopt.transforms.pruning.removal import cut_axes, remove_indices
from graphopt.transforms.pruning.selection import Selection

__all__ = ["PruneChannels"]

#: Multiples in which channels are left where blocks of the target are too large: vector units and tensor cores like them.
_SMALL_BLOCK: Final = 8

_Part = Annotated[float, msgspec.Meta(gt=0, lt=1)]


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Remove the channels, heads and hidden units that matter least.

    Attributes:
        ratio: part of the indices of each group that goes, in [0, 1); 0.5 if no budget is given.
        flops: part of the operations that may be left, in (0, 1), instead of ``ratio``; which groups lose most is decided over all of them.
        latency: the same of the estimated time.
        parts: ``NAME=RATIO`` for the groups that a weight or node makes, by its name or a pattern; the last that fits counts. Groups that
            none fits lose ``ratio``, or nothing if there is none.
        criterion: what tells how much an index matters.
        round_to: channels are left in multiples of this; heads always whole. ``None``: of what the target's kernels take at a time, or of 8
            where that would leave a small group no choice, or a budget out of reach.
        min_channels: so many are left in each group at least.
        include: only groups that one of these layers makes: names, patterns of ``*``, or ``op:Conv``; all if empty.
        exclude: no group that one of these layers makes.
    """

    name: ClassVar[str] = "prune-channels"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    ratio: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    flops: _Part | None = None
    latency: _Part | None = None
    parts: tuple[str, ...] = ()
    criterion: Literal["l1", "l2", "bn-scale", "activation-energy", "reconstruction"] = "l2"
    round_to: Annotated[int, msgspec.Meta(ge=1)] | None = None
    min_channels: Annotated[int, msgspec.Meta(ge=1)] = 1
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        stated = [name for name in ("ratio", "flops", "latency") if getattr(self, name) is not None]
        if len(stated) > 1:
            raise PipelineError(
                f"prune-channels: {' and '.join(stated)} are given, expected one of them; leave the others out"
            )
        if self.ratio is not None and not 0 <= self.ratio < 1:
            raise PipelineError(f"prune-channels: ratio is {self.ratio}, expected a number in [0, 1)")
        for name, part in (("flops", self.flops), ("latency", self.latency)):
            if part is not None and not 0 < part < 1:
                raise PipelineError(f"prune-channels: {name} is {part}, expected a number in (0, 1)")
        if self.parts and (self.flops is not None or self.latency is not None):
            raise PipelineError(
                "prune-channels: parts and a budget are given, expected one of them; leave the other out"
            )
        self._stated_ratios()

    def _stated_ratios(self) -> list[tuple[str, float]]:
        """Names and ratios of ``parts``."""
        found = []
        for text in self.parts:
            name, _equals, number = text.rpartition("=")
            try:
                ratio = float(number)
            except ValueError:
                ratio = -1.0
            if not name or not 0 <= ratio < 1:
                raise PipelineError(
                    f"prune-channels: a part is {text!r}, expected the name of a layer and a number in [0, 1), such as conv1=0.5"
                )
            found.append((name, ratio))
        return found

    def _ratio_of(self, group: DimGroup) -> float:
        """The part of a group that goes where no budget is given."""
        for name, ratio in reversed(self._stated_ratios()):
            if Selection((name,)).admits_group(group):
                return ratio
        return self.ratio if self.ratio is not None else 0.0 if self.parts else 0.5

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Find groups, rank their indices, remove those that matter least."""
        groups = find_dim_groups(graph, ctx.dim_roles)
        chosen = self._chosen(groups, ctx)
        if not chosen:
            if self.flops is not None or self.latency is not None or self.include:
                raise PassError(
                    f"prune-channels: nothing can be removed: {_why(groups)}; inspect --dim-groups tells more"
                )
            return PassResult(changed=False, stats={"groups": 0, "indices": 0, "weights": 0})
        scores = self._scores(graph, groups, chosen, ctx)
        removal = masks_of(scores, self._kept(graph, groups, scores, ctx.target.channel_block))
        if not removal:
            return PassResult(changed=False, stats={"groups": 0, "indices": 0, "weights": 0})
        if ctx.reference is None and isinstance(graph.owner, Model):
            ctx.reference = Reference(clone_model(graph.owner))
        for group in chosen:
            if group.leaf in removal:
                ctx.applications.record(self.name, group.name)
        ctx.pruned.begin(graph, self)
        ctx.pruned.note_axes(cut_axes(graph, groups, removal))
        weights = remove_indices(graph, groups, removal, ctx.reference)
        return PassResult(changed=True, stats={"groups": len(removal), "indices": _count(removal), "weights": weights})

    def _scores(self, graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext) -> Scores:
        """How much each index matters; what is known of an equal model from another run is not worked out again."""
        known = {} if ctx.memory is None else ctx.memory.about(graph)
        places = {group: (self.name, self.criterion, groups.groups.index(group)) for group in chosen}
        unknown = [group for group in chosen if places[group] not in known]
        if unknown:
            found = importance(self.criterion, graph, groups, unknown, ctx)
            known.update({places[group]: score for group, score in found.items()})
        return {group: known[places[group]] for group in chosen}

    def _chosen(self, groups: DimGroups, ctx: PassContext) -> list[DimGroup]:
        selection = Selection(self.include, self.exclude)
        for name, _ratio in self._stated_ratios():
            if not any(Selection((name,)).admits_group(group) for group in groups.groups if not group.is_frozen):
                raise PassError(
                    f"prune-channels: parts has {name!r}, and no group that can be pruned is made by a weight or node of such a name; "
                    "graphopt inspect --dim-groups shows names"
                )
        budget = self.flops is not None or self.latency is not None
        return [
            group
            for group in groups.groups
            if not group.is_frozen
            and selection.admits_group(group)
            and (budget or not self.parts or self._ratio_of(group) > 0)
            and ctx.applications.admits(self.name, group.name)
        ]

    def _kept(self, graph: Graph, groups: DimGroups, scores: Scores, block: int) -> dict[Leaf, int]:
        step = block if self.round_to is None else self.round_to
        small = min(block, _SMALL_BLOCK) if self.round_to is None else step
        part = self.latency if self.flops is None else self.flops
        if part is None:
            return by_ratio(scores, self._ratio_of, Limits(step, self.min_channels, small))
        costs = Costs(
            graph, groups, {group.leaf for group in scores}, None if self.latency is None else shipped_cost_model()
        )
        whole = costs.total({})
        kept: dict[Leaf, int] = {}
        left = 1.0
        for multiple in dict.fromkeys((step, small)):
            kept = by_budget(scores, Limits(multiple, self.min_channels), costs.total, part * whole)
            left = costs.total(kept) / whole if whole else 1.0
            if left <= part:
                break
        else:
            what = "flops" if self.latency is None else "latency"
            raise PassError(
                f"prune-channels: {what} is {part}, and {left:.2f} is the least that can be left "
                f"({_why(groups)}); ask for more than that, or give a smaller round_to or min_channels"
            )
        return kept


def _count(removal: Removal) -> int:
    return sum(int((~mask).sum()) for mask in removal.values())


def _why(groups: DimGroups) -> str:
    frozen = [group for group in groups.groups if group.is_frozen]
    reasons: dict[str, int] = {}
    for group in frozen:
        first = next(iter(group.reasons))
        reasons[first] = reasons.get(first, 0) + 1
    most: Sequence[tuple[str, int]] = sorted(reasons.items(), key=lambda item: -item[1])[:2]
    told = ", ".join(f"{count} because {why}" for why, count in most)
    return f"{len(frozen)} of {len(groups.groups)} groups are frozen" + (f", {told}" if told else "")
