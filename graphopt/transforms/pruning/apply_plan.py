"""Does what a plan says: the same indices go and the same elements become zero as when the plan was recorded.

The plan says what is left of axes of weights; what goes together with them follows from :mod:`graphopt.analysis.dim_groups`, and it must be
what the plan says of other weights. Nothing is chosen anew, so the model may have other weights of the same shapes: fine-tuned ones.
Touches weights; needs types; needs no data; not idempotent where indices go. Numerics: lossy, bit for bit what the passes gave that chose.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from graphopt.analysis.dim_groups import DimGroups, Extent, Leaf, Mask, Product, find_dim_groups
from graphopt.errors import PipelineError, PruningError
from graphopt.ir import Dim, Graph, Model, Value, clone_model
from graphopt.ir.constant_nodes import constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import (
    Pass,
    PassContext,
    PassResult,
    PruningPlan,
    Reference,
    structure_digest,
    weight_names,
)
from graphopt.transforms.pruning.masking import zero_weights
from graphopt.transforms.pruning.removal import cut_axes, remove_indices

__all__ = ["ApplyPruningPlan", "apply_plan"]


@dataclass(frozen=True)
class ApplyPruningPlan(Pass):
    """Remove and zero what a saved plan says.

    Attributes:
        plan: path of a JSON file, as :meth:`graphopt.passes.PruningPlan.save` writes it.
        match: whether the model must be the one that the plan is for, weights aside (``model``), or only have the weights that it
            names, in the same shapes and with the same ones going together (``names``).
    """

    name: ClassVar[str] = "apply-pruning-plan"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    plan: str = ""
    match: Literal["model", "names"] = "model"

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Read the plan and apply it."""
        if not self.plan:
            raise PipelineError("apply-pruning-plan: no plan is given; give the path of one, plan=pruned.json")
        return apply_plan(graph, PruningPlan.load(self.plan), ctx, item=self)


def apply_plan(graph: Graph, plan: PruningPlan, ctx: PassContext, item: ApplyPruningPlan | None = None) -> PassResult:
    """Apply a plan to a model.

    Args:
        graph: the main graph; values have types.
        plan: what to take away.
        ctx: is told.
        item: the pass that asks, by default one that wants the very model of the plan.

    Returns:
        How many axes were cut, how many weights became smaller, how many weights have a mask and how many elements became zero.

    Raises:
        PruningError: if the plan is of another model, or contradicts what goes together in this one; nothing is changed then.
    """
    asked = ApplyPruningPlan() if item is None else item
    if plan.is_empty:
        return PassResult(changed=False)
    if asked.match == "model":
        _check_model(graph, plan)
    return _Application(graph, plan, ctx, asked).run()


def _check_model(graph: Graph, plan: PruningPlan) -> None:
    owner = graph.owner
    functions = owner.functions.values() if isinstance(owner, Model) else ()
    found = structure_digest(graph)
    if plan.model in (found, *(structure_digest(function.graph) for function in functions)):
        return
    if found == plan.source and plan.prepare:
        passes = textwrap.shorten(plan.prepare.replace(",", ", "), 120, placeholder=" ...")
        raise PruningError(f"the plan was made after other passes; put its 'prepare' before this one: {passes}")
    raise PruningError(
        f"the plan is of a model whose structure has digest {plan.model:.12}, this one has {found:.12}; apply it to the model that it "
        "was recorded of, after the same passes, or compare names and shapes only (match=names)"
    )


class _Application:
    """One plan on one model."""

    def __init__(self, graph: Graph, plan: PruningPlan, ctx: PassContext, item: ApplyPruningPlan) -> None:
        self.graph, self.plan, self.ctx, self.item = graph, plan, ctx, item
        owner = graph.owner
        graphs = [graph, *(item.graph for item in owner.functions.values())] if isinstance(owner, Model) else [graph]
        self.homes = {
            name: (value, home) for home in graphs for value, name in weight_names(home, computed=True).items()
        }
        self.groups = find_dim_groups(graph, ctx.dim_roles)

    def run(self) -> PassResult:
        """All is looked at before anything is changed."""
        removal = self.removal()
        masks = self.masks(removal)
        weights = axes = 0
        if removal and self.ctx.applications.admits(self.item.name, ""):
            if self.ctx.reference is None and isinstance(self.graph.owner, Model):
                self.ctx.reference = Reference(clone_model(self.graph.owner))
            self.ctx.applications.record(self.item.name, "")
            self.ctx.pruned.begin(self.graph, self.item)
            noted = list(cut_axes(self.graph, self.groups, removal))
            self.ctx.pruned.note_axes(noted)
            axes = len(noted)
            weights = remove_indices(self.graph, self.groups, removal, self.ctx.reference)
        zeroed = sum(sum(zero_weights(self.item, home, self.ctx, some).values()) for home, some in masks.items())
        stats = {"axes": axes, "weights": weights, "masked": sum(map(len, masks.values())), "zeroed": zeroed}
        return PassResult(changed=bool(weights or zeroed), stats=stats)

    def weight(self, name: str) -> tuple[Value, Graph]:
        """A weight that the plan names, and the graph that has it."""
        if name not in self.homes:
            raise PruningError(f"the plan names weight {name!r}, and the model has none of that name; edit the plan")
        return self.homes[name]

    def removal(self) -> dict[Leaf, Mask]:
        """What is left of each class of indices that the plan speaks of."""
        found: dict[Leaf, tuple[Mask, str]] = {}
        for plan in self.plan.axes:
            for name, axis in plan.places():
                value, _home = self.weight(name)
                extents, sizes = self.groups.follow.known().get(value), _sizes(value)
                if axis >= len(sizes) or sizes[axis] != plan.kept.size:
                    raise PruningError(
                        f"weight {name!r} is of shape {sizes}, and the plan keeps some of {plan.kept.size} indices of axis {axis}; "
                        "apply the plan to the model before it was pruned"
                    )
                if extents is None:
                    raise PruningError(f"weight {name!r} can't be cut: what reads it is not followed; edit the plan")
                for leaf, mask in _leaves(self.groups, extents[axis], plan.kept, f"weight {name!r} axis {axis}"):
                    other = found.setdefault(leaf, (mask, name))
                    if not np.array_equal(other[0], mask):
                        raise PruningError(
                            f"the plan keeps other indices of weight {name!r} axis {axis} than of weight {other[1]!r}, and they go "
                            "together; edit the plan"
                        )
        for leaf, (mask, name) in found.items():
            reasons = self.groups.follow.extents.reasons(leaf)
            if reasons and not mask.all():
                why, where = next(iter(reasons.items()))
                raise PruningError(
                    f"the plan removes indices of weight {name!r} that can't go: {why}"
                    + (f" ({where})" if where else "")
                )
        return {leaf: mask for leaf, (mask, _name) in found.items() if not mask.all()}

    def masks(self, removal: dict[Leaf, Mask]) -> dict[Graph, dict[Value, Mask]]:
        """The masks by graph; they are of the shapes that weights have once the indices are gone."""
        found: dict[Graph, dict[Value, Mask]] = {}
        for name, packed in self.plan.masks.items():
            value, home = self.weight(name)
            if value.const is None or not value.is_constant or not value.const.dtype.is_float or value.const.is_sparse:
                raise PruningError(f"the plan masks {name!r}, which is no constant of floats; edit the plan")
            shape = list(value.const.shape)
            for axis, extent in enumerate(self.groups.follow.known().get(value) or ()):
                size = self.groups.size(extent, removal)
                shape[axis] = shape[axis] if size is None else size
            if tuple(shape) != packed.shape:
                raise PruningError(
                    f"the mask of weight {name!r} has shape {list(packed.shape)}, and of the weight {shape} is left; edit the plan"
                )
            try:
                found.setdefault(home, {})[value] = packed.array()
            except ValueError as err:
                raise PruningError(f"the mask of weight {name!r} can't be read: {err}; record the plan again") from err
        return found


def _sizes(value: Value) -> list[Dim]:
    """The shape of a constant, or of what a node computes as far as it is known."""
    constant = constant_of(value)
    return list(value.shape or ()) if constant is None else list(constant.shape)


def _leaves(groups: DimGroups, extent: Extent, kept: Mask, where: str) -> list[tuple[Leaf, Mask]]:
    """What a mask of an axis means for the classes of indices that the axis is made of."""
    found = groups.follow.extents.resolve(extent)
    if isinstance(found, Leaf):
        return [(found, kept)]
    sizes = [part.size for part in (found.factors if isinstance(found, Product) else found.parts)]
    numbers = [size for size in sizes if isinstance(size, int)]
    if len(numbers) < len(sizes):
        raise PruningError(
            f"the plan names {where}, parts of which have no known size; name a constant that goes with it"
        )
    if not isinstance(found, Product):
        pieces = np.split(kept, np.cumsum(numbers)[:-1])
        return [
            item
            for part, piece in zip(found.parts, pieces, strict=True)
            for item in _leaves(groups, part, piece, where)
        ]
    if not numbers:  # an axis of size 1, or a part of one
        if not kept.all():
            raise PruningError(f"the plan removes the only index of a part of {where}; edit the plan")
        return []
    table = kept.reshape(numbers)
    axes = range(table.ndim)
    factors: list[Mask] = [np.asarray(table.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    whole = factors[0]
    for factor in factors[1:]:
        whole = (whole[:, None] & factor).reshape(-1)
    if not np.array_equal(whole, kept):
        raise PruningError(
            f"the plan keeps a part of some heads or blocks of {where}, which is {' times '.join(map(str, numbers))}; edit the plan"
        )
    return [
        item
        for part, factor in zip(found.factors, factors, strict=True)
        for item in _leaves(groups, part, factor, where)
    ]
