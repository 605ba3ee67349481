"""Types in and out of subgraphs: If, Loop, Scan, and any other operator with bodies."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

from graphopt.analysis.shape_inference.facts import Facts
from graphopt.analysis.shape_values import ShapeValues
from graphopt.ir import (
    Dim,
    DType,
    Graph,
    Node,
    Shape,
    SymbolicDim,
    TensorType,
    Type,
    Value,
    constant_of,
    fresh_dim,
    is_nonnegative,
    lower_bound,
)

__all__ = ["BODIES", "Bodies", "forget_shape"]

#: After so many tries nothing is assumed of the shapes that a loop carries.
_MOST_TRIES = 4


class Bodies(abc.ABC):
    """What the walk offers to operators with subgraphs.

    Attributes:
        values: follows numbers.
        facts: what is known around.
    """

    values: ShapeValues
    facts: Facts

    @abc.abstractmethod
    def walk(self, graph: Graph) -> None:
        """Infer the types of all values that nodes of a graph give."""

    @abc.abstractmethod
    def may_try_again(self, graph: Graph) -> bool:
        """Whether there is time left to walk a body several times: bodies in bodies multiply."""

    def again(self, graph: Graph) -> None:
        """Infer a body with other assumptions than before."""
        self.values.forget([value for inner in graph.walk_graphs() for value in inner.values()])
        self.walk(graph)


def forget_shape(value: Value) -> None:
    """An input of a body is what its node gives, not what a file states; the element type holds."""
    if isinstance(value.type, TensorType) and value.const is None:
        value.type = TensorType(value.type.dtype, None)


def _mark() -> int:
    """Symbols made up from now on have this number or a larger one."""
    return _number(fresh_dim().name) + 1


def _number(name: str | None) -> int:
    return int(name[1:]) if name is not None and name[1:].isdigit() else -1


def _escaped(dim: Dim, mark: int) -> Dim:
    """A size as it is known outside of a body: nothing is, if it depends on a symbol made up inside."""
    if not isinstance(dim, SymbolicDim) or not dim.is_generated:
        return dim
    return None if any(name.startswith("?") and _number(name) >= mark for name in dim.symbols()) else dim


def _outside(found: Type | None, mark: int) -> Type | None:
    if not isinstance(found, TensorType):
        return found
    return TensorType(found.dtype, None if found.shape is None else tuple(_escaped(dim, mark) for dim in found.shape))


def _both(one: Type | None, other: Type | None) -> Type | None:
    """What two types agree on."""
    if not isinstance(one, TensorType) or not isinstance(other, TensorType):
        return one if one == other else None
    dtype = one.dtype if one.dtype == other.dtype else DType.UNDEFINED
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        return TensorType(dtype, None)
    pairs = zip(one.shape, other.shape, strict=True)
    return TensorType(dtype, tuple(a if a is not None and a == b else None for a, b in pairs))


def _if(bodies: Bodies, node: Node) -> Sequence[Type | None]:
    mark = _mark()
    found: list[list[Type | None]] = []
    for graph in node.subgraphs:
        bodies.walk(graph)
        found.append([_outside(_settled(value, bodies), mark) for value in graph.outputs])
    if len(found) != 2 or len(found[0]) != len(found[1]):
        return ()
    return [_both(one, other) for one, other in zip(*found, strict=True)]


def _carry(bodies: Bodies, body: Graph, given: Sequence[Value | None], first: int, back: int) -> list[Type | None]:
    """Walk a body until the shapes that it carries are given back as they came in.

    Args:
        bodies: the walk.
        body: the subgraph.
        given: what the node gives to carry.
        first: the first input of the body that is carried.
        back: the first output of the body that is carried.

    Returns:
        Types of what is carried out.
    """
    carried = body.inputs[first : first + len(given)]
    for formal in carried:
        forget_shape(formal)
    started = [_settled(value, bodies) for value in given]
    assumed = list(started)
    free: set[Dim] = set()  # sizes of which nothing is assumed any more
    for _ in range(_MOST_TRIES if bodies.may_try_again(body) else 0):
        mark = _mark()
        _assume(carried, assumed)
        bodies.again(body)
        returned = [_outside(value.type, mark) for value in body.outputs[back : back + len(given)]]
        agreed = [_kept(one, other, free) for one, other in zip(assumed, returned, strict=True)]
        if agreed == assumed:
            return [_both(one, other) for one, other in zip(started, assumed, strict=True)]
        assumed = [_fresh(found, free) for found in agreed]
    _assume(carried, [TensorType(found.dtype, None) if isinstance(found, TensorType) else None for found in started])
    bodies.again(body)
    return [TensorType(found.dtype, None) if isinstance(found, TensorType) else None for found in started]


def _assume(carried: Sequence[Value], types: Sequence[Type | None]) -> None:
    for formal, found in zip(carried, types, strict=True):
        if found is not None:
            formal.type = found


def _settled(value: Value | None, bodies: Bodies) -> Type | None:
    """The type of a value, with a symbol for each size that is not known."""
    found = None if value is None else value.type
    if isinstance(found, TensorType) and found.shape is not None and None in found.shape:
        return TensorType(found.dtype, bodies.facts.shape(value))
    return found


def _kept(assumed: Type | None, returned: Type | None, free: set[Dim]) -> Type | None:
    """What stays true of a carried type; the element type can't change."""
    if not isinstance(assumed, TensorType):
        return assumed if assumed == returned else None
    back = returned.shape if isinstance(returned, TensorType) else None
    if assumed.shape is None or back is None or len(assumed.shape) != len(back):
        return TensorType(assumed.dtype, None)
    pairs = zip(assumed.shape, back, strict=True)
    return TensorType(assumed.dtype, tuple(a if a == b or a in free else None for a, b in pairs))


def _fresh(found: Type | None, free: set[Dim]) -> Type | None:
    if not isinstance(found, TensorType) or found.shape is None or None not in found.shape:
        return found
    shape = tuple(fresh_dim() if dim is None else dim for dim in found.shape)
    free.update(new for new, dim in zip(shape, found.shape, strict=True) if dim is None)
    return TensorType(found.dtype, shape)


def _stacked(found: Type | None, length: Dim, axis: int) -> Type | None:
    """The type of one of these for each iteration. Without any iteration, runtimes fill in sizes as they find them."""
    if not isinstance(found, TensorType) or found.shape is None:
        return TensorType(found.dtype, None) if isinstance(found, TensorType) else None
    runs = (lower_bound(length) or 0) > 0
    sizes: Shape = tuple(dim if runs or isinstance(dim, int) else None for dim in found.shape)
    axis = axis + len(sizes) + 1 if axis < 0 else axis
    return TensorType(found.dtype, (*sizes[:axis], length, *sizes[axis:]))


def _scalar(value: Value, dtype: DType) -> TensorType:
    """The number of the iteration and the condition have the rank that the body states, none without a statement."""
    stated = value.type.shape if isinstance(value.type, TensorType) else None
    return TensorType(dtype, (1,) if stated is not None and len(stated) == 1 else ())


def _loop(bodies: Bodies, node: Node) -> Sequence[Type | None]:
    (body,) = node.subgraphs
    given = node.inputs[2:]
    number, going = body.inputs[:2]
    number.type, going.type = _scalar(number, DType.INT64), _scalar(going, DType.BOOL)
    mark = _mark()
    carried = _carry(bodies, body, given, 2, 1)
    length = _trips(bodies, node, body)
    gathered = [_stacked(_outside(value.type, mark), length, 0) for value in body.outputs[1 + len(given) :]]
    return [*carried, *gathered]


def _trips(bodies: Bodies, node: Node, body: Graph) -> Dim:
    """How often a loop runs, if its condition never ends it."""
    most = bodies.facts.integers(node.input_at(0))
    started = node.input_at(1)
    going: Value = body.outputs[0]
    if most is None or len(most.elements) != 1 or not (started is None or _is_true(started)):
        return None
    while going.producer is not None and going.producer.op == "Identity":
        source = going.producer.inputs[0]
        if source is None:
            return None
        going = source
    if going is not body.inputs[1] and not _is_true(going):
        return None
    count = most.elements[0]
    return max(count, 0) if isinstance(count, int) else count if is_nonnegative(count) else None


def _is_true(value: Value) -> bool:
    constant = constant_of(value)
    if constant is None or constant.dtype is not DType.BOOL or constant.size != 1:
        return False
    return bool(constant.numpy().all())


def _scan(bodies: Bodies, node: Node) -> Sequence[Type | None]:
    (body,) = node.subgraphs
    count = node.int_attr("num_scan_inputs")
    if (node.opset or 0) < 9 or count > len(node.inputs):  # opset 8 scans batches
        for value in body.inputs:
            forget_shape(value)
        bodies.walk(body)
        return ()
    states = len(node.inputs) - count
    axes = node.ints_attr("scan_input_axes") or (0,) * count
    length: Dim = None
    for given, formal, axis in zip(node.inputs[states:], body.inputs[states:], axes, strict=True):
        shape = bodies.facts.shape(given)
        dtype = given.dtype if given is not None and given.dtype is not None else DType.UNDEFINED
        if shape is None or not -len(shape) <= axis < len(shape):
            formal.type = TensorType(dtype, None)
            continue
        axis = axis + len(shape) if axis < 0 else axis
        length = shape[axis] if length is None else length
        formal.type = TensorType(dtype, shape[:axis] + shape[axis + 1 :])
    mark = _mark()
    carried = _carry(bodies, body, node.inputs[:states], 0, 0)
    scanned = body.outputs[states:]
    out_axes = node.ints_attr("scan_output_axes") or (0,) * len(scanned)
    pairs = zip(scanned, out_axes, strict=True)
    return [*carried, *(_stacked(_outside(value.type, mark), length, axis) for value, axis in pairs)]


#: How operators with subgraphs are inferred.
BODIES: dict[str, Callable[[Bodies, Node], Sequence[Type | None]]] = {"If": _if, "Loop": _loop, "Scan": _scan}
