"""The largest and smallest: ArgMax, ArgMin, TopK. TensorRT takes two axes and more, and at most 3,840 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from graphopt.backends.tensorrt.converters.operands import constants, dtype_of, fixed_inputs, integers
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = ["arg", "top_k"]

_MOST: Final = 3840


def _ranked(e: Emitter, x: Tensor, op: str, k: int, axis: int) -> tuple[Tensor, Tensor]:
    """Numbers and places, int64, along an axis."""
    x = e.plain(x)
    vector = e.rank(x) == 1
    if vector:
        x, axis = e.unsqueeze(x, [0]), 1
    layer = e.check(e.network.add_topk(x, e.api.enum("TopKOperation", op), k, 1 << axis))
    found = [layer.get_output(place) for place in (0, 1)]
    if vector:
        found = [e.squeeze(item, [0]) for item in found]
    return found[0], e.cast(found[1], DType.INT64)


def _ends_known(node: Node) -> str | None:
    if not node.int_attr("select_last_index", 0):
        return None
    return fixed_inputs(0)(node)


@lower("ArgMax", "ArgMin", supports=_ends_known)
def arg(e: Emitter, node: Node) -> Sequence[Tensor]:
    """The first of one; the last of equal ones is the first from the other end."""
    x = e.input(node, 0)
    if not e.rank(x):
        return [e.constant(np.array(0, np.int64))]
    axis, last = e.axis(node.int_attr("axis", 0), x), node.int_attr("select_last_index", 0)
    if last:
        x = _reversed(e, x, axis)
    _, places = _ranked(e, x, "MAX" if node.op_type == "ArgMax" else "MIN", 1, axis)
    if last:
        size = x.shape[axis]
        most = e.constant(np.array(size - 1, np.int64).reshape((1,) * e.rank(x)))
        places = e.elementwise(most, places, "SUB")
    return [places if node.int_attr("keepdims", 1) else e.squeeze(places, [axis])]


def _reversed(e: Emitter, x: Tensor, axis: int) -> Tensor:
    if -1 in tuple(x.shape):
        raise e.fail("select_last_index of sizes that are not known")
    rank, size = e.rank(x), x.shape[axis]
    start = [size - 1 if place == axis else 0 for place in range(rank)]
    stride = [-1 if place == axis else 1 for place in range(rank)]
    return e.out(e.network.add_slice(x, start, tuple(x.shape), stride))


def _k(node: Node) -> int | None:
    found = integers(node, "k", 1)
    return found[0] if found else None


def _takes_k(node: Node) -> str | None:
    k = _k(node)
    if k is not None and k > _MOST:
        return f"k is {k}, TensorRT takes {_MOST} at most"
    if k == 0:
        return "k is 0"
    return constants(1)(node)


def _takes_topk(node: Node) -> str | None:
    dtype = dtype_of(node.input_at(0))
    if dtype is DType.BOOL:
        return f"TopK of {dtype}"
    return _takes_k(node)


@lower("TopK", supports=_takes_topk)
def top_k(e: Emitter, node: Node) -> Sequence[Tensor]:
    """One layer; sorted, whether that is asked for or not."""
    x, k = e.input(node, 0), _k(node)
    assert k is not None, "supports() says that it is constant"
    return list(_ranked(e, x, "MAX" if node.int_attr("largest", 1) else "MIN", k, e.axis(node.int_attr("axis", -1), x)))
