"""Attributes that became inputs: axes of Squeeze, Unsqueeze and the reductions, sizes of Split, limits of Slice, K of TopK, axis of DFT.

Exact: the same numbers at another place. Source: the versions of these operators in the ONNX specification.
"""

from __future__ import annotations

import numpy as np

from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter, integers, move_ints

__all__: list[str] = []


@adapter("Squeeze", versions=(13,))
def squeeze(change: Change) -> Edit | None:
    """``axes`` to input 1; no axes, or an empty list, are all of size 1 before and after."""
    return move_ints(change, {"axes": 1}) if change.crosses(13) else None


@adapter("Unsqueeze", versions=(13,))
def unsqueeze(change: Change) -> Edit | None:
    """``axes`` to input 1."""
    return move_ints(change, {"axes": 1}, keep_empty=True) if change.crosses(13) else None


@adapter("ReduceSum", versions=(13,))
def reduce_sum(change: Change) -> Edit | None:
    """``axes`` to input 1; no axes are all, before and after."""
    return move_ints(change, {"axes": 1}) if change.crosses(13) else None


@adapter(
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
    versions=(18,),
)
def reduction(change: Change) -> Edit | None:
    """``axes`` to input 1, five opsets after that of ReduceSum."""
    return move_ints(change, {"axes": 1}) if change.crosses(18) else None


@adapter("Slice", versions=(10,))
def slice_(change: Change) -> Edit | None:
    """``starts``, ``ends`` and ``axes`` to inputs."""
    return move_ints(change, {"starts": 1, "ends": 2, "axes": 3}, keep_empty=True) if change.crosses(10) else None


@adapter("TopK", versions=(10,))
def top_k(change: Change) -> Edit | None:
    """``k`` to input 1, a list of one."""
    return move_ints(change, {"k": 1}) if change.crosses(10) else None


@adapter("Split", versions=(13, 18))
def split(change: Change) -> Edit | None:
    """``split`` to input 1; from opset 18 on, equal parts are asked for by ``num_outputs``."""
    sizes = change.stated("split") if change.crosses(13) else None
    given = change.node.input_at(1) is not None or (sizes is not None and (sizes.ref or sizes.value != ()))
    move = None if sizes is None else move_ints(change, {"split": 1})
    count = len(change.node.outputs) if change.crosses(18) and not given else None
    if move is None and count is None:
        return None

    def edit(rw: Rewriter) -> None:
        if move is not None:
            move(rw)
        if count is not None:
            rw.set_attribute(change.node, "num_outputs", count)

    return edit


@adapter("DFT", versions=(20,))
def dft(change: Change) -> Edit | None:
    """``axis`` to input 2. Its default was 1 and is now the last but one, so it is stated."""
    if not change.crosses(20):
        return None
    node, axis = change.node, change.stated("axis")

    def edit(rw: Rewriter) -> None:
        rw.set_attribute(node, "axis", None)
        rw.set_input(node, 2, rw.constant(np.array(1, np.int64)) if axis is None else integers(rw, axis, scalar=True))

    return edit
