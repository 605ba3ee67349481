"""Which nodes stay in float32, and why: by operator, depth of sums, numbers of constants and activations, and origin.

Rules, in the order in which they are asked:

* the layer is excluded, or the operator does not take the narrow type by its schema, or the target has no kernel for it (of
  standard operators that is asked for bfloat16 only: runtimes cast around those that lack one for float16);
* operators that are sensitive to it: those that draw numbers, find places, count, interpolate at computed places, or quantize;
* reductions over more terms than ``depth``, and sums of an unknown number;
* a constant that does not fit (:mod:`graphopt.transforms.quantization.float16.narrowing`);
* an activation whose range, where data or a table say it, does not fit;
* what is next to a sum with so small a constant (``x / Sqrt(Mean(x * x) + 1e-12)``), for the other term may be as small;
* what is computed from integers and constants alone: positions, their angles. float16 has no odd integers beyond 2,048;
* what scales sums of integers, and layers between DequantizeLinear and QuantizeLinear, which runtimes compute on integers.

A node between such nodes that does little work stays with them, since casts cost more than it gains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphopt.ir import DType, Graph, Model, Node, Value, constant_of
from graphopt.passes import Range
from graphopt.rewriting import NoMatch
from graphopt.target import Target
from graphopt.transforms.operands import constant_ints
from graphopt.transforms.quantization.float16.element_types import changeable
from graphopt.transforms.quantization.float16.narrowing import is_as_good_as_infinite, why_not_narrow
from graphopt.transforms.quantization.float16.operators import (
    FLEXIBLE,
    FROM_INTEGERS,
    HEAVY,
    MEANS,
    POOLS,
    PRODUCTS,
    REDUCTIONS,
    ROOTS,
    SENSITIVE,
    SUMS,
)
from graphopt.transforms.quantization.layers import Selection, layer_name

__all__ = ["Islands", "kept_nodes"]

#: Constants of a position's angles have few numbers, weights have many.
_FEW: Final = 4096
#: Integers of these types are exact in each float type, or nearly.
_SMALL: Final = frozenset({DType.BOOL, DType.INT8, DType.UINT8, DType.INT4, DType.UINT4})
_WITH_BODIES: Final = "has bodies, whose inputs and outputs keep their types"


@dataclass(frozen=True, slots=True)
class Islands:
    """Says of one node after the other whether it stays as it is.

    Attributes:
        source: type that changes.
        goal: type it changes to.
        target: what the model is made for.
        selection: layers that may change.
        depth: most terms of a reduction.
        product_depth: most terms of each sum of a product of matrices, ``None`` for any number.
        largest: largest magnitude of an activation.
        interface: whether inputs and outputs of the model change too, so that there is no cast around what is next to them.
        ranges: of values of the main graph, by name.
    """

    source: DType
    goal: DType
    target: Target
    selection: Selection = field(default_factory=Selection)
    depth: int = 2048
    product_depth: int | None = None
    largest: float = math.inf
    interface: bool = False
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @property
    def widens(self) -> bool:
        """Whether the new type holds all numbers of the old one."""
        return self.goal.bits > self.source.bits

    def reason(self, node: Node) -> NoMatch | None:
        """Why a node stays as it is, by itself; ``None`` if it does not."""
        if not self.selection.admits(node):
            return NoMatch("%r is excluded", layer_name(node))
        if node.subgraphs:
            return NoMatch("%s %s", node.op, _WITH_BODIES)
        owner = node.graph.owner if node.graph is not None else None
        if isinstance(owner, Model) and owner.function_of(node.domain, node.op_type, node.overload) is not None:
            return NoMatch("%s is a function, whose types are its own; inline-functions opens it", node.op)
        if not changeable(node, self.source, self.goal).any:
            return NoMatch("%s does not take %s", node.op, self.goal)
        if self._needs_kernel(node) and not self.target.has_kernel(node.op, self.goal, opset=node.opset):
            return NoMatch("target %r has no kernel %s for %s", self.target.name, node.op, self.goal)
        if self.widens:
            return None
        is_weight = node.op == "DequantizeLinear" and constant_of(node.input_at(0)) is not None
        sensitive = None if is_weight else SENSITIVE.get(node.op)
        if sensitive is not None:
            return NoMatch("%s %s", node.op, sensitive)
        rules = (self._depth, self._constants, self._ranges, self._cast, self._quantized)
        return next((found for rule in rules if (found := rule(node)) is not None), None)

    def _needs_kernel(self, node: Node) -> bool:
        """Whether the target must have a kernel: runtimes cast around standard operators that lack one for float16, and no others."""
        return bool(node.domain) or self.goal is DType.BFLOAT16

    def _depth(self, node: Node) -> NoMatch | None:
        if node.op in PRODUCTS and self.product_depth is not None:
            x = node.input_at(0)
            terms = (
                x.shape[0 if node.int_attr("transA", 0) and node.op == "Gemm" else -1]
                if x is not None and x.shape
                else None
            )
            return _too_deep(terms, self.product_depth)
        if node.op in REDUCTIONS or node.op in POOLS:
            return _too_deep(_terms(node), self.depth, is_mean=node.op in MEANS)
        return None

    def _constants(self, node: Node) -> NoMatch | None:
        stated = node.attributes.get("value") if node.op == "ConstantOfShape" else None
        found = [constant_of(value) for value in node.inputs] + [getattr(stated, "value", None)]
        for constant in found:
            if constant is not None and constant.dtype is self.source and not constant.is_sparse:
                reason = why_not_narrow(constant, self.goal)
                if reason is not None:
                    return reason
        return None

    def _ranges(self, node: Node) -> NoMatch | None:
        if not self.ranges or node.graph is None or node.graph.parent is not None:
            return None
        for value in (*node.inputs, *node.outputs):
            found = None if value is None else self.ranges.get(value.name)
            if found is not None and found.magnitude > self.largest:
                return NoMatch("%r goes up to %g", "" if value is None else value.name, found.magnitude)
        return None

    def _quantized(self, node: Node) -> NoMatch | None:
        for value in node.inputs:
            producer = None if value is None else value.producer
            if producer is None:
                continue
            if producer.op == "DequantizeLinear" and constant_of(producer.input_at(0)) is None:
                return NoMatch("it reads dequantized numbers")
            if node.op in ("Mul", "Div") and producer.op == "Cast" and _is_wide_integer(producer.input_at(0)):
                return NoMatch("it scales integers")
        if any(user.op == "QuantizeLinear" for value in node.outputs for user in value.users):
            return NoMatch("what it gives is quantized")
        return None

    def _cast(self, node: Node) -> NoMatch | None:
        value = node.input_at(0)
        if node.op != "Cast" or value is None or value.dtype is self.source:
            return None
        if value.dtype is self.goal or value.dtype is None or value.dtype not in _SMALL:
            return NoMatch("it makes %s of %s", self.source, value.dtype)
        return None


def _is_wide_integer(value: Value | None) -> bool:
    dtype = None if value is None else value.dtype
    return dtype is not None and dtype.is_integer and dtype not in _SMALL


def _too_deep(terms: object, most: int, *, is_mean: bool = False) -> NoMatch | None:
    if not isinstance(terms, int):
        return None if is_mean else NoMatch("it sums an unknown number of terms")
    return NoMatch("it sums %d terms", terms) if terms > most else None


def _terms(node: Node) -> int | None:
    """How many numbers are reduced to one, ``None`` when that is not known."""
    x = node.input_at(0)
    if x is None or x.shape is None:
        return None
    axes: object = node.ints_attr("axes")
    second = node.input_at(1)
    if second is not None:
        axes = constant_ints(second)
    if isinstance(axes, NoMatch):
        return None
    if node.op in POOLS:
        axes = tuple(range(2, len(x.shape)))
    elif not axes:
        axes = () if node.int_attr("noop_with_empty_axes", 0) else tuple(range(len(x.shape)))
    assert isinstance(axes, tuple), "that was asked"
    sizes = [x.shape[axis] for axis in axes]
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None


def kept_nodes(graph: Graph, islands: Islands) -> dict[Node, NoMatch]:
    """The nodes of a graph and its subgraphs that stay as they are, each with its reason."""
    kept: dict[Node, NoMatch] = {}
    counted: set[Value] = set()
    for node in graph.walk():
        is_counted = not islands.widens and _is_counted(node, islands.source, counted)
        reason = islands.reason(node)
        if reason is None and is_counted:
            reason = NoMatch("it is computed from integers and constants")
        if reason is not None:
            kept[node] = reason
        if is_counted:
            counted.update(node.outputs)
    if islands.widens:
        return kept
    for node in _near_small_sums(graph, islands.source, kept):
        kept.setdefault(node, NoMatch("it belongs to a sum with a very small constant"))
    for node in () if islands.interface else _between(graph, islands.source, kept):
        kept[node] = NoMatch("all around it stay as they are")
    return kept


def _near_small_sums(graph: Graph, source: DType, kept: Mapping[Node, NoMatch]) -> Iterator[Node]:
    """What the other term of a sum with a small constant is made of, up to its squares, and where the sum goes, up to a quotient."""
    sums = [node for node in graph.walk() if node in kept and node.op in SUMS and _has_small_constant(node, source)]
    for total in sums:
        todo = list(total.output.users)
        while todo:
            node = todo.pop()
            if node.op in ROOTS:
                yield node
                todo += node.output.users
            elif node.op in ("Div", "Mul"):
                yield node
        for value in total.inputs:
            node_before = None if value is None else value.producer
            while node_before is not None and node_before.op in REDUCTIONS | ROOTS:
                yield node_before
                first = node_before.input_at(0)
                node_before = None if first is None else first.producer
            if node_before is not None and node_before.op in ("Mul", "Pow"):
                yield node_before


def _has_small_constant(node: Node, source: DType) -> bool:
    for value in node.inputs:
        constant = constant_of(value)
        if constant is None or constant.dtype is not source or not constant.size:
            continue
        if np.abs(constant.numpy().astype(np.float64)).max() < 1:
            return True
    return False


def _between(graph: Graph, source: DType, kept: Mapping[Node, NoMatch]) -> set[Node]:
    """Nodes of little work that have no way to one of much work that changes but through nodes that stay."""
    found = {node for node in graph.walk() if node not in kept and node.op not in HEAVY}
    todo = [node for node in found if any(item not in kept and item not in found for item in _around(node, source))]
    while todo:
        node = todo.pop()
        if node in found:
            found.discard(node)
            todo += [item for item in _around(node, source) if item in found]
    return found


def _around(node: Node, source: DType) -> Iterator[Node]:
    """What gives a node floats, and what reads the floats that it gives."""
    for value in node.inputs:
        if (
            value is not None
            and value.dtype is source
            and value.producer is not None
            and value.producer.op != "Constant"
        ):
            yield value.producer
    for value in node.outputs:
        if value.dtype is source:
            yield from (user for user in value.users if user.op not in FLEXIBLE)


def _is_counted(node: Node, source: DType, counted: set[Value]) -> bool:
    """Whether a node computes with numbers that come from integers, and else with few constants only."""
    if node.op == "Cast":
        value = node.input_at(0)
        if value is None or node.output.dtype is not source:
            return False
        return value in counted or _is_wide_integer(value)
    if node.op not in FROM_INTEGERS:
        return False
    found = False
    for value in node.inputs:
        if value is None or value.dtype is not source:
            continue
        constant = constant_of(value)
        if value in counted:
            found = True
        elif constant is None or constant.size > _FEW or is_as_good_as_infinite(constant.numpy()):
            return False  # a mask that hides places by large numbers is made of the narrow type's own
    return found
