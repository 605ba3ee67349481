"""Whether a core is attention of several heads: factors split in batch, heads, positions and numbers, with sizes that agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import DType, Node, Shape, Value
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.attention.bounds import largest_magnitude
from graphopt.transforms.fusion.attention.core import Core, Mask, find_core
from graphopt.transforms.fusion.attention.layouts import Factor, Layout, is_reshape, trace
from graphopt.transforms.fusion.attention.levels import levels_of
from graphopt.transforms.fusion.attention.masks import BiasPlan, plan_bias
from graphopt.transforms.fusion.attention.repeats import repeated

__all__ = ["Joined", "Plan", "find_join", "fits", "is_finite", "joined_product", "make_plan", "takes_types"]

_SWAPPED = (0, 2, 1, 3)


@dataclass(slots=True)
class Plan:
    """What an operator for attention needs to know.

    Attributes:
        core: what was found.
        query: where the query comes from.
        key: where the keys come from.
        value: where the values come from.
        heads: how many.
        size: numbers in a head of query and keys.
        value_size: numbers in a head of values.
        bias: what is added to scores.
        flat: whether batch and heads are in one axis of the product, taken as a batch of single heads.
    """

    core: Core
    query: Factor
    key: Factor
    value: Factor
    heads: int
    size: int
    value_size: int
    bias: BiasPlan
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """A Reshape that joins the heads of a product.

    Attributes:
        product: the product.
        result: what it gives.
        nodes: what lies between.
        single: whether nothing is moved, as for a single head or a single position.
        split: the shape in which batch and heads, in one axis of the product, are apart again.
    """

    product: Node
    result: Value
    nodes: tuple[Node, ...]
    single: bool = False
    split: Shape | None = None


def make_plan(product: Node, joined: Joined | None) -> Plan | NoMatch:
    """What is needed to write the attention that ends in a product.

    Args:
        product: the product with the values.
        joined: what joins its heads, if that is to go too.
    """
    core = find_core(product)
    if isinstance(core, NoMatch):
        return core
    rank = core.query.rank
    if rank not in (3, 4) or rank != core.key.rank or rank != core.value.rank:
        return NoMatch("factors have ranks %s, %s and %s", rank, core.key.rank, core.value.rank)
    query = trace(core.query, Layout.FSH if rank == 3 else Layout.BNSH, scales=True)
    key = trace(core.key, Layout.FHS if rank == 3 else Layout.BNHS, scales=True)
    value = trace(core.value, Layout.FSH if rank == 3 else Layout.BNSH, scales=False)
    for factor in (key, value):
        _note_length(factor)
    heads, factors = query.number("N"), (query, key, value)
    flat = rank == 3 and not (heads and all(item.number("N") == heads and item.sizes.get("B") for item in factors))
    if flat:
        if any(mask.rank > 3 for mask in core.masks):
            return NoMatch("batch and heads are in one axis of the factors, but not of the mask")
        heads = 1
        for factor in factors:
            factor.as_one_head()
    size, value_size = query.number("H"), value.number("H")
    if not heads or not size or not value_size or any(item.number("N") != heads for item in factors):
        return NoMatch("%s heads of %s numbers, values of %s", heads, size, value_size)
    if key.number("H") != size or not query.agrees("B", key) or not query.agrees("B", value):
        return NoMatch("factors do not certainly agree: %s, %s, %s", query.sizes, key.sizes, value.sizes)
    if not key.agrees("S", value):
        return NoMatch("keys and values do not certainly agree: %s, %s", key.sizes, value.sizes)
    certain = joined is not None and fits(joined, query, heads, value_size)
    if joined is not None and not certain:
        return NoMatch("%s does not certainly join %d heads", joined.result.type, heads)
    bias = plan_bias(core.masks, query, key, heads, joined=certain)
    if isinstance(bias, NoMatch):
        return bias
    return Plan(core, query, key, value, heads, size, value_size, bias, flat)


def takes_types(core: Core) -> bool:
    """Whether queries, values and masks are all float32, or all float16."""
    dtype = core.query.dtype
    same = core.value.dtype is dtype and all(
        mask.filler is not None or mask.value.dtype is dtype for mask in core.masks
    )
    return same and (dtype is DType.FLOAT or (dtype is DType.FLOAT16 and core.product.output.dtype is dtype))


def is_finite(core: Core) -> bool:
    """Whether masks, together, are finite, so that no row of scores can be -inf throughout for finite factors."""
    return sum(map(_bound, core.masks)) <= float(np.finfo(np.float32).max)


def _bound(mask: Mask) -> float:
    """The largest magnitude of a number of a mask."""
    if mask.filler is not None:
        return abs(mask.filler)
    levels = levels_of(mask.value)
    if levels is None:
        return largest_magnitude(mask.value)
    return max((abs(low) for low in levels.lows), default=levels.bound)


def _note_length(factor: Factor) -> None:
    """Take down how many positions there are where heads were repeated: the target of a Reshape may not say."""
    seen = factor.seen.get(Layout.BNSH)
    source = None if seen is None else repeated(seen.value)
    if source is not None and source.shape is not None and source.shape[2] is not None:
        factor.sizes.setdefault("S", []).append(source.shape[2])


def joined_product(node: Node, op: str = "MatMul") -> Joined | None:
    """The product whose heads a Reshape joins, by its form: BNSH (or FSH) becomes BSNH, then BSD."""
    source = node.inputs[0]
    if source is None or source.rank != 4 or node.output.rank != 3:
        return None
    inner = _inner(source, node)
    if inner is None or inner.op == op:  # a single head, or a single position, needs no moving
        return None if inner is None else Joined(inner, node.output, (), single=True)
    if inner.op != "Transpose" or inner.has_references or inner.ints_attr("perm") != _SWAPPED:
        return None
    moved = inner.inputs[0]
    product = None if moved is None else _inner(moved, node)
    if moved is None or product is None:
        return None
    if product.op == op:
        return Joined(product, node.output, (inner,))
    flat = product.inputs[0]
    if not is_reshape(product) or flat is None or flat.rank != 3:
        return None
    last = _inner(flat, node)
    if last is None or last.op != op:
        return None
    return Joined(last, node.output, (inner, product), split=moved.shape)


def fits(joined: Joined, query: Factor, heads: int, size: int) -> bool:
    """Whether the result has the batch and the rows of the query, and all numbers of all heads in one axis."""
    shape = joined.result.shape
    if shape is None or (joined.single and heads != 1 and query.number("S") != 1):
        return False
    if joined.split is not None and joined.split[1] != heads:
        return False
    last = shape[2] if isinstance(shape[2], int) else _pinned(joined.result)
    return last == heads * size and query.has_size("B", shape[0]) and query.has_size("S", shape[1])


def _pinned(value: Value) -> int | None:
    """Size of the last axis that a product with a constant demands."""
    for node in value.users:
        weight = node.inputs[1] if node.op == "MatMul" and node.inputs[0] is value else None
        if weight is not None and weight.is_constant and weight.shape and len(weight.shape) == 2:
            return weight.shape[0] if isinstance(weight.shape[0], int) else None
    return None


def find_join(product: Node) -> Joined | None:
    """The Reshape that joins the heads of a product, if there is one."""
    value = product.output
    for _ in range(3):
        if not value.has_single_use:
            return None
        (user,) = value.users
        if user.graph is not product.graph or not (user.op == "Transpose" or is_reshape(user)):
            return None
        if user.op == "Reshape" and user.output.rank == 3:
            found = joined_product(user)
            return found if found is not None and found.product is product else None
        value = user.output
    return None


def _inner(value: Value, root: Node) -> Node | None:
    """The producer of a value with a single reader, in the graph of the root."""
    node = value.producer if value.has_single_use else None
    return node if node is not None and node.graph is root.graph else None
