"""How operators act on small integer tensors: one function an operator, given the node, the output asked for and the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphopt.analysis.integers import MAX_ELEMENTS, Integers, broadcast
from graphopt.ir import (
    Array,
    Constant,
    Dim,
    DType,
    Node,
    SymbolicDim,
    dim_max,
    dim_min,
    dim_product,
    dim_quotient,
    is_nonnegative,
    lower_bound,
)

__all__ = ["EVALUATORS", "axes_of"]

Inputs = Sequence[Integers | None]
Evaluator = Callable[[Node, int, Inputs], Integers | None]

_LIMITS = {
    DType.INT64: (-(1 << 63), (1 << 63) - 1),
    DType.INT32: (-(1 << 31), (1 << 31) - 1),
    DType.INT16: (-(1 << 15), (1 << 15) - 1),
    DType.INT8: (-128, 127),
    DType.UINT8: (0, 255),
    DType.UINT16: (0, (1 << 16) - 1),
    DType.UINT32: (0, (1 << 32) - 1),
}
_EXACT_IN_DOUBLE = 1 << 53
#: No axis is taken to be longer; in 8 or 16 bits a size may wrap around.
_MOST_OF_A_SIZE = (1 << 31) - 1


def _at(inputs: Inputs, index: int) -> Integers | None:
    return inputs[index] if index < len(inputs) else None


def axes_of(node: Node, inputs: Inputs, position: int = 1) -> tuple[int, ...] | None:
    """Axes of a node, stated as an attribute in older opsets and as an input in newer ones; ``None`` when not known."""
    stated = node.ints_attr("axes")
    if stated is not None:
        return stated
    given = _at(inputs, position)
    return None if given is None else given.numbers


def _fits(result: Integers | None, node: Node) -> Integers | None:
    """Numbers that overflow their type are not known; an expression over sizes is taken to fit in 64 bits, a size in 32."""
    if result is None:
        return None
    dtype = node.output.dtype
    low, high = _LIMITS.get(dtype, _LIMITS[DType.INT64]) if dtype is not None else _LIMITS[DType.INT64]
    narrow = dtype is not None and dtype is not DType.INT64
    kept: list[Dim] = []
    for item in result.elements:
        if isinstance(item, int):
            known = low <= item <= high
        else:
            known = not narrow or (high >= _MOST_OF_A_SIZE and _is_plain(item))
        kept.append(item if known else None)
    return Integers(result.shape, tuple(kept))


def _is_plain(item: Dim) -> bool:
    return isinstance(item, SymbolicDim) and item.name is not None


def _shape(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    dims = inputs[0]
    assert dims is not None  # the caller gives the sizes
    rank = len(dims.elements)
    start, end = node.attr("start"), node.attr("end")
    first = start if isinstance(start, int) else 0
    last = end if isinstance(end, int) else rank
    first = min(max(first + rank if first < 0 else first, 0), rank)
    last = min(max(last + rank if last < 0 else last, 0), rank)
    picked = dims.elements[first : max(last, first)]
    return Integers((len(picked),), picked)


def _size(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    dims = inputs[0]
    return None if dims is None else Integers((), (dim_product(dims.elements),))


def _same(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    return inputs[0]


def _constant(node: Node, _output: int, _inputs: Inputs) -> Integers | None:
    value = node.attributes.get("value")
    if value is not None and isinstance(value.value, Constant):
        constant = value.value
        if constant.dtype not in (*_LIMITS, DType.BOOL) or constant.size > MAX_ELEMENTS:
            return None
        return Integers(constant.shape, tuple(int(item) for item in constant.numpy().reshape(-1).tolist()))
    one = node.attributes.get("value_int")
    if one is not None and isinstance(one.value, int):
        return Integers((), (one.value,))
    many = node.ints_attr("value_ints")
    return Integers((len(many),), many) if many is not None and len(many) <= MAX_ELEMENTS else None


def _cast(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    source = inputs[0]
    if source is None or node.output.dtype not in (*_LIMITS, DType.BOOL):
        return None
    if node.output.dtype is DType.BOOL:
        kept = tuple(None if not isinstance(item, int) else int(item != 0) for item in source.elements)
        return Integers(source.shape, kept)
    return _fits(source, node)


def _gather(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, indices = _at(inputs, 0), _at(inputs, 1)
    stated = node.attributes.get("axis")
    axis = stated.value if stated is not None else 0
    numbers = None if indices is None else indices.numbers
    if data is None or indices is None or numbers is None or not isinstance(axis, int):
        return None
    if not -data.rank <= axis < data.rank:
        return None
    size = data.shape[axis]
    if any(not -size <= item < size for item in numbers):
        return None
    if data.rank == 1:
        return Integers(indices.shape, tuple(data.elements[item] for item in numbers))
    return _from_array(np.take(data.array(), np.array(numbers, np.int64).reshape(indices.shape), axis))


def _slice(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data = inputs[0]
    if data is None:
        return None
    starts, ends = node.ints_attr("starts"), node.ints_attr("ends")
    axes, steps = node.ints_attr("axes"), None
    if starts is None:
        given = [_at(inputs, position) for position in range(1, 5)]
        if (
            given[0] is None
            or given[1] is None
            or any(len(node.inputs) > i + 1 and node.inputs[i + 1] and not given[i] for i in (2, 3))
        ):
            return None
        starts, ends = given[0].numbers, given[1].numbers
        axes = None if given[2] is None else given[2].numbers
        steps = None if given[3] is None else given[3].numbers
        if (given[2] is not None and axes is None) or (given[3] is not None and steps is None):
            return None
    if starts is None or ends is None:
        return None
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        return None
    picked: list[slice] = [slice(None)] * data.rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if not -data.rank <= axis < data.rank or (step < 0 and end >= _MOST_OF_A_SIZE):
            return None  # backwards, the largest integer as an end is the start to ONNX Runtime
        picked[axis] = slice(start, end, step)
    return _from_array(data.array()[tuple(picked)])


def _concat(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    parts = [item for item in inputs if item is not None]
    if len(parts) != len(inputs) or not parts or sum(len(item.elements) for item in parts) > MAX_ELEMENTS:
        return None
    if all(item.rank == 1 for item in parts):
        elements = tuple(element for item in parts for element in item.elements)
        return Integers((len(elements),), elements)
    axis = node.attr("axis")
    try:
        return _from_array(np.concatenate([item.array() for item in parts], axis if isinstance(axis, int) else 1))
    except ValueError:  # sizes that don't fit
        return None


def _transpose(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, perm = inputs[0], node.ints_attr("perm")
    if data is None or (perm is not None and sorted(perm) != list(range(data.rank))):
        return None
    return _from_array(data.array().transpose(perm))


def _from_array(array: Array) -> Integers:
    return Integers(array.shape, tuple(array.reshape(-1).tolist()))


def _unsqueeze(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, axes = inputs[0], axes_of(node, inputs)
    if data is None or axes is None:
        return None
    rank = data.rank + len(axes)
    places = {axis + rank if axis < 0 else axis for axis in axes}
    if len(places) != len(axes) or any(not 0 <= place < rank for place in places):
        return None
    sizes = iter(data.shape)
    return data.reshaped(tuple(1 if axis in places else next(sizes) for axis in range(rank)))


def _squeeze(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data = inputs[0]
    if data is None:
        return None
    stated = node.ints_attr("axes") is not None or node.input_at(1) is not None
    axes = axes_of(node, inputs) if stated else tuple(axis for axis, size in enumerate(data.shape) if size == 1)
    if not axes and (axes is None or stated):  # an empty list: none to the specification, all to ONNX Runtime
        return None
    places = {axis + data.rank if axis < 0 else axis for axis in axes}
    if any(not 0 <= place < data.rank or data.shape[place] != 1 for place in places):
        return None
    return data.reshaped(tuple(size for axis, size in enumerate(data.shape) if axis not in places))


def _reshape(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, target = _at(inputs, 0), _at(inputs, 1)
    stated = node.ints_attr("shape")
    numbers = stated if stated is not None else None if target is None else target.numbers
    if data is None or numbers is None or 0 in numbers:
        return None
    if -1 in numbers:
        rest = math.prod(item for item in numbers if item != -1)
        if rest <= 0 or len(data.elements) % rest:
            return None
        numbers = tuple(len(data.elements) // rest if item == -1 else item for item in numbers)
    return data.reshaped(numbers)


def _split(node: Node, output: int, inputs: Inputs) -> Integers | None:
    data = inputs[0]
    if data is None or data.rank != 1:
        return None
    given = _at(inputs, 1)
    sizes = node.ints_attr("split") or (None if given is None else given.numbers)
    if sizes is None:
        if node.input_at(1) is not None or len(data.elements) % len(node.outputs):
            return None
        sizes = (len(data.elements) // len(node.outputs),) * len(node.outputs)
    if len(sizes) != len(node.outputs) or sum(sizes) != len(data.elements):
        return None
    start = sum(sizes[:output])
    return Integers((sizes[output],), data.elements[start : start + sizes[output]])


def _binary(function: Callable[[int | SymbolicDim, int | SymbolicDim], Dim]) -> Evaluator:
    def on_elements(a: Dim, b: Dim) -> Dim:
        return None if a is None or b is None else function(a, b)

    def evaluate(node: Node, _output: int, inputs: Inputs) -> Integers | None:
        a, b = _at(inputs, 0), _at(inputs, 1)
        return None if a is None or b is None or len(inputs) != 2 else _fits(broadcast(a, b, on_elements), node)

    return evaluate


def _divide(a: int | SymbolicDim, b: int | SymbolicDim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if not is_nonnegative(a):
        return None
    if isinstance(b, int):
        return a // b if b > 0 else None
    return dim_quotient(a, b) if is_nonnegative(b) else None  # no run divides by zero


def _modulo(a: int | SymbolicDim, b: int | SymbolicDim) -> Dim:
    if isinstance(b, int) and b > 0 and is_nonnegative(a):
        return a % b
    return None


def _equal(a: int | SymbolicDim, b: int | SymbolicDim) -> Dim:
    if a == b:
        return 1
    above, below = lower_bound(a - b), lower_bound(b - a)
    return 0 if (above is not None and above > 0) or (below is not None and below > 0) else None


def _greater(least: int) -> Callable[[int | SymbolicDim, int | SymbolicDim], Dim]:
    """Whether the first is larger by ``least`` or more."""

    def compare(a: int | SymbolicDim, b: int | SymbolicDim) -> Dim:
        above, below = lower_bound(a - b), lower_bound(b - a)
        if above is not None and above >= least:
            return 1
        return 0 if below is not None and below > -least else None

    return compare


def _swapped(
    function: Callable[[int | SymbolicDim, int | SymbolicDim], Dim],
) -> Callable[[int | SymbolicDim, int | SymbolicDim], Dim]:
    return lambda a, b: function(b, a)


def _negate(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data = inputs[0]
    if data is None:
        return None
    return _fits(Integers(data.shape, tuple(None if item is None else -item for item in data.elements)), node)


def _clip(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, least, most = (_at(inputs, place) for place in range(3))
    if data is None or any(node.input_at(place) is not None and not _at(inputs, place) for place in (1, 2)):
        return None
    low, high = (
        None if bound is None else bound.elements[0] if len(bound.elements) == 1 else None for bound in (least, most)
    )
    if (least is not None and low is None) or (most is not None and high is None) or "min" in node.attributes:
        return None

    def clipped(item: Dim) -> Dim:
        if item is None:
            return None
        raised = item if low is None else dim_max(item, low)
        return raised if high is None else dim_min(raised, high)

    return _fits(Integers(data.shape, tuple(map(clipped, data.elements))), node)


def _not(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data = inputs[0]
    if data is None:
        return None
    return Integers(data.shape, tuple(1 - item if isinstance(item, int) else None for item in data.elements))


def _where(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    if len(inputs) != 3 or any(item is None for item in inputs):
        return None
    condition, yes, no = inputs
    assert condition is not None
    assert yes is not None
    assert no is not None
    shape = max((condition.shape, yes.shape, no.shape), key=lambda sizes: (len(sizes), sizes))
    count = math.prod(shape)
    if any(item.shape != shape and len(item.elements) != 1 for item in (condition, yes, no)):
        return None
    spread = [item.elements if item.shape == shape else item.elements * count for item in (condition, yes, no)]
    picked: list[Dim] = []
    for test, a, b in zip(*spread, strict=True):
        same = a is not None and a == b
        picked.append(a if same else None if not isinstance(test, int) else a if test else b)
    return Integers(shape, tuple(picked))


def _constant_of_shape(node: Node, _output: int, inputs: Inputs) -> Integers | None:
    sizes = None if inputs[0] is None else inputs[0].numbers
    value = node.attr("value")
    if sizes is None or not isinstance(value, Constant) or value.dtype not in (*_LIMITS, DType.BOOL) or value.size != 1:
        return None
    count = math.prod(sizes)
    if count > MAX_ELEMENTS or any(size < 0 for size in sizes):
        return None
    return Integers(sizes, (int(value.numpy().reshape(-1)[0]),) * count)


def _range(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    numbers = [None if item is None else item.numbers for item in inputs]
    if len(numbers) != 3 or any(item is None or len(item) != 1 for item in numbers):
        return None
    start, limit, delta = (item[0] for item in numbers if item is not None)
    if delta == 0 or (limit - start) // delta > MAX_ELEMENTS:
        return None
    found = tuple(range(start, limit, delta))
    return Integers((len(found),), found)


def _expand(_node: Node, _output: int, inputs: Inputs) -> Integers | None:
    data, target = _at(inputs, 0), _at(inputs, 1)
    sizes = None if target is None else target.numbers
    if data is None or sizes is None or len(data.elements) != 1 or data.rank > len(sizes):
        return None
    count = math.prod(sizes)
    return Integers(sizes, data.elements * count) if 0 <= count <= MAX_ELEMENTS else None


def _reduce(function: Callable[[Dim, Dim], Dim], start: Dim) -> Evaluator:
    def evaluate(node: Node, _output: int, inputs: Inputs) -> Integers | None:
        data = inputs[0]
        if data is None or data.rank != 1 or not data.elements:
            return None
        stated = node.ints_attr("axes") is not None or node.input_at(1) is not None
        axes = axes_of(node, inputs) if stated else None
        if stated and axes not in ((0,), (-1,)):
            return None
        if not stated and node.attr("noop_with_empty_axes") == 1:
            return None
        if sum(abs(item) for item in data.elements if isinstance(item, int)) > _EXACT_IN_DOUBLE:
            return None  # ONNX Runtime computes some of these as doubles
        total = start if start is not None else data.elements[0]
        for item in data.elements if start is not None else data.elements[1:]:
            total = function(total, item)
        return _fits(Integers((1,) if node.attr("keepdims") == 1 else (), (total,)), node)

    return evaluate


def _known(function: Callable[[int | SymbolicDim, int | SymbolicDim], Dim]) -> Callable[[Dim, Dim], Dim]:
    return lambda a, b: None if a is None or b is None else function(a, b)


EVALUATORS: dict[str, Evaluator] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Constant": _constant,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Split": _split,
    "Add": _binary(lambda a, b: a + b),
    "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b),
    "Div": _binary(_divide),
    "Mod": _binary(_modulo),
    "Min": _binary(dim_min),
    "Max": _binary(dim_max),
    "Clip": _clip,
    "Equal": _binary(_equal),
    "Greater": _binary(_greater(1)),
    "GreaterOrEqual": _binary(_greater(0)),
    "Less": _binary(_swapped(_greater(1))),
    "LessOrEqual": _binary(_swapped(_greater(0))),
    "And": _binary(lambda a, b: int(bool(a) and bool(b)) if isinstance(a, int) and isinstance(b, int) else None),
    "Or": _binary(lambda a, b: int(bool(a) or bool(b)) if isinstance(a, int) and isinstance(b, int) else None),
    "Neg": _negate,
    "Not": _not,
    "Where": _where,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Expand": _expand,
    "ReduceProd": _reduce(_known(lambda a, b: a * b), 1),
    "ReduceSum": _reduce(_known(lambda a, b: a + b), 0),
    "ReduceMax": _reduce(_known(dim_max), None),
    "ReduceMin": _reduce(_known(dim_min), None),
}
