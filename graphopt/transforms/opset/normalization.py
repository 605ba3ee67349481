"""BatchNormalization, GroupNormalization and Dropout at newer opsets.

BatchNormalization lost ``spatial`` at opset 9, and at 14 the outputs that ask for training. GroupNormalization scales each channel from
opset 21 on, each group before: ``scale_new[c] = scale_old[c // (C / G)]``; and it computes in float32 unless ``stash_type`` says otherwise,
before in the input's type. Dropout has a mask of another type from opset 10 on, and of other numbers from 12. Exact.
Source: https://onnx.ai/onnx/operators/onnx__GroupNormalization.html, onnx__BatchNormalization.html, onnx__Dropout.html there
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphopt.ir import Value
from graphopt.rewriting import Rewriter
from graphopt.transforms.opset.change import Change, Edit, adapter, integers

__all__: list[str] = []

_INFERENCE_OUTPUTS: Final = 1


def _check_unused(change: Change, version: int, reason: str) -> None:
    """See that nobody reads an output after the first.

    Raises:
        RefusedError: if somebody does.
    """
    for value in change.node.outputs[_INFERENCE_OUTPUTS:]:
        if value.is_used:
            raise change.refuse(version, f"output {value.name!r} is used, {reason}")


def _drop_outputs(change: Change) -> None:
    while len(change.node.outputs) > _INFERENCE_OUTPUTS:
        change.node.drop_output(len(change.node.outputs) - 1)


@adapter("BatchNormalization", versions=(9, 14))
def batch_normalization(change: Change) -> Edit | None:
    """``spatial`` goes; so do absent outputs of training."""
    spatial = change.stated("spatial") if change.crosses(9) else None
    if spatial is not None and spatial.value != 1:
        raise change.refuse(9, "spatial=0 (numbers for each position, not each channel) has no later form")
    outputs = change.crosses(14) and len(change.node.outputs) > _INFERENCE_OUTPUTS
    if outputs and any(value.name for value in change.node.outputs[_INFERENCE_OUTPUTS:]):
        raise change.refuse(
            14, "it has outputs of training, which ask for statistics of the batch whether they are used or not"
        )
    if spatial is None and not outputs:
        return None

    def edit(rw: Rewriter) -> None:
        if spatial is not None:
            rw.set_attribute(change.node, "spatial", None)
        if outputs:
            _drop_outputs(change)

    return edit


@adapter("Dropout", versions=(10, 12))
def dropout(change: Change) -> Edit | None:
    """Without ``training_mode`` the output is the input whatever the ratio is; the mask goes when nobody reads it."""
    if not change.crosses(10) and not change.crosses(12):
        return None
    _check_unused(change, 10 if change.crosses(10) else 12, "and masks of another version are others")

    def edit(rw: Rewriter) -> None:
        if change.crosses(12):
            rw.set_attribute(change.node, "ratio", None)
        _drop_outputs(change)

    return edit


@adapter("GroupNormalization", versions=(21,))
def group_normalization(change: Change) -> Edit | None:
    """Scale and bias for each channel, computed in the input's type."""
    if not change.crosses(21):
        return None
    node, data = change.node, change.node.inputs[0]
    assert data is not None, "GroupNormalization has an input"
    dtype, groups = data.dtype, change.stated("num_groups")
    if dtype is None or groups is None:
        raise change.refuse(21, "the element type of its input is not known")

    def edit(rw: Rewriter) -> None:
        shape = data.shape
        channels = shape[1] if shape is not None and len(shape) > 1 else None
        repeats: Value | None = None
        for index in (1, 2):
            value = node.inputs[index]
            assert value is not None, "scale and bias must be there"
            constant = value.array() if value.is_constant else None
            if constant is not None and isinstance(channels, int) and not groups.ref:
                rw.set_input(node, index, rw.constant(np.repeat(constant, channels // max(len(constant), 1))))
                continue
            if repeats is None:
                one = np.array([1], np.int64)
                size = rw.new("Shape", data, start=1, end=2)
                repeats = rw.new("Concat", one, rw.new("Div", size, integers(rw, groups)), axis=0)
            column = rw.new("Unsqueeze", value, np.array([1], np.int64))
            each = rw.new("Expand", column, repeats)
            rw.set_input(node, index, rw.new("Reshape", each, np.array([-1], np.int64)))
        rw.set_attribute(node, "stash_type", int(dtype))

    return edit
