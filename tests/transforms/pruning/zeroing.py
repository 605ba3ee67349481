"""The heart of channel pruning, as a law: indices whose outgoing weights are zero can be removed, and no output changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from graphopt.analysis.dim_groups import DimGroups, Leaf, Mask, find_dim_groups
from graphopt.ir import Constant, Model, clone_model, verify
from graphopt.ir.constant_nodes import constant_of
from graphopt.serde import emit_model
from graphopt.transforms.pruning.removal import remove_indices

__all__ = ["Removed", "assert_removable", "run_model"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed: how many groups there were, in how many of them, and how many indices in all."""

    groups: int
    touched: int
    indices: int


def assert_removable(model: Model, feeds, rng, *, share: float = 0.5, tolerance: float = 1e-4) -> Removed:
    """Remove a random part of each group that is not frozen, after its outgoing weights became zero; outputs must stay.

    Args:
        model: with types; it is changed.
        feeds: arrays by input.
        rng: chooses the indices.
        share: of the indices of a group, about.
        tolerance: relative to the largest number of an output, or 1.
    """
    groups = find_dim_groups(model.graph)
    removal = _drawn(groups, rng, share)
    _zero_consumers(groups, removal)
    before = run_model(model, feeds)
    interface = _interface(model)
    remove_indices(model.graph, groups, removal)
    verify(model)
    assert interface == _interface(model)
    after = run_model(model, feeds)
    for name, expected in before.items():
        found = after[name]
        assert expected.shape == found.shape, name
        if expected.dtype.kind == "f" and expected.size:
            scale = max(1.0, float(np.max(np.abs(expected))))
            np.testing.assert_allclose(
                found.astype(np.float64), expected.astype(np.float64), rtol=0, atol=tolerance * scale, err_msg=name
            )
        else:
            np.testing.assert_array_equal(expected, found)
    return Removed(len(groups.groups), len(removal), sum(int((~mask).sum()) for mask in removal.values()))


def _interface(model: Model):
    """What callers see; before IR version 4 constants had to be among the inputs."""
    return [(value.name, value.type) for value in (*model.graph.inputs, *model.graph.outputs) if not value.is_constant]


def _drawn(groups: DimGroups, rng, share: float) -> dict[Leaf, Mask]:
    removal: dict[Leaf, Mask] = {}
    for group in groups.groups:
        if group.is_frozen or any(constant_of(member.value) is None for member in group.consumers):
            continue
        count = min(max(1, round(share * group.size)), group.size - 1)
        mask = np.ones(group.size, np.bool_)
        mask[rng.choice(group.size, count, replace=False)] = False
        removal[group.leaf] = mask
    return removal


def _zero_consumers(groups: DimGroups, removal: dict[Leaf, Mask]) -> None:
    for group in groups.groups:
        if group.leaf not in removal:
            continue
        for member in group.consumers:
            axes = groups.follow.known()[member.value]
            assert axes is not None
            mask = groups.mask(axes[member.axis], {group.leaf: removal[group.leaf]})
            constant = constant_of(member.value)
            assert mask is not None
            assert constant is not None
            array = constant.numpy().copy()
            np.moveaxis(array, member.axis, 0)[~mask] = 0
            if member.value.producer is None:
                member.value.const = Constant(array)
            else:
                member.value.producer.set_attribute("value", Constant(array))


def run_model(model: Model, feeds):
    """Outputs by name, from ONNX Runtime without its optimizer."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    proto = emit_model(clone_model(model))
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
