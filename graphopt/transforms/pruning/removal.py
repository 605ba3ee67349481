"""Takes indices out of a graph: out of each weight that has them, and out of each attribute and shape that says how many there are.

Exact in its bookkeeping: what :mod:`graphopt.analysis.dim_groups` found to be a size is written anew, a constant that several nodes
read is copied for the one that needs another number, and values get their new types. What it does to numbers is what the missing
indices did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np

from graphopt.analysis.dim_groups import DimGroups, Leaf, Removal
from graphopt.analysis.dim_groups.sizes import Entry
from graphopt.ir import Constant, Graph, Node, TensorType, Value
from graphopt.ir.constant_nodes import constant_of
from graphopt.passes import NotedAxis, Reference, weight_names

__all__ = ["cut_axes", "remove_indices"]


def remove_indices(graph: Graph, groups: DimGroups, removal: Removal, reference: Reference | None = None) -> int:
    """Remove indices of groups, wherever they stand.

    Args:
        graph: the main graph, unchanged since it was analysed.
        groups: its groups.
        removal: which indices of each leaf are kept; frozen leaves must not be among them, and at least one index of each is kept.
        reference: told what is left of each tensor.

    Returns:
        How many weights became smaller.
    """
    for leaf, mask in removal.items():
        assert not groups.follow.extents.reasons(leaf), f"{leaf} is frozen"
        assert mask.any(), "an index is left"
    changed = sum(_shrink(value, groups, removal, reference) for value in list(groups.follow.known()))
    _write_attributes(groups, removal)
    _write_entries(groups, removal)
    _write_splits(groups, removal)
    _write_repeats(groups, removal)
    graph.touch()
    return changed


def cut_axes(graph: Graph, groups: DimGroups, removal: Removal) -> Iterator[NotedAxis]:
    """The axes of weights that become shorter by a removal; arguments as those of :func:`remove_indices`.

    Of indices that no constant has, as where weights are filled in by a node, one axis of a computed tensor.
    """
    names = weight_names(graph, computed=True)
    known = groups.follow.known()
    left = set(removal)
    for value in sorted(known, key=lambda value: constant_of(value) is None):
        is_constant = constant_of(value) is not None
        if value not in names or not (is_constant or left):
            continue
        for axis, extent in enumerate(known[value] or ()):
            leaves = dict.fromkeys(leaf for leaf in groups.follow.extents.leaves(extent) if leaf in removal)
            mask = groups.mask(extent, removal)
            if mask is not None and (is_constant or not left.isdisjoint(leaves)):
                left.difference_update(leaves)
                yield NotedAxis(names[value], axis, _titles(groups, leaves), mask)


def _titles(groups: DimGroups, leaves: Iterable[Leaf]) -> tuple[str, ...]:
    """Names of the groups of some leaves."""
    wanted = set(leaves)
    return tuple(group.name for group in groups.groups if group.leaf in wanted)


def _shrink(value: Value, groups: DimGroups, removal: Removal, reference: Reference | None) -> bool:
    """Cut a constant, and say of any value how large it is; whether it is a constant that was cut."""
    axes = groups.follow.known()[value]
    if axes is None:
        return False
    masks = {axis: mask for axis, extent in enumerate(axes) if (mask := groups.mask(extent, removal)) is not None}
    if not masks:
        return False
    if reference is not None:
        reference.note(value.name, masks)
    if isinstance(value.type, TensorType) and value.type.shape is not None:
        shape = [int(masks[axis].sum()) if axis in masks else dim for axis, dim in enumerate(value.type.shape)]
        value.type = value.type.with_shape(tuple(shape))
    if (value.is_graph_output or value.is_input) and value.home is not None:
        value.home.origin = (
            None  # what the file states of a branch's output, or of a constant among the inputs, holds no longer
        )
    constant = constant_of(value)
    if constant is None:
        return False
    array = constant.numpy()
    for axis, mask in masks.items():
        array = np.compress(mask, array, axis)
    smaller = Constant(np.ascontiguousarray(array))
    if value.producer is None:
        value.const = smaller
    else:
        _state(value.producer, smaller)
    return True


def _state(node: Node, constant: Constant) -> None:
    """Let a Constant node give something else."""
    for name in list(node.attributes):
        node.set_attribute(name, None)
    node.set_attribute("value", constant)


def _write_attributes(groups: DimGroups, removal: Removal) -> None:
    for item in groups.follow.attributes:
        size = groups.size(item.extent, removal)
        if size is None:
            continue
        if item.index is None:
            item.node.set_attribute(item.name, size)
        else:
            numbers = list(cast("tuple[int, ...]", item.node.attr(item.name)))
            numbers[item.index] = size
            item.node.set_attribute(item.name, numbers)


def _write_entries(groups: DimGroups, removal: Removal) -> None:
    changes: dict[tuple[Node, int], dict[int, int]] = {}
    for entry, extent in groups.follow.sizes.wanted.items():
        size = groups.size(extent, removal)
        if size is not None:
            changes.setdefault(_place(entry), {})[entry.index] = size
    for (node, position), numbers in changes.items():
        constant, home = constant_of(node.input_at(position)), node.graph
        assert constant is not None, "entries are of constants"
        assert home is not None, "nodes of the graph read them"
        array = constant.numpy().copy()
        for index, size in numbers.items():
            array.reshape(-1)[index] = size
        old = node.input_at(position)
        assert old is not None, "it has entries"
        node.replace_input(position, home.add_constant(array, old.name))
        _drop_unused(old)


def _drop_unused(value: Value) -> None:
    """Take away a constant that nothing reads any more; runtimes would warn of it."""
    if value.producer is None and not value.is_used and not value.is_input and not value.is_graph_output:
        assert value.home is not None, "it stood in a graph"
        value.home.remove_initializer(value)


def _place(entry: Entry) -> tuple[Node, int]:
    return entry.node, entry.position


def _write_splits(groups: DimGroups, removal: Removal) -> None:
    """State the sizes of a Split that had equal parts and has others now."""
    for split in groups.follow.splits:
        kept = [groups.size(part, removal) for part in split.parts]
        if all(size is None for size in kept):
            continue
        sizes = [cast(int, part.size) if size is None else size for part, size in zip(split.parts, kept, strict=True)]
        each = -(-sum(sizes) // len(sizes))
        if sizes[:-1] == [each] * (len(sizes) - 1):
            continue
        node = split.node
        if (node.opset or 0) < 13:
            node.set_attribute("split", sizes)
            continue
        node.set_attribute("num_outputs", None)
        node.resize_inputs(2)
        assert node.graph is not None, "it stands in the graph"
        node.replace_input(1, node.graph.add_constant(np.array(sizes, np.int64), f"{node.outputs[0].name}_sizes"))


def _write_repeats(groups: DimGroups, removal: Removal) -> None:
    """Number the indices anew that a Gather takes several times each."""
    for item in groups.follow.repeats:
        kept = groups.size(item.whole, removal), groups.size(item.copies, removal)
        if kept == (None, None):
            continue
        whole, copies = (
            cast(int, extent.size) if size is None else size
            for extent, size in zip((item.whole, item.copies), kept, strict=True)
        )
        node, old = item.node, item.node.inputs[1]
        assert node.graph is not None, "it stands in the graph"
        assert old is not None, "it has indices"
        constant = constant_of(old)
        assert constant is not None, "they are constant"
        indices = np.repeat(np.arange(whole), copies).astype(constant.numpy().dtype)
        node.replace_input(1, node.graph.add_constant(indices, old.name))
        _drop_unused(old)
