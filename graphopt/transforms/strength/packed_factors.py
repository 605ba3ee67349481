"""Finds the weights behind a part of a packed product: which output channels a Split or Gather takes, through reshapes and transpositions.

Projections of queries, keys and values are often one product, reshaped to ``[batch, rows, 3, heads, size]`` and taken apart by Split or
Gather. A factor of one part goes into the columns that it comes from, if nobody else reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array, Node, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.broadcasting import static_shape
from graphopt.transforms.fusion.linear import Float64, read_linear, round_to, scale_channels
from graphopt.transforms.movement.alignment import align, order_of, reshaped_dims
from graphopt.transforms.operands import constant_ints

__all__ = ["Scaled", "scaled_constant", "weights_of_part"]

_SHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
_FARTHEST = 8
_MANY = 16
#: Terms up to this size may be kept beside the changed ones when somebody else reads them.
_TERM_BYTES = 1 << 14
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scaled:
    """A constant input and what it becomes."""

    node: Node
    position: int
    array: Array


def scaled_constant(node: Node, position: int, factor: Float64, *, shared: int) -> list[Scaled] | NoMatch:
    """A constant input multiplied, if nobody else reads it or it is small; nothing to do where it is zero.

    Args:
        node: the reader.
        position: which input.
        factor: broadcasts to the constant.
        shared: bytes up to which a copy may be made for this reader.
    """
    value = node.inputs[position]
    if value is None or not value.is_constant or value.const is None or not value.const.dtype.is_float:
        return NoMatch("an input of %s is not constant", node.op)
    numbers = value.const.numpy()
    if (factor > 0).all() and not numbers.any():
        return []
    if (value.use_count > 1 or value.is_graph_output) and value.const.nbytes > shared:
        return NoMatch("%r has other users: changing it would make a copy", value.name)
    scaled = round_to(numbers.astype(np.float64) * factor, value.const.dtype)
    if isinstance(scaled, NoMatch):
        return scaled
    return [Scaled(node, position, scaled)] if scaled.shape == numbers.shape else NoMatch("a constant would grow")


def weights_of_part(part: Value, factor: float) -> list[Scaled] | NoMatch:
    """What to change so that an output of Split or Gather, which one node reads, is multiplied by ``factor``."""
    node = part.producer
    data = None if node is None else node.inputs[0]
    shape = None if data is None else static_or_none(data)
    if node is None or data is None or shape is None or node.has_references or node.graph is None:
        return NoMatch("what the part is taken of is not known")
    axis = node.int_attr("axis", 0)
    if not -len(shape) <= axis < len(shape):
        return NoMatch("there is no axis %d", axis)
    axis %= len(shape)
    size = shape[axis]
    if size is None:
        return NoMatch("the size of axis %d is not known", axis)
    mask = np.zeros(size, np.bool_)
    if node.op == "Split":
        sizes = [None if item.shape is None else item.shape[axis] for item in node.outputs]
        numbers = [number for number in sizes if isinstance(number, int)]
        if len(numbers) < len(sizes) or sum(numbers) != size or not data.has_single_use:
            return NoMatch("sizes of the parts are not known, or others read all of them")
        start = sum(numbers[: part.index])
        mask[start : start + numbers[part.index]] = True
    else:
        if data.use_count > _MANY:
            return NoMatch("%r has %d readers", data.name, data.use_count)
        places = {user: _place(user, data, axis, size) for user in data.users}
        own = places.get(node)
        if own is None or data.is_graph_output or data.use_count != len(places) or None in places.values():
            return NoMatch("others read %r", data.name)
        if list(places.values()).count(own) > 1:
            return NoMatch("another node takes the same part")
        mask[own] = True
    return _behind(data, node, axis, mask, factor)


def static_or_none(value: Value) -> list[int | None] | None:
    """Sizes of a value, ``None`` for those that are no numbers."""
    return None if value.shape is None else [dim if isinstance(dim, int) else None for dim in value.shape]


def _place(gather: Node, data: Value, axis: int, size: int) -> int | None:
    """The element along an axis that a Gather takes of ``data``."""
    if gather.op != "Gather" or gather.inputs[0] is not data or gather.has_references or data.rank is None:
        return None
    index = gather.inputs[1]
    found = None if index is None else constant_ints(index)
    if gather.int_attr("axis", 0) % data.rank != axis or not isinstance(found, tuple) or len(found) != 1:
        return None
    return found[0] % size if -size <= found[0] < size else None


def _behind(data: Value, reader: Node, axis: int, mask: Mask, factor: float) -> list[Scaled] | NoMatch:
    """What to change so that the elements of ``data`` at the places ``mask`` along an axis are multiplied."""
    terms: list[Scaled] = []
    for _ in range(_FARTHEST):
        node = data.producer
        if node is None or node.graph is not reader.graph or node.has_references or node.domain:
            return NoMatch("no weights are behind the part")
        linear = read_linear(node, scaled=True)
        if not isinstance(linear, NoMatch):
            if linear.rank is None or axis != linear.channel_axis % linear.rank or len(mask) != linear.channels:
                return NoMatch("the part is not one of output channels")
            return _scaled_weights(node, np.where(mask, factor, 1.0), terms)
        moved = _through(node, axis, mask)
        if isinstance(moved, NoMatch):
            return moved
        data, axis, mask = moved
        if node.op == "Add":
            term = _scaled_term(node, data, axis, np.where(mask, factor, 1.0))
            if isinstance(term, NoMatch):
                return term
            terms += term
        if not data.has_single_use:
            return NoMatch("others read %r", data.name)
    return NoMatch("weights are too far away")


def _through(node: Node, axis: int, mask: Mask) -> tuple[Value, int, Mask] | NoMatch:
    """The input of a node, with the places along one of its axes that become those places of the output."""
    x = node.inputs[0] if node.inputs else None
    if x is None or x.shape is None:
        return NoMatch("the shape of an input is not known")
    if node.op == "Transpose":
        order = order_of(node, len(x.shape))
        return NoMatch("the order of axes does not fit") if order is None else (x, order[axis], mask)
    if node.op in _SHAPES:
        joined = reshaped_dims(node)
        blocks = () if joined is None else align(x.shape, joined)
        block = next((block for block in blocks if axis in block.new), None)
        sizes = None if block is None or joined is None else static_shape(joined[block.new.start : block.new.stop])
        if block is None or sizes is None or len(block.old) != 1 or x.shape[block.old[0]] != np.prod(sizes):
            return NoMatch("axis %d is not a part of one axis of %s", axis, x.type)
        along = mask.reshape([-1 if place == axis else 1 for place in block.new])
        return x, block.old[0], np.broadcast_to(along, sizes).reshape(-1)
    if node.op == "Add":
        data = next((item for item in node.inputs if item is not None and not item.is_constant), None)
        return NoMatch("both terms are constant") if data is None else (data, axis, mask)
    return NoMatch("%s is between the part and its weights", node.op)


def _scaled_term(add: Node, data: Value, axis: int, factor: Float64) -> list[Scaled] | NoMatch:
    """The constant that is added to ``data``, multiplied along an axis."""
    position = 1 if add.inputs[0] is data else 0
    term = add.inputs[position]
    if term is None or not term.is_constant or term.shape is None or add.output.rank is None:
        return NoMatch("no term is constant")
    if data.rank != add.output.rank or len(term.shape) > add.output.rank:
        return NoMatch("a term may broadcast the sum")
    behind = add.output.rank - 1 - axis
    if len(term.shape) <= behind or term.shape[len(term.shape) - 1 - behind] != len(factor):
        return NoMatch("the term does not vary along axis %d", axis)
    return scaled_constant(add, position, factor.reshape(-1, *[1] * behind), shared=_TERM_BYTES)


def _scaled_weights(node: Node, factor: Float64, terms: list[Scaled]) -> list[Scaled] | NoMatch:
    linear = read_linear(node, scaled=True)
    scaled = linear if isinstance(linear, NoMatch) else scale_channels(linear, factor)
    if isinstance(scaled, NoMatch):
        return scaled
    found = list(terms)
    if scaled.new_weight is not None:
        found.append(Scaled(node, 1, scaled.new_weight))
    if scaled.new_bias is not None:
        if scaled.bias is None or scaled.bias.const is None or scaled.bias.const.shape[-1:] != factor.shape:
            return NoMatch("the bias is not one number for each channel")
        bias = scaled_constant(node, 2, factor, shared=_TERM_BYTES)
        if isinstance(bias, NoMatch):
            return bias
        found += bias
    return found
