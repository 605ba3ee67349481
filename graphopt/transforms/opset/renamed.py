"""Operators and modes under other names, and a default that changed: Scatter, GridSample, RoiAlign. Exact.

Source: https://onnx.ai/onnx/operators/onnx__Scatter.html, onnx__GridSample.html and onnx__RoiAlign.html there
"""

from __future__ import annotations

from typing import Final

from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter

__all__: list[str] = []

_GRID_MODES: Final = {"bilinear": "linear", "bicubic": "cubic"}


@adapter("Scatter", versions=(11,))
def scatter(change: Change) -> Edit | None:
    """Scatter -> ScatterElements."""
    if not change.crosses(11):
        return None
    node = change.node
    return lambda rw: rw.finish(
        node, [rw.new_node("ScatterElements", node.inputs, attributes=dict(node.attributes)).output]
    )


@adapter("GridSample", versions=(20,))
def grid_sample(change: Change) -> Edit | None:
    """Modes ``bilinear`` and ``bicubic`` are ``linear`` and ``cubic``."""
    mode = change.stated("mode")
    if not change.crosses(20) or mode is None:
        return None
    if mode.ref:
        raise change.refuse(20, "its mode is stated by the caller of the function, by a name that changed")
    name = _GRID_MODES.get(str(mode.value))
    return None if name is None else lambda rw: rw.set_attribute(change.node, "mode", name)


@adapter("RoiAlign", versions=(16,))
def roi_align(change: Change) -> Edit | None:
    """What was the only way is ``output_half_pixel``; the default is another one now."""
    if not change.crosses(16):
        return None

    def edit(rw: Rewriter) -> None:
        rw.set_attribute(change.node, "coordinate_transformation_mode", "output_half_pixel")

    return edit
