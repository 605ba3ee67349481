"""Graphs by hand: one call a node, names and constants taken care of. For tests, examples and plugins.

Source of truth for attribute kinds is the schema of the operator, so ``axis=1`` becomes the integer attribute that it must be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol, overload

import numpy as np

from graphopt.ir.attributes import Attribute, AttributeKind
from graphopt.ir.constant import Array, Constant
from graphopt.ir.dims import Dim, SymbolicDim
from graphopt.ir.graph import Graph
from graphopt.ir.model import Function, GraphOwner, Model
from graphopt.ir.node import Node
from graphopt.ir.schema import coerce_attributes, find_schema
from graphopt.ir.types import DType, TensorType, Type
from graphopt.ir.value import Value

__all__ = ["GraphBuilder", "Operand"]

#: What stands for an input of a node: a value, ``None`` (absent), or numbers that become a constant.
Operand = Value | Array | np.generic | Constant | bool | int | float | str | Sequence[int] | Sequence[float] | None
_Axis = int | str | SymbolicDim | None


class _Operator(Protocol):
    """What ``builder.Relu`` is."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # 1 is an int too: the first that fits is meant
        self, *inputs: Operand, outputs: Literal[1] = 1, domain: str = "", name: str = "", **attributes: object
    ) -> Value: ...
    @overload
    def __call__(
        self, *inputs: Operand, outputs: int, domain: str = "", name: str = "", **attributes: object
    ) -> tuple[Value, ...]: ...


class GraphBuilder:
    """Builds a model node by node.

    Operators are methods: ``b.Relu(x)`` is ``b.op("Relu", x)``.

    Args:
        opset: version of the default domain.
        name: of the graph.
        imports: versions of other domains; a domain that is used without is imported as version 1.
        ir_version: version of the ONNX file format.
        infer: called with each new node, to give its outputs types.

    Example:
        >>> b = GraphBuilder(opset=17)
        >>> x = b.input("x", DType.FLOAT, ["n", 3])
        >>> b.output(b.Relu(b.Add(x, np.ones(3, np.float32))), "y")
        Value(%y: None)
        >>> [node.op for node in b.build().graph.nodes]
        ['Add', 'Relu']
    """

    def __init__(
        self,
        opset: int = 17,
        *,
        name: str = "graph",
        imports: Mapping[str, int] | None = None,
        ir_version: int = 10,
        infer: Callable[[Node], None] | None = None,
    ) -> None:
        self.graph = Graph(name)
        self.model = Model(self.graph, {"": opset, **(imports or {})}, ir_version)
        self._owner: GraphOwner = self.model
        self._names = self.model.names
        self._infer = infer

    # -- what callers give and get ------------------------------------------------------------------------------------------

    def input(
        self,
        name: str,
        dtype: DType | None = None,
        shape: Iterable[_Axis] | None = None,
        *,
        type: Type | None = None,  # noqa: A002 - the name of the attribute of Value
        default: Array | None = None,
    ) -> Value:
        """A new input.

        Args:
            name: must be new.
            dtype: element type of a tensor.
            shape: numbers, names of dimensions, expressions, ``None`` for unknown; no shape means unknown rank.
            type: instead of ``dtype`` and ``shape``, any type.
            default: makes it an initializer that callers may override.
        """
        value = self._value(name, type if type is not None else _tensor_type(dtype, shape))
        value.declared = value.type is not None
        self.graph.add_input(value)
        if default is not None:
            value.const = Constant(default)
            self.graph.add_initializer(value)
        return value

    def output(
        self, value: Value, name: str | None = None, dtype: DType | None = None, shape: Iterable[_Axis] | None = None
    ) -> Value:
        """Give out a value, under a new name if one is stated; a value whose name is a promise already passes an Identity."""
        if name is not None and name != value.name:
            if value.is_input or value.graph_outputs or value.home is not self.graph:
                value = self.Identity(value)
            value.name = self._names.fresh(name)
        if dtype is not None:
            value.type = _tensor_type(dtype, shape)
            value.declared = True
        self.graph.add_output(value)
        return value

    def constant(self, data: Operand, name: str = "const") -> Value:
        """A constant of this graph; Python floats are float32, Python integers int64."""
        constant = data if isinstance(data, Constant) else Constant(_array(data))
        return self.graph.add_initializer(Value(self._names.fresh(name), constant.type, constant))

    # -- nodes --------------------------------------------------------------------------------------------------------------

    @overload
    def op(  # type: ignore[overload-overlap]  # as above
        self,
        op_type: str,
        *inputs: Operand,
        outputs: Literal[1] = 1,
        domain: str = "",
        name: str = "",
        **attributes: object,
    ) -> Value: ...
    @overload
    def op(
        self, op_type: str, *inputs: Operand, outputs: int, domain: str = "", name: str = "", **attributes: object
    ) -> tuple[Value, ...]: ...
    def op(
        self, op_type: str, *inputs: Operand, outputs: int = 1, domain: str = "", name: str = "", **attributes: object
    ) -> Value | tuple[Value, ...]:
        """A new node at the end of the graph: its output, or a tuple of them when ``outputs`` is not 1.

        Args:
            op_type: operator, or ``domain::operator``.
            inputs: values, ``None`` for an absent one, numbers for a constant.
            outputs: how many the node has.
            domain: of the operator.
            name: of the node, and the stem of its outputs' names.
            attributes: plain values, :class:`Attribute`, or builders of subgraphs.

        Raises:
            ValueError: if the operator's schema has no such attribute, or a value does not fit.
        """
        node = self.node(op_type, *inputs, outputs=outputs, domain=domain, name=name, **attributes)
        return node.output if outputs == 1 else tuple(node.outputs)

    def node(
        self, op_type: str, *inputs: Operand, outputs: int = 1, domain: str = "", name: str = "", **attributes: object
    ) -> Node:
        """As :meth:`op`, and returns the node."""
        node = Node(op_type, [self._operand(item) for item in inputs], outputs, domain=domain, name=name)
        version = self._owner.opset_imports.setdefault(node.domain, 1)
        plain = {key: item.graph if isinstance(item, GraphBuilder) else item for key, item in attributes.items()}
        node.attributes = coerce_attributes(find_schema(node.domain, node.op_type, version), plain)
        node._find_subgraphs()
        for value in node.outputs:
            value.name = self._names.fresh(name or node.op_type.lower())
        self.graph.append(node)
        if self._infer is not None:
            self._infer(node)
        return node

    def __getattr__(self, op_type: str) -> _Operator:
        if not op_type[:1].isupper():
            raise AttributeError(f"a graph builder has no attribute {op_type!r}; operators start with a capital letter")

        return partial(self.op, op_type)  # type: ignore[return-value]  # mypy follows no overloads through partial

    # -- graphs inside and beside -------------------------------------------------------------------------------------------

    def subgraph(self, name: str = "body") -> GraphBuilder:
        """A builder for a subgraph: its nodes may read values of this one; give it as an attribute to If, Loop or Scan."""
        inner = self._beside(Graph(name), self._owner)
        inner._names = self._names
        return inner

    def function(
        self,
        domain: str,
        name: str,
        inputs: Iterable[str],
        *,
        opset: int | None = None,
        attributes: Iterable[str] = (),
        defaults: Mapping[str, Attribute] | None = None,
    ) -> GraphBuilder:
        """A builder for the body of a new function of the model; call it with :meth:`op`.

        Args:
            domain: of the function.
            name: of the function.
            inputs: names of its inputs; find their values in ``builder.graph.inputs``.
            opset: of the default domain inside, that of the model when not stated.
            attributes: names of attributes that callers must state; nodes refer to them by :meth:`reference`.
            defaults: attributes that callers may state.
        """
        version = self.model.opset_imports[""] if opset is None else opset
        function = Function(domain, name, Graph(name), {"": version})
        function.attribute_names = list(attributes)
        function.attribute_defaults = dict(defaults or {})
        self.model.functions[function.key] = function
        self.model.opset_imports.setdefault(domain, 1)
        inner = self._beside(function.graph, function)
        inner._names = function.names
        for item in inputs:
            inner.input(item)
        return inner

    @staticmethod
    def reference(name: str, kind: AttributeKind) -> Attribute:
        """An attribute that stands for an attribute of the surrounding function."""
        return Attribute(kind, None, ref=name)

    def build(self) -> Model:
        """The model. The builder may go on building it."""
        return self.model

    def _beside(self, graph: Graph, owner: GraphOwner) -> GraphBuilder:
        inner = object.__new__(GraphBuilder)
        inner.graph, inner.model = graph, self.model
        inner._owner, inner._infer = owner, self._infer
        return inner

    def _value(self, name: str, type_: Type | None) -> Value:
        if name in self._names:
            raise ValueError(f"the name {name!r} is taken; choose another one")
        self._names.reserve(name)
        return Value(name, type_)

    def _operand(self, item: Operand) -> Value | None:
        return item if item is None or isinstance(item, Value) else self.constant(item)


def _tensor_type(dtype: DType | None, shape: Iterable[_Axis] | None) -> TensorType | None:
    if dtype is None:
        return None
    dims: Iterable[Dim] | None = None
    if shape is not None:
        dims = (SymbolicDim(axis) if isinstance(axis, str) else axis for axis in shape)
    return TensorType(dtype, None if dims is None else tuple(dims))


def _array(data: object) -> Array:
    if isinstance(data, np.ndarray | np.generic):
        return np.asarray(data)
    array = np.asarray(data)
    if array.size == 0:
        return array.astype(np.int64)
    return array.astype(np.float32) if array.dtype == np.float64 else array
