"""Where generated nodes stand: a graph that grows node by node, each one tried out in ONNX Runtime before it is kept.

A scope knows, for one size of its inputs, the numbers in all values that are visible in it. So operands are chosen that fit, a node that
ONNX Runtime refuses is dropped at once, and most models that come out run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnx.defs import OpSchema

from graphopt.ir import Array
from tests.generated.numbers import dtype_number

__all__ = ["Scope", "World", "free_names", "schema_of", "session", "tensor_proto"]

_MAX_ELEMENTS = 400
#: Names that rewrites like to make up.
_HINTS = ("x_folded", "_const", "w_1", "y_identity", "x_value", "conv_output", "bias", "a_Reshape", "out")


def session(data: bytes) -> ort.InferenceSession:
    """A model in ONNX Runtime with its optimizer off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")  # kernels for packed weights round otherwise
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=4096)
def schema_of(op: str, opset: int) -> OpSchema | None:
    """The schema of a standard operator, ``None`` where the opset has none or deprecates it."""
    try:
        found: OpSchema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if found.deprecated else found


def tensor_proto(array: Array, name: str = "") -> TensorProto:
    """An array as a message."""
    if array.dtype == object:
        words = [str(item).encode() for item in array.reshape(-1)]
        return TensorProto(name=name, data_type=TensorProto.STRING, dims=array.shape, string_data=words)
    return numpy_helper.from_array(array, name)


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
        rng: the only source of chance.
        opset: of the default domain.
        wild: whether numbers are extreme.
        static: whether all sizes of all inputs are stated.
        functions: model-local functions, by name.
        tried: how many nodes were tried out.
    """

    rng: random.Random
    opset: int
    wild: bool
    static: bool = False
    functions: dict[str, FunctionProto] = field(default_factory=dict)
    tried: int = 0

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self.rng.random() < probability

    def schema(self, op: str) -> OpSchema | None:
        """The schema of an operator at the model's opset."""
        return schema_of(op, self.opset)

    def has_attribute(self, op: str, name: str) -> bool:
        """Whether an operator says something by an attribute here, and not by an input."""
        schema = self.schema(op)
        return schema is not None and name in schema.attributes

    def run(self, nodes: Sequence[NodeProto], given: Mapping[str, Array], wanted: Sequence[str]) -> list[Array] | None:
        """Run nodes in ONNX Runtime; ``None`` when it refuses, or gives out what is no tensor or a large one."""
        self.tried += 1
        inputs = [helper.make_tensor_value_info(name, dtype_number(array), None) for name, array in given.items()]
        outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
        graph = helper.make_graph(list(nodes), "trial", inputs, outputs)
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid("local", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10, functions=self.functions.values())
        try:
            found = session(model.SerializeToString()).run(None, dict(given))
        except Exception:  # noqa: BLE001 - ONNX Runtime raises a class for each status, and plain RuntimeError
            return None
        if any(not isinstance(item, np.ndarray) or item.size > _MAX_ELEMENTS or item.ndim > 6 for item in found):
            return None
        return list(found)


@dataclass(eq=False)
class Scope:
    """A graph that grows.

    Attributes:
        world: shared by all graphs of the model.
        arrays: numbers of all visible values, by name, older first.
        nodes: the nodes so far.
        initializers: the constants so far.
        is_function: whether it is a function body, which has no initializers.
        own: names of values that are defined here.
        prefix: of the names that are made up here.
        references: outputs of nodes whose attribute is to refer to one of the function, with that reference.
        reserved: names that are taken, values or not.
        inner: subgraphs of nodes in this graph.
    """

    world: World
    arrays: dict[str, Array] = field(default_factory=dict)
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    is_function: bool = False
    prefix: str = "v"
    own: list[str] = field(default_factory=list)
    references: list[tuple[str, AttributeProto]] = field(default_factory=list)
    reserved: set[str] = field(default_factory=set)
    inner: list[Scope] = field(default_factory=list)

    # -- names ----------------------------------------------------------------------------------------------------------------

    def name(self) -> str:
        """A name that no visible value has, nor a subgraph; subgraphs beside each other may draw the same ones."""
        for scope in self.inner:
            self.reserved |= scope.reserved
        if self.world.chance(0.08):
            hint = self.world.rng.choice(_HINTS)
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
        inner = Scope(self.world, dict(self.arrays), prefix=prefix)
        inner.reserved = set(self.reserved)
        self.inner.append(inner)
        return inner

    # -- choosing -------------------------------------------------------------------------------------------------------------

    def pick(self, fits: Callable[[Array], bool], *, recent: float = 0.5) -> str | None:
        """A visible value that fits, often one of the youngest."""
        found = [name for name, array in self.arrays.items() if fits(array)]
        if not found:
            return None
        return found[-1] if self.world.chance(recent) else self.world.rng.choice(found[-12:])

    def dtype(self, name: str) -> int:
        """ONNX element type of a visible value."""
        return dtype_number(self.arrays[name])

    # -- growing --------------------------------------------------------------------------------------------------------------

    def constant(self, array: Array) -> str:
        """A constant in one of the forms there are: initializer (perhaps one that is there), Constant node of any attribute."""
        world = self.world
        if world.chance(0.15):
            for name, other in self.initializers.items():
                if other.dtype == array.dtype and other.shape == array.shape and other.tobytes() == array.tobytes():
                    return name
        name = self.name()
        if self.is_function or world.chance(0.3):
            self.nodes.append(helper.make_node("Constant", [], [name], **self._constant_attribute(array)))
        else:
            self.initializers[name] = array
        self.arrays[name] = array
        self.own.append(name)
        return name

    def _constant_attribute(self, array: Array) -> dict[str, Any]:
        forms: list[dict[str, Any]] = [{"value": tensor_proto(array)}]
        if self.world.opset >= 12:
            if array.dtype == np.float32:
                forms += [{"value_float": float(array)}] if array.ndim == 0 else []
                forms += [{"value_floats": array.tolist()}] if array.ndim == 1 and array.size else []
            if array.dtype == np.int64:
                forms += [{"value_int": int(array)}] if array.ndim == 0 else []
                forms += [{"value_ints": array.tolist()}] if array.ndim == 1 and array.size else []
            if array.dtype == object:
                forms += [{"value_string": str(array.item())}] if array.ndim == 0 else []
                forms += [{"value_strings": array.tolist()}] if array.ndim == 1 and array.size else []
        return self.world.rng.choice(forms)

    def add(self, nodes: NodeProto | Sequence[NodeProto]) -> list[str] | None:
        """Keep nodes if ONNX Runtime runs them; the outputs of the last one, ``None`` if it does not."""
        nodes = [nodes] if isinstance(nodes, NodeProto) else list(nodes)
        probe = GraphProto(node=nodes)
        given = {name: self.arrays[name] for name in sorted(free_names(probe))}
        wanted = [name for node in nodes for name in node.output if name]
        found = self.world.run(nodes, given, wanted)
        if found is None:
            return None
        self.nodes.extend(nodes)
        for name, array in zip(wanted, found, strict=True):
            self.arrays[name] = array
            self.own.append(name)
        return [name for name in nodes[-1].output if name]

    def node(
        self, op: str, inputs: Iterable[str | None], *, outputs: int = 1, domain: str = "", **attributes: object
    ) -> list[str] | None:
        """Add one node; attributes that are ``None`` are left out."""
        stated: dict[str, Any] = {name: value for name, value in attributes.items() if value is not None}
        names = [self.name() for _ in range(outputs)]
        given = [item or "" for item in inputs]
        while given and not given[-1]:
            given.pop()
        made = helper.make_node(op, given, names, domain=domain, **stated)
        if self.world.chance(0.5):
            made.name = self.world.rng.choice((names[0], f"node_{names[0]}", f"n{len(self.nodes)}{self.prefix}"))
        return self.add(made)

    def one(self, op: str, inputs: Iterable[str | None], **attributes: object) -> str | None:
        """As :meth:`node`, for one output."""
        found = self.node(op, inputs, **attributes)  # type: ignore[arg-type]  # attributes hold no outputs or domain
        return found[0] if found else None

    # -- giving out -----------------------------------------------------------------------------------------------------------

    def info(self, name: str, *, shaped: bool) -> ValueInfoProto:
        """The type of a value as a declaration."""
        array = self.arrays[name]
        return helper.make_tensor_value_info(name, dtype_number(array), list(array.shape) if shaped else None)

    def graph(self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> GraphProto:
        """The graph as a message."""
        constants = [tensor_proto(array, key) for key, array in self.initializers.items()]
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), constants)
