"""Reads what a Slice takes, in the spelling of each opset.

Source: https://onnx.ai/onnx/operators/onnx__Slice.html
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Node
from graphopt.rewriting import NoMatch
from graphopt.transforms.operands import ints_operand

__all__ = ["Ranges", "read_ranges"]


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a Slice with constant operands takes: one entry per sliced axis, axes as they are stated."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]


def read_ranges(node: Node) -> Ranges | NoMatch:
    """What a Slice takes, if all its operands are constant."""
    starts, ends = ints_operand(node, "starts", 1), ints_operand(node, "ends", 2)
    axes, steps = ints_operand(node, "axes", 3), ints_operand(node, "steps", 4)
    for found in (starts, ends, axes, steps):
        if isinstance(found, NoMatch):
            return found
    if not isinstance(starts, tuple) or not isinstance(ends, tuple):
        return NoMatch("starts or ends are absent")
    count = len(starts)
    axes = tuple(range(count)) if axes is None else axes
    steps = (1,) * count if steps is None else steps
    if not isinstance(axes, tuple) or not isinstance(steps, tuple) or {len(ends), len(axes), len(steps)} != {count}:
        return NoMatch("starts, ends, axes and steps do not agree")
    return Ranges(starts, ends, axes, steps)
