"""Makes elements of weights zero, and notes which: for recovery, for plans, and under what name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from graphopt.ir import Constant, Graph, Model, Value, clone_model
from graphopt.passes import Pass, PassContext, Reference, weight_names

__all__ = ["zero_weights"]


def zero_weights(
    item: Pass, graph: Graph, ctx: PassContext, masks: Mapping[Value, npt.NDArray[np.bool_]]
) -> dict[Value, int]:
    """Zero what masks don't keep.

    Args:
        item: the pass that asks.
        graph: the graph that has the weights, and the graphs inside it.
        ctx: is told.
        masks: by weight, bool [its shape], false where it is to be zero.

    Returns:
        How many elements became zero of each weight where any did. What was zero before keeps its sign.
    """
    if not masks:
        return {}
    changed: dict[Value, int] = {}
    names = weight_names(graph)
    ctx.pruned.begin(graph, item)
    for value, mask in masks.items():
        assert value.const is not None, "weights are constant"
        if not ctx.applications.admits(item.name, value.name):
            continue
        ctx.pruned.note_masks({names[value]: mask})
        array = value.const.numpy()
        change = ~mask & (array != 0)
        count = int(np.count_nonzero(change))
        if not count:
            continue
        if ctx.reference is None and isinstance(graph.owner, Model):
            ctx.reference = Reference(clone_model(graph.owner))
        pruned = array.copy()
        pruned[change] = 0
        value.const = Constant(pruned)
        ctx.applications.record(item.name, value.name)
        changed[value] = count
    if changed:
        graph.touch()
    return changed
