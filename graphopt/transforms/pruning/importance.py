"""How much the indices of a group matter, by one of several criteria; comparable between groups.

Each weight that makes (or contracts) a group gives one number for each index; they are divided by their mean over the group and
averaged over the weights, so that a group counts the same however large its weights are and however many there are.

| criterion | number of an index | source |
|---|---|---|
| `l1`, `l2` | norm of the weights that make it | Li et al., Pruning Filters for Efficient ConvNets, 2017, section 3.1 |
| `bn-scale` | magnitude of the scale of its BatchNormalization, or `l2` where there is none | Liu et al., Network Slimming, 2017 |
| `activation-energy` | mean square of it, times the squares of the weights that contract it | Sun et al., Wanda, 2023, section 3 |
| `reconstruction` | error of the outputs without it, the other weights fitted anew | Hassibi, Stork, Optimal Brain Surgeon, 1993 |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from graphopt.analysis.dim_groups import DimGroup, DimGroups, Extent, Leaf, Member, per_leaf
from graphopt.ir import Graph, Value
from graphopt.ir.constant_nodes import constant_of
from graphopt.passes import Observer, PassContext
from graphopt.rewriting import NoMatch
from graphopt.transforms.pruning.elimination import eliminated
from graphopt.transforms.pruning.weight_values import weight_values
from graphopt.transforms.statistics import ChannelMoments, Gram, LayerInput, observed, read_layer

__all__ = ["CRITERIA", "Float64", "importance"]

Float64 = npt.NDArray[np.float64]

#: Columns of a layer above which second moments between channels are not looked at.
_MOST_COLUMNS = 2560
#: Noise that each column is taken to have, as part of its variance: what is left is not what it was when others are gone.
_DAMPING = 0.02


def importance(
    criterion: str, graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext
) -> dict[DimGroup, Float64]:
    """How much each index of some groups matters.

    Args:
        criterion: one of :data:`CRITERIA`.
        graph: the main graph.
        groups: all its groups.
        chosen: those asked for.
        ctx: has data, for criteria that look at activations.

    Returns:
        float64 [size] for each group, with mean 1 unless all are 0.

    Raises:
        CalibrationError: if data is needed, and there is none or it does not fit.
    """
    scores = CRITERIA[criterion](graph, groups, chosen, ctx)
    return {group: _averaged(scores[group], group.size) for group in chosen}


def _averaged(found: Sequence[Float64], size: int) -> Float64:
    parts = [part / part.mean() for part in found if part.mean() > 0 and np.isfinite(part).all()]
    return np.mean(parts, axis=0) if parts else np.ones(size)


_Scores = Mapping[DimGroup, Sequence[Float64]]
_Criterion = Callable[[Graph, DimGroups, Sequence[DimGroup], PassContext], _Scores]


class _Weights:
    """Sums of powers of the magnitudes of weights for each index; each axis of each weight is looked at once."""

    def __init__(self, groups: DimGroups, power: float) -> None:
        self._groups, self._power = groups, power
        self._sums: dict[tuple[Value, int], Mapping[Leaf, Float64]] = {}

    def of(self, group: DimGroup, member: Member) -> Float64:
        """float64 [size of the group]."""
        key = member.value, member.axis
        if key not in self._sums:
            self._sums[key] = self._look(member)
        found = self._sums[key].get(group.leaf)
        return np.zeros(group.size) if found is None else found

    def _look(self, member: Member) -> Mapping[Leaf, Float64]:
        values = weight_values(member.value)
        if values is None:
            return {}
        sizes = np.abs(values) ** self._power
        others = tuple(axis for axis in range(sizes.ndim) if axis != member.axis)
        return per_leaf(self._groups.follow.extents, _axis(self._groups, member), sizes.sum(axis=others))


def _axis(groups: DimGroups, member: Member) -> Extent:
    axes = groups.follow.known()[member.value]
    assert axes is not None, "members have axes"
    return axes[member.axis]


def _norms(power: float) -> _Criterion:
    def criterion(graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext) -> _Scores:
        weights = _Weights(groups, power)
        return {group: [weights.of(group, member) ** (1 / power) for member in group.producers] for group in chosen}

    return criterion


def _scales(graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext) -> _Scores:
    norms, weights = _norms(2)(graph, groups, chosen, ctx), _Weights(groups, 1)
    found: dict[DimGroup, Sequence[Float64]] = {}
    for group in chosen:
        scales = [weights.of(group, member) for member in group.members if member.kind == "scale"]
        found[group] = scales or norms[group]
    return found


def _readers(groups: DimGroups, group: DimGroup, graph: Graph) -> Iterator[tuple[Member, Value, int]]:
    """The weights of the main graph that contract a group, with the tensor that they are multiplied by, and its axis."""
    extents = groups.follow.extents
    for member in group.consumers:
        if member.node is None or member.node.graph is not graph:
            continue
        for value in member.node.inputs:
            axes = None if value is None or groups.follow.is_weight(value) else groups.follow.axes(value)
            for axis, extent in enumerate(axes or ()):
                if value is not None and any(leaf is group.leaf for leaf in extents.leaves(extent)):
                    yield member, value, axis
                    break


def _energies(graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext) -> _Scores:
    seen: dict[tuple[Value, int], ChannelMoments] = {}
    for group in chosen:
        for _member, value, axis in _readers(groups, group, graph):
            seen.setdefault((value, axis), ChannelMoments(axis))
    observed("prune-channels", graph, ctx, [(value, moments) for (value, _axis), moments in seen.items()])
    weights = _Weights(groups, 2)
    energies = {
        (value, axis): per_leaf(groups.follow.extents, axes[axis], moments.energy)
        for (value, axis), moments in seen.items()
        if moments.count and (axes := groups.follow.axes(value)) is not None
    }
    return {
        group: [
            energies[value, axis][group.leaf] * weights.of(group, member)
            for member, value, axis in _readers(groups, group, graph)
            if (value, axis) in energies
        ]
        for group in chosen
    }


def _reconstruction(graph: Graph, groups: DimGroups, chosen: Sequence[DimGroup], ctx: PassContext) -> _Scores:
    layers: dict[DimGroup, list[tuple[Member, LayerInput]]] = {}
    seen: dict[object, Gram] = {}
    wanted: list[tuple[Value, Observer]] = []
    for group in chosen:
        layers[group] = []
        for member in group.consumers:
            layer = NoMatch("") if member.node is None or member.node.graph is not graph else read_layer(member.node)
            if isinstance(layer, NoMatch) or layer.groups > 1 or layer.columns > _MOST_COLUMNS:
                continue
            layers[group].append((member, layer))
            if layer.reads not in seen:
                seen[layer.reads] = Gram(layer)
                wanted.append((layer.value, seen[layer.reads]))
    observed("prune-channels", graph, ctx, wanted)
    without = [group for group in chosen if not layers[group]]
    found: dict[DimGroup, Sequence[Float64]] = dict(_energies(graph, groups, without, ctx)) if without else {}
    errors: dict[LayerInput, Mapping[Leaf, Float64]] = {}
    for group, readers in layers.items():
        for member, layer in readers:
            if layer not in errors:
                lost = _errors(layer, seen[layer.reads])
                errors[layer] = per_leaf(groups.follow.extents, _axis(groups, member), lost)
        if readers:
            found[group] = [errors[layer][group.leaf] for _member, layer in readers]
    return found


def _errors(layer: LayerInput, gram: Gram) -> Float64:
    """What the outputs lose with each input channel when bias and weights of the others are fitted anew: float64 [channels]."""
    constant = constant_of(layer.weight)
    assert constant is not None, "the weights were found to be constant"
    weights = layer.matrix(constant.numpy().astype(np.float64))[0]
    moments = gram.moments[0] - np.outer(gram.mean[0], gram.mean[0]) if gram.count else np.eye(layer.columns)
    variances = np.diagonal(moments)
    damping = _DAMPING * variances + max(1e-6 * float(variances.mean()), 1e-12)
    channels = constant.shape[1] if layer.node.op == "Conv" else layer.columns
    return eliminated(weights, np.linalg.inv(moments + np.diag(damping)), channels)


CRITERIA: Mapping[str, _Criterion] = {
    "l1": _norms(1),
    "l2": _norms(2),
    "bn-scale": _scales,
    "activation-energy": _energies,
    "reconstruction": _reconstruction,
}
