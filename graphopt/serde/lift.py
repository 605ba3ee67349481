"""``ModelProto`` to IR: names become values, captured names become ordinary uses, everything said about a value goes to the value.

Nodes keep their message as origin, constants theirs, so lifting copies no weight and emission of what nobody changed costs next to
nothing. Nodes that are out of order are sorted (ONNX Runtime tolerates them in a file, the IR does not).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto

from graphopt.errors import ModelError
from graphopt.ir import Attribute, AttributeKind, Function, FunctionKey, Graph, Model, Node, TensorType, Type, Value
from graphopt.serde.attributes import attribute_from_proto
from graphopt.serde.checks import (
    OperatorChecks,
    check_functions,
    check_model,
    functions_by_key,
    node_place,
    opsets_from_proto,
)
from graphopt.serde.collector import collector_paused
from graphopt.serde.order import sort_model
from graphopt.serde.origins import (
    GraphOrigin,
    ModelOrigin,
    NodeOrigin,
    ValueInfoOrigin,
    blanks_of,
    properties_from_proto,
)
from graphopt.serde.tensors import TensorStorage, constant_from_proto, sparse_from_proto
from graphopt.serde.text import checked_name, find_broken_text, readable
from graphopt.serde.types import type_from_proto

__all__ = ["lift_model"]

_NOTHING: Mapping[str, Attribute] = MappingProxyType({})
#: Type and message by name of a value.
_Types = dict[str, tuple[Type | None, ValueInfoProto]]
_GRAPH, _GRAPHS = int(AttributeKind.GRAPH), int(AttributeKind.GRAPHS)


class _UndefinedNameError(Exception):
    """A name is read that no earlier node, input or initializer defines."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def lift_model(proto: ModelProto, *, base_dir: Path | None = None, storage: TensorStorage | None = None) -> Model:
    """The IR of a model.

    Args:
        proto: the model. The IR refers to its parts: it must not change any more.
        base_dir: folder that external data is relative to.
        storage: where bytes of tensors outside the message are; made from ``base_dir`` when ``None``.

    Raises:
        ModelError: if the model is broken, or cannot be kept.
        UnsafePathError: if external data is outside ``base_dir``.
    """
    storage = TensorStorage(folder=base_dir) if storage is None else storage
    with collector_paused():
        try:
            check_model(proto)
            try:
                return _lift(proto, storage)
            except _UndefinedNameError:
                return _lift(sort_model(proto), storage)
        except _UndefinedNameError as err:
            raise ModelError(err.message) from err
        except (TypeError, AttributeError) as err:  # protobuf gives bytes, not str, where text is not UTF-8
            place = next(find_broken_text(proto), None)
            if place is None:
                raise
            raise ModelError(f"the text at {place} is not UTF-8; fix the model") from err
        except RecursionError as err:
            raise ModelError("subgraphs are nested too deep to be read; flatten the model") from err


def _lift(proto: ModelProto, storage: TensorStorage) -> Model:
    opsets = opsets_from_proto(proto.opset_import, proto.ir_version, "the model")
    functions = functions_by_key(proto)
    calls = {(domain, name) for domain, name, _ in functions}
    lifter = _Lifter(storage, OperatorChecks(opsets, calls))
    model = Model(lifter.graph(proto.graph, "the main graph"), opsets, proto.ir_version)
    lifter.hand_over_names(model)
    model.producer_name, model.producer_version = readable(proto.producer_name), readable(proto.producer_version)
    model.domain, model.model_version, model.doc = (
        readable(proto.domain),
        proto.model_version,
        readable(proto.doc_string),
    )
    metadata = list(proto.metadata_props)
    model.metadata = properties_from_proto(metadata)
    blanks = blanks_of(proto, ("producer_name", "producer_version", "domain", "model_version", "doc_string"))
    model.origin = ModelOrigin(list(proto.opset_import), metadata, list(proto.configuration), blanks)
    for key, item in functions.items():
        model.functions[key] = _function(key, item, storage, calls, proto.ir_version, opsets)
    check_functions(model)
    return model


def _function(
    key: FunctionKey,
    proto: FunctionProto,
    storage: TensorStorage,
    calls: set[tuple[str, str]],
    ir_version: int,
    model_opsets: dict[str, int],
) -> Function:
    domain, name, overload = key
    where = f"function {domain}::{name}"
    opsets = opsets_from_proto(proto.opset_import, ir_version, where, or_else=model_opsets)
    lifter = _Lifter(storage, OperatorChecks(opsets, calls))
    graph = lifter.function_body(proto, where)
    function = Function(domain, name, graph, opsets, overload)
    lifter.hand_over_names(function)
    function.doc = readable(proto.doc_string)
    metadata = list(proto.metadata_props)
    function.metadata = properties_from_proto(metadata)
    function.attribute_names = [checked_name(attribute, where) for attribute in proto.attribute]
    function.attribute_defaults = {
        checked_name(item.name, where): attribute_from_proto(item, None, storage, where)
        for item in proto.attribute_proto
    }
    blanks = blanks_of(proto, ("doc_string", "overload", "domain"))
    function.origin = ModelOrigin(list(proto.opset_import), metadata, [], blanks)
    return function


class _Lifter:
    """Lifts the graphs of one owner, with the scopes of names that are open."""

    def __init__(self, storage: TensorStorage, checks: OperatorChecks) -> None:
        self._storage = storage
        self._checks = checks
        self._scopes: list[dict[str, Value]] = []
        self._names: set[str] = set()
        self._renamed: list[Value] = []

    def hand_over_names(self, owner: Model | Function) -> None:
        """Note the names in use, and give names of their own to values that had the name of an outer one."""
        self._names.discard("")
        for name in self._names:
            if type(name) is not str or "\0" in name:
                checked_name(name, "the model")
        owner.names.reserve_all(self._names)
        for value in self._renamed:
            value.name = owner.names.fresh(value.name)

    # -- graphs -------------------------------------------------------------------------------------------------------------

    def graph(self, proto: GraphProto, where: str) -> Graph:
        """The IR of a graph message; names of open scopes may be captured."""
        graph = Graph(readable(proto.name))
        origin = graph.origin = GraphOrigin()
        graph.doc = readable(proto.doc_string)
        origin.blanks = blanks_of(proto, ("name", "doc_string"))
        scope: dict[str, Value] = {}
        self._scopes.append(scope)
        for info in proto.input:
            value = self._define(info.name, scope, where, "input")
            self._describe(value, info)
            graph.add_input(value)
            origin.inputs.append((value.type, info))
        self._initializers(proto, graph, scope, where)
        types = self._types(proto.value_info, proto.output)
        self._nodes(proto.node, graph, scope, types)
        self._outputs([info.name for info in proto.output], graph, where)
        for value, info in zip(graph.outputs, proto.output, strict=True):
            origin.outputs.append((value.type, info))
        origin.infos = self._infos(proto.value_info, scope, origin.strays)
        for annotation in proto.quantization_annotation:
            found = scope.get(annotation.tensor_name)
            if found is not None:
                found.annotation = properties_from_proto(list(annotation.quant_parameter_tensor_names))
            else:
                origin.strays.add(annotation.tensor_name)
            origin.annotations.append(annotation)
        if proto.metadata_props:
            origin.metadata = list(proto.metadata_props)
            graph.metadata = properties_from_proto(origin.metadata)
        self._names.update(scope)
        self._scopes.pop()
        return graph

    def function_body(self, proto: FunctionProto, where: str) -> Graph:
        """The IR of the body of a function."""
        graph = Graph(readable(proto.name))
        origin = graph.origin = GraphOrigin()
        scope: dict[str, Value] = {}
        self._scopes.append(scope)
        types = self._types(proto.value_info, ())
        for name in proto.input:
            value = self._define(name, scope, where, "input")
            value.type, _ = types.get(name, (None, None))
            graph.add_input(value)
        self._nodes(proto.node, graph, scope, types)
        self._outputs(proto.output, graph, where)
        origin.infos = self._infos(proto.value_info, scope, origin.strays)
        self._names.update(scope)
        self._scopes.pop()
        return graph

    def _initializers(self, proto: GraphProto, graph: Graph, scope: dict[str, Value], where: str) -> None:
        storage = self._storage
        constants = [(tensor.name, constant_from_proto(tensor, storage)) for tensor in proto.initializer]
        constants += [(tensor.values.name, sparse_from_proto(tensor, storage)) for tensor in proto.sparse_initializer]
        for name, constant in constants:
            value = scope.get(name)
            if value is None:
                value = self._define(name, scope, where, "initializer")
                value.type = constant.type
                value.origin = constant.origin
            elif value.const is not None:
                raise ModelError(f"{where}: initializer {name!r} is defined twice; rename or remove one of them")
            value.const = constant
            graph.add_initializer(value)

    def _define(self, name: str, scope: dict[str, Value], where: str, what: str) -> Value:
        if not name:
            raise ModelError(f"{where}: an {what} has no name; give it one")
        if name in scope:
            raise ModelError(f"{where}: {what} {name!r} is defined twice; rename or remove one of them")
        value = scope[name] = Value(name)
        if len(self._scopes) > 1 and self._captured(name) is not None:
            self._renamed.append(value)
        return value

    def _captured(self, name: str) -> Value | None:
        for scope in reversed(self._scopes[:-1]):
            found = scope.get(name)
            if found is not None:
                return found
        return None

    # -- nodes --------------------------------------------------------------------------------------------------------------

    def _nodes(self, protos: Iterable[NodeProto], graph: Graph, scope: dict[str, Value], types: _Types) -> None:
        nested = len(self._scopes) > 1
        check, names = self._checks.check, self._names
        for proto in protos:
            op_type, domain, name = proto.op_type, proto.domain, proto.name
            inputs: list[Value | None] = []
            for used in proto.input[:]:  # a slice: much faster than iterating protobuf's container
                if not used:
                    inputs.append(None)
                    continue
                source = scope.get(used) or self._captured(used)
                if source is None:
                    raise _UndefinedNameError(
                        f"{node_place(name, op_type, proto.output)}: input {used!r} is not defined by any input, initializer or node; "
                        "fix the model"
                    )
                inputs.append(source)
            stated = proto.attribute
            attributes = self._attributes(proto) if stated else _NOTHING
            outputs: list[Value] = []
            for given in proto.output[:]:
                value = Value(given)
                outputs.append(value)
                if not given:
                    continue
                if given in scope:
                    raise ModelError(
                        f"{node_place(name, op_type, proto.output)}: output {given!r} is defined twice; rename one of the two values"
                    )
                scope[given] = value
                if given in types:
                    value.type, info = types[given]
                    self._annotate(value, info)
                if nested and self._captured(given) is not None:
                    self._renamed.append(value)
            node = Node(op_type, inputs, outputs, attributes, domain=domain, name=name)
            if "::" in op_type:
                node.set_op(op_type, domain=domain)
            check(node)
            node.origin = NodeOrigin(proto, attributes)
            if name:
                names.add(name)
            doc, overload = proto.doc_string, proto.overload
            if doc:
                node.doc = readable(doc)
            if overload:
                node.overload = overload
            metadata = proto.metadata_props
            if metadata:
                node.metadata = properties_from_proto(list(metadata))
            graph.append(node)

    def _attributes(self, node: NodeProto) -> Mapping[str, Attribute]:
        found: dict[str, Attribute] = {}
        where = node_place(node.name, node.op_type, node.output)
        for proto in node.attribute:
            name = proto.name
            if type(name) is not str:
                checked_name(name, f"{where}: an attribute")
            if name in found:
                raise ModelError(f"{where}: attribute {name!r} is stated twice; remove one of them")
            kind = proto.type
            if proto.ref_attr_name or (kind != _GRAPH and kind != _GRAPHS):
                found[name] = attribute_from_proto(proto, self.graph, self._storage, where)
            elif kind == _GRAPH:
                graph = self.graph(proto.g, f"{where}: graph {name!r}")
                found[name] = Attribute(AttributeKind.GRAPH, graph, "", proto.doc_string)
            else:
                graphs = tuple([self.graph(item, f"{where}: graph of {name!r}") for item in proto.graphs])
                found[name] = Attribute(AttributeKind.GRAPHS, graphs, "", proto.doc_string)
        return MappingProxyType(found)

    # -- what the file says about values ------------------------------------------------------------------------------------

    def _types(self, infos: Iterable[ValueInfoProto], outputs: Iterable[ValueInfoProto]) -> _Types:
        """What is said about values, by name; what an output says counts more than ``value_info``, unless it says less."""
        found: _Types = {}
        for info in infos:
            found[info.name] = self._type(info), info
        for info in outputs:
            stated = self._type(info)
            known = found.get(info.name)
            if known is None or not (stated is None or (isinstance(stated, TensorType) and stated.shape is None)):
                found[info.name] = stated, info
        return found

    def _type(self, info: ValueInfoProto) -> Type | None:
        return type_from_proto(info.type, f"value {info.name!r}") if info.HasField("type") else None

    def _describe(self, value: Value, info: ValueInfoProto) -> None:
        value.type = self._type(info)
        self._annotate(value, info)

    def _annotate(self, value: Value, info: ValueInfoProto) -> None:
        value.declared = True
        value.origin = info
        if info.doc_string:
            value.doc = readable(info.doc_string)
        if info.metadata_props:
            value.metadata = properties_from_proto(list(info.metadata_props))

    def _infos(
        self, infos: Iterable[ValueInfoProto], scope: dict[str, Value], strays: set[str]
    ) -> list[ValueInfoOrigin]:
        found: list[ValueInfoOrigin] = []
        for info in infos:
            name = info.name
            value = scope.get(name)
            if value is None:
                strays.add(name)
                self._names.add(name)  # no new value gets this name, or it would have this type
            found.append((None if value is None else value.type, info))
        return found

    def _outputs(self, names: Iterable[str], graph: Graph, where: str) -> None:
        scope = self._scopes[-1]
        for name in names:
            value = scope.get(name) or self._captured(name)
            if value is None:
                raise _UndefinedNameError(
                    f"{where}: output {name!r} is not defined by any input, initializer or node; fix the model"
                )
            graph.add_output(value)
