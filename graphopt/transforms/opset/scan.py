"""Scan of opset 8, which had a batch axis before that of the sequence.

``Scan_8(state[1, ...], xs[1, n, ...]) = Unsqueeze(Scan_9(Squeeze(state), Squeeze(xs)), 0)`` for a batch of one, without ``sequence_lens``.
Exact. Source: https://onnx.ai/onnx/operators/onnx__Scan.html
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Value
from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter

__all__: list[str] = []

_AXES_INPUT = 13


@adapter("Scan", versions=(9,))
def scan(change: Change) -> Edit | None:
    """Take the batch axis away before, and put it back behind."""
    if not change.crosses(9):
        return None
    node = change.node
    if node.input_at(0) is not None:
        raise change.refuse(9, "sequence_lens has no later form")
    given = [value for value in node.inputs[1:] if value is not None]
    for value in given:
        shape = value.shape
        if not shape or shape[0] != 1:
            raise change.refuse(9, f"input {value.name!r} is {value.type}, and only a batch of one has a later form")
    attributes: dict[str, object] = {**node.attributes}
    directions = attributes.pop("directions", None)
    if directions is not None:
        attributes["scan_input_directions"] = directions

    def edit(rw: Rewriter) -> None:
        flat = [_without_batch(rw, value, change.new) for value in given]
        made = rw.new_node("Scan", flat, outputs=len(node.outputs), attributes=attributes)
        rw.finish(node, [_with_batch(rw, value, change.new) for value in made.outputs])

    return edit


def _without_batch(rw: Rewriter, value: Value, opset: int) -> Value:
    if opset < _AXES_INPUT:
        return rw.new("Squeeze", value, axes=(0,))
    return rw.new("Squeeze", value, np.array([0], np.int64))


def _with_batch(rw: Rewriter, value: Value, opset: int) -> Value:
    if opset < _AXES_INPUT:
        return rw.new("Unsqueeze", value, axes=(0,))
    return rw.new("Unsqueeze", value, np.array([0], np.int64))
