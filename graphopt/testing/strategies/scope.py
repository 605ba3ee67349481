"""Where generated nodes stand: a graph that grows node by node, each one tried out in ONNX Runtime before it is kept.

A scope knows, for one size of the inputs, the numbers in all values that are visible in it. So operands are chosen that fit, a node that
ONNX Runtime refuses is dropped at once, and nearly all models that come out run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, ValueInfoProto, helper

from graphopt.ir import Array, DType, OpSchema, find_schema
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.trial import run_nodes, tensor_proto

__all__ = ["RefusedError", "Scope", "World", "dtype_of", "free_names", "usable_schema"]

#: Names that rewrites like to make up.
_HINTS: Final = ("x_folded", "_const", "w_1", "y_identity", "x_value", "conv_output", "bias", "a_Reshape", "out")


class RefusedError(Exception):
    """No node can be made here: nothing fits, or ONNX Runtime does not run it."""


def dtype_of(array: Array) -> DType:
    """The element type of an array; strings are objects."""
    return DType.from_numpy(array.dtype)


@lru_cache(maxsize=4096)
def usable_schema(op: str, opset: int) -> OpSchema | None:
    """The schema of a standard operator, ``None`` where the opset has none or deprecates it."""
    found = find_schema("", op, opset)
    return None if found is None or found.deprecated else found


def free_names(graph: GraphProto) -> set[str]:
    """Names that a subgraph reads from around it."""
    defined = {v.name for v in graph.input} | {v.name for v in graph.initializer}
    free: set[str] = set()
    for node in graph.node:
        free |= {name for name in node.input if name and name not in defined}
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs:
                free |= free_names(inner) - defined
        defined |= set(node.output)
    return free | ({v.name for v in graph.output} - defined)


@dataclass
class World:
    """What all graphs of one model share.

    Attributes:
        choices: the only source of chance.
        opset: of the default domain.
        wild: whether numbers are extreme.
        dtypes: element types that data may have, with how often each is drawn.
        max_inputs: most inputs of the model.
        empty: whether tensors without elements are likely.
        constant_nodes: chance that a constant is a node, and no initializer.
        inputs: inputs of the model, by name, with the numbers that it grows on.
        functions: model-local functions, by name.
        imports: further domains that nodes are from.
        tried: how many nodes were tried out.
        refused: how many of them ONNX Runtime did not run.
    """

    choices: Choices
    opset: int
    wild: bool
    dtypes: Mapping[DType, int]
    max_inputs: int = 4
    empty: bool = False
    constant_nodes: float = 0.25
    inputs: dict[str, Array] = field(default_factory=dict)
    functions: dict[str, FunctionProto] = field(default_factory=dict)
    imports: dict[str, int] = field(default_factory=dict)
    tried: int = 0
    refused: int = 0

    def schema(self, op: str) -> OpSchema | None:
        """The schema of an operator at the model's opset."""
        return usable_schema(op, self.opset)

    def has_attribute(self, op: str, name: str) -> bool:
        """Whether an operator says something by an attribute here, and not by an input."""
        schema = self.schema(op)
        return schema is not None and name in schema.attributes

    @property
    def opset_imports(self) -> list[Any]:
        """Opset imports of the model and of each function."""
        domains = {"": self.opset, **self.imports} | ({"local": 1} if self.functions else {})
        return [helper.make_opsetid(domain, version) for domain, version in domains.items()]


@dataclass(eq=False)
class Scope:
    """A graph that grows.

    Attributes:
        world: shared by all graphs of the model.
        arrays: numbers of all visible values, by name, older first.
        constants: names of visible values that are constant.
        nodes: the nodes so far.
        initializers: the constants so far.
        is_function: whether it is a function body, which has no initializers and sees nothing from outside.
        own: names of values that are defined here.
        prefix: of the names that are made up here.
        parent: the scope around a subgraph.
        references: outputs of nodes whose attribute is to refer to one of the function, with that reference.
        reserved: names that are taken, values or not.
        inner: subgraphs of nodes in this graph.
    """

    world: World
    arrays: dict[str, Array] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    is_function: bool = False
    own: list[str] = field(default_factory=list)
    prefix: str = "v"
    parent: Scope | None = None
    references: list[tuple[str, AttributeProto]] = field(default_factory=list)
    reserved: set[str] = field(default_factory=set)
    inner: list[Scope] = field(default_factory=list)

    @property
    def choices(self) -> Choices:
        """The only source of chance."""
        return self.world.choices

    # -- names ----------------------------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A name that no visible value has, nor a subgraph; subgraphs beside each other may draw the same ones."""
        for scope in self.inner:
            self.reserved |= scope.reserved
        if self.choices.chance(0.06):
            hint = self.choices.of(_HINTS)
            if hint not in self.arrays and hint not in self.reserved:
                self.reserved.add(hint)
                return hint
        number = len(self.own)
        while f"{self.prefix}{number}" in self.arrays or f"{self.prefix}{number}" in self.reserved:
            number += 1
        self.reserved.add(f"{self.prefix}{number}")
        return f"{self.prefix}{number}"

    def child(self, prefix: str) -> Scope:
        """An empty subgraph that sees all that is visible here."""
        inner = Scope(self.world, dict(self.arrays), set(self.constants), prefix=prefix, parent=self)
        inner.reserved = set(self.reserved)
        self.inner.append(inner)
        return inner

    # -- choosing -------------------------------------------------------------------------------------------------------------

    def pick(self, fits: Callable[[Array], bool], *, recent: float = 0.5) -> str | None:
        """A visible value that fits, often the youngest."""
        found = [name for name, array in self.arrays.items() if fits(array)]
        if not found:
            return None
        return found[-1] if self.choices.chance(recent) else self.choices.of(found[-12:])

    def dtype(self, name: str) -> DType:
        """Element type of a visible value."""
        return dtype_of(self.arrays[name])

    def maker(self, name: str) -> NodeProto | None:
        """The node of this graph that gives a value."""
        return next((node for node in reversed(self.nodes) if name in node.output), None)

    # -- growing --------------------------------------------------------------------------------------------------------------

    def define(self, name: str, array: Array) -> None:
        """Make a value visible."""
        self.arrays[name] = array
        self.own.append(name)

    def input(self, array: Array) -> str | None:
        """A new input of the model, visible from here; ``None`` where there can be none."""
        if self.is_function or len(self.world.inputs) >= self.world.max_inputs:
            return None
        chain: list[Scope] = [self]
        while chain[-1].parent is not None:
            chain.append(chain[-1].parent)
        if chain[-1].is_function:
            return None
        name = f"x{len(self.world.inputs)}"
        self.world.inputs[name] = array
        for scope in chain:
            scope.arrays[name] = array
        return name

    def constant(self, array: Array) -> str:
        """A constant in one of the forms there are: initializer (perhaps one that is there), Constant node of any attribute."""
        choices = self.choices
        if choices.chance(0.15):
            for name, other in self.initializers.items():
                if other.dtype == array.dtype and other.shape == array.shape and other.tobytes() == array.tobytes():
                    return name
        name = self.name()
        if self.is_function or choices.chance(self.world.constant_nodes):
            self.nodes.append(helper.make_node("Constant", [], [name], **self._constant_attribute(array)))
        else:
            self.initializers[name] = array
        self.define(name, array)
        self.constants.add(name)
        return name

    def _constant_attribute(self, array: Array) -> dict[str, Any]:
        forms: list[dict[str, Any]] = [{"value": tensor_proto(array)}]
        if self.world.opset >= 12:
            suffix = {DType.FLOAT: "float", DType.INT64: "int", DType.STRING: "string"}.get(dtype_of(array))
            if suffix and array.ndim == 0:
                forms.append({f"value_{suffix}": array.item()})
            if suffix and array.ndim == 1 and array.size:
                forms.append({f"value_{suffix}s": array.tolist()})
        return self.choices.of(forms)

    def add(self, nodes: NodeProto | Sequence[NodeProto]) -> list[str]:
        """Keep nodes if ONNX Runtime runs them; the outputs of the last one.

        Raises:
            RefusedError: if it does not.
        """
        nodes = [nodes] if isinstance(nodes, NodeProto) else list(nodes)
        given = {name: self.arrays[name] for name in sorted(free_names(GraphProto(node=nodes)))}
        wanted = [name for node in nodes for name in node.output if name]
        self.world.tried += 1
        found = run_nodes(
            nodes,
            {name: array for name, array in given.items() if name not in self.constants},
            {name: array for name, array in given.items() if name in self.constants},
            wanted,
            imports=self.world.opset_imports,
            functions=self.world.functions.values(),
        )
        if found is None:
            self.world.refused += 1
            raise RefusedError(f"{nodes[-1].op_type} does not run")
        self.nodes.extend(nodes)
        for name in wanted:
            value = found[name]
            if isinstance(value, np.ndarray):
                self.define(name, value)
            else:
                self.reserved.add(name)
        return [name for name in nodes[-1].output if name]

    def node(
        self,
        op: str,
        inputs: Iterable[str | None],
        *,
        outputs: int | Sequence[bool] = 1,
        domain: str = "",
        attributes: Mapping[str, object] | None = None,
    ) -> list[str]:
        """Add one node; attributes that are ``None`` are left out.

        Args:
            op: operator.
            inputs: names, ``None`` for an absent input.
            outputs: how many, or for each whether it has a name.
            domain: of the operator.
            attributes: by name.

        Raises:
            RefusedError: if ONNX Runtime does not run it.
        """
        stated: dict[str, Any] = {name: value for name, value in (attributes or {}).items() if value is not None}
        named = [True] * outputs if isinstance(outputs, int) else list(outputs)
        while len(named) > 1 and not named[-1]:
            named.pop()
        names = [self.name() if wanted else "" for wanted in named]
        given = [item or "" for item in inputs]
        while given and not given[-1]:
            given.pop()
        made = helper.make_node(op, given, names, domain=domain)
        made.attribute.extend(self._attribute(op, domain, name, value) for name, value in sorted(stated.items()))
        if self.choices.chance(0.5):
            made.name = self.choices.of((names[0], f"node_{names[0]}", f"n{len(self.nodes)}{self.prefix}"))
        return self.add(made)

    def append(
        self,
        op: str,
        inputs: Sequence[str | None],
        results: Sequence[Array],
        *,
        domain: str,
        attributes: Mapping[str, object],
    ) -> list[str]:
        """Add a node that is not tried out, because what it gives is known.

        Args:
            op: operator.
            inputs: names, ``None`` for an absent input.
            results: numbers in its outputs.
            domain: of the operator.
            attributes: by name.
        """
        names = [self.name() for _ in results]
        made = helper.make_node(op, [name or "" for name in inputs], names, domain=domain)
        made.attribute.extend(self._attribute(op, domain, name, value) for name, value in sorted(attributes.items()))
        self.nodes.append(made)
        for name, array in zip(names, results, strict=True):
            self.define(name, np.asarray(array))
        return names

    def _attribute(self, op: str, domain: str, name: str, value: Any) -> AttributeProto:  # noqa: ANN401 - what helper takes
        schema = None if domain else self.world.schema(op)
        spec = None if schema is None else schema.attributes.get(name)
        try:
            return helper.make_attribute(name, value, attr_type=None if spec is None else int(spec.kind.value))
        except (TypeError, ValueError) as err:
            raise RefusedError(f"{op}: attribute {name!r} is {value!r}") from err

    def one(self, op: str, inputs: Iterable[str | None], **attributes: object) -> str:
        """As :meth:`node`, for one output."""
        return self.node(op, inputs, attributes=attributes)[0]

    # -- giving out -----------------------------------------------------------------------------------------------------------

    def info(self, name: str, *, shaped: bool) -> ValueInfoProto:
        """The type of a value as a declaration."""
        array = self.arrays[name]
        return helper.make_tensor_value_info(name, dtype_of(array), list(array.shape) if shaped else None)

    def graph(self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> GraphProto:
        """The graph as a message."""
        constants = [tensor_proto(array, key) for key, array in self.initializers.items()]
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), constants)
