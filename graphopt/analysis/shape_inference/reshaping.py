"""Operators that only give a tensor another shape: Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Tile, and blocks of space.

A Reshape entry that is 0 copies the input's size, so an entry that is computed says its own size only where it can't be zero, or where
the input's size is zero with it, or where the input is empty with it and no other entry makes an empty shape. The last is taken to hold
if the sizes of two different names are not zero at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.broadcasting import broadcast_shapes
from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, Node, Shape, SymbolicDim, Type, dim_product, dim_quotient, lower_bound

__all__ = ["FUNCTIONS", "permuted", "reshaped"]


def _reshape(node: Node, facts: Facts) -> Sequence[Type | None]:
    stated = node.attributes.get("shape")
    target: Shape | None
    if stated is not None and isinstance(stated.value, tuple):
        target = tuple(item for item in stated.value if isinstance(item, int))
    else:
        target = facts.elements(node.input_at(1))
    if target is None:
        return (tensor(dtype_at(node, 0), None),)
    stated = node.attributes.get("allowzero")
    allow_zero = stated is not None and stated.value == 1
    have = shape_at(node, facts, 0)
    if have is not None and not allow_zero and len(target) > len(have):
        facts.note_positive(node, *target[len(have) :])  # for these a zero has no axis to copy
    return (tensor(dtype_at(node, 0), reshaped(have, target, facts, allow_zero=allow_zero)),)


def reshaped(have: Shape | None, target: Shape, facts: Facts, *, allow_zero: bool) -> Shape:
    """The shape that a Reshape gives.

    Args:
        have: shape of the input.
        target: entries, which may be 0 and -1, expressions or unknown.
        facts: which sizes are not zero.
        allow_zero: whether 0 means an axis of size 0.
    """
    found: list[Dim] = []
    for axis, entry in enumerate(target):
        present = have[axis] if have is not None and axis < len(have) else None
        if isinstance(entry, int):
            found.append(present if entry == 0 and not allow_zero else entry)
        elif entry is None or allow_zero or _is_certain(entry, present, axis, target, have, facts):
            found.append(entry)
        else:
            found.append(None)
    if -1 in target:
        return _with_rest(found, have)
    if found.count(None) == 1 and have is not None and all(dim is None or (lower_bound(dim) or 0) > 0 for dim in found):
        found[found.index(None)] = _rest(found, have)  # whether it is -1, 0 or a size: the count of elements says which
    return tuple(found)


def _with_rest(found: list[Dim], have: Shape | None) -> Shape:
    place = found.index(-1)
    found[place] = None
    if found.count(-1) == 0 and have is not None and found.count(None) == 1:
        found[place] = _rest(found, have)
    return tuple(None if dim == -1 else dim for dim in found)


def _rest(found: list[Dim], have: Shape) -> Dim:
    total, known = dim_product(have), dim_product([dim for dim in found if dim is not None])
    if total is None or known is None or known == 0:
        return None
    exact = dim_quotient(total, known)
    if exact is None and not (isinstance(total, int) and isinstance(known, int)):
        return total // known
    return exact


def _is_certain(entry: SymbolicDim, present: Dim, axis: int, target: Shape, have: Shape | None, facts: Facts) -> bool:
    """Whether an entry that may be zero can't mean another size than zero."""
    if have is not None and axis >= len(have):
        return True  # there is nothing to copy: a zero there is an error
    if present is not None and (present == entry or _vanishes_with(present, entry)):
        return True
    others = [
        (have[place] if have is not None and place < len(have) else None) if other == 0 else other
        for place, other in enumerate(target)
        if place != axis
    ]
    total = None if have is None else dim_product(have)
    if total is not None and _vanishes_with(total, entry) and all(_stays(other, entry.symbols()) for other in others):
        return True  # there is no element then, and nothing but a zero here could make a shape of none
    return facts.is_positive(entry)


def _stays(entry: Dim, names: frozenset[str]) -> bool:
    """Whether an entry is not zero because some sizes are."""
    if isinstance(entry, SymbolicDim):
        return names.isdisjoint(entry.symbols())
    return entry is not None and entry > 0


def _vanishes_with(present: Dim, entry: SymbolicDim) -> bool:
    """Whether a size is zero whenever an entry, a product of sizes, is zero."""
    if present == 0:
        return True
    if len(entry.terms) != 1 or not isinstance(present, SymbolicDim):
        return False
    factors = set(entry.terms[0][0])
    return all(factors <= set(mono) for mono, _coef in present.terms)


def _flatten(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    axis = node.int_attr("axis", 1)
    if shape is None or not -len(shape) <= axis <= len(shape):
        return (tensor(dtype_at(node, 0), (None, None)),)
    axis = axis + len(shape) if axis < 0 else axis
    return (tensor(dtype_at(node, 0), (dim_product(shape[:axis]), dim_product(shape[axis:]))),)


def _squeeze(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if shape is None:
        return (tensor(dtype, None),)
    stated = node.attributes.get("axes")
    if stated is None and node.input_at(1) is None:
        if not all(isinstance(dim, int) for dim in shape):
            return (tensor(dtype, None),)
        return (tensor(dtype, tuple(dim for dim in shape if dim != 1)),)
    axes = facts.numbers(node.input_at(1)) if stated is None else node.ints_attr("axes")
    if not axes:  # not known, or an empty list: none to the specification, all to ONNX Runtime
        return (tensor(dtype, None),)
    places = {axis + len(shape) if axis < 0 else axis for axis in axes}
    if not all(0 <= place < len(shape) for place in places):
        return (tensor(dtype, None),)
    return (tensor(dtype, tuple(dim for axis, dim in enumerate(shape) if axis not in places)),)


def _unsqueeze(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    stated = node.ints_attr("axes")
    axes = facts.elements(node.input_at(1)) if stated is None else stated
    if shape is None or axes is None:
        return (tensor(dtype, None),)
    rank = len(shape) + len(axes)
    places = {axis + rank if axis < 0 else axis for axis in axes if isinstance(axis, int)}
    if len(places) != len(axes) or not all(0 <= place < rank for place in places):
        return (tensor(dtype, (None,) * rank),)
    rest = iter(shape)
    return (tensor(dtype, tuple(1 if axis in places else next(rest) for axis in range(rank))),)


def permuted(shape: Shape, perm: Sequence[int] | None) -> Shape:
    """A shape with its axes in another order, reversed by default."""
    if perm is None:
        return shape[::-1]
    if sorted(perm) != list(range(len(shape))):
        return (None,) * len(shape)
    return tuple(shape[axis] for axis in perm)


def _transpose(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    stated = node.attributes.get("perm")
    perm = stated.value if stated is not None else None
    return (tensor(dtype_at(node, 0), None if shape is None else permuted(shape, perm)),)  # type: ignore[arg-type]  # integers


def _expand(node: Node, facts: Facts) -> Sequence[Type | None]:
    target = facts.elements(node.input_at(1))
    if target is not None:
        target = tuple(None if isinstance(dim, int) and dim < 0 else dim for dim in target)
    return (tensor(dtype_at(node, 0), broadcast_shapes([shape_at(node, facts, 0), target])),)


def _tile(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    if shape is None or (node.opset or 0) < 6:  # tiles of one axis, in opset 1
        return (tensor(dtype, None if shape is None else (None,) * len(shape)),)
    repeats = facts.elements(node.input_at(1))
    if repeats is None or len(repeats) != len(shape):
        return (tensor(dtype, (None,) * len(shape)),)
    pairs = zip(shape, repeats, strict=True)
    return (tensor(dtype, tuple(dim_product(pair) for pair in pairs)),)


def _depth_to_space(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, block = shape_at(node, facts, 0), node.int_attr("blocksize")
    if shape is None or len(shape) != 4 or block < 1:
        return (tensor(dtype_at(node, 0), (None,) * 4),)
    n, c, h, w = shape
    depth = None if c is None else c // (block * block)
    return (tensor(dtype_at(node, 0), (n, depth, dim_product((h, block)), dim_product((w, block)))),)


def _space_to_depth(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape, block = shape_at(node, facts, 0), node.int_attr("blocksize")
    if shape is None or len(shape) != 4 or block < 1:
        return (tensor(dtype_at(node, 0), (None,) * 4),)
    n, c, h, w = shape
    size = [None if dim is None else dim // block for dim in (h, w)]
    return (tensor(dtype_at(node, 0), (n, dim_product((c, block * block)), *size)),)


FUNCTIONS: dict[str, ShapeFunction] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
