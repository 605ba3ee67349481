"""IR to ``ModelProto``. What nobody changed is written exactly as it was read, by handing over the message it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    TensorProto,
)

from graphopt.ir import (
    Attribute,
    AttributeKind,
    Constant,
    Function,
    Graph,
    Model,
    Node,
    Value,
)
from graphopt.ir.lineage import LINEAGE_KEY
from graphopt.serde.attributes import attribute_to_proto
from graphopt.serde.collector import collector_paused
from graphopt.serde.origins import (
    GraphOrigin,
    ModelOrigin,
    NodeOrigin,
    properties_to_proto,
    state_blanks,
)
from graphopt.serde.statements import statements, tensor_annotations, value_infos
from graphopt.serde.tensors import constant_to_proto, sparse_to_proto

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from graphopt.ir import GraphOwner

__all__ = ["LINEAGE_KEY", "Place", "emit_model", "initializer_to_proto"]

_FIRST_IR_VERSION_WITH_NODE_METADATA = 10
_FIRST_IR_VERSION_WITH_FREE_INITIALIZERS = 4

#: Gives the message of a dense initializer; decides where its bytes are.
Place = Callable[[Value], TensorProto]


def initializer_to_proto(value: Value) -> TensorProto:
    """The message of a dense initializer, with its bytes where they were."""
    return constant_to_proto(cast("Constant", value.const), value.name)


def emit_model(model: Model, *, lineage: bool = True, place: Place = initializer_to_proto) -> ModelProto:
    """The message of a whole model.

    Args:
        model: not changed, except that values without a name that somebody reads get one.
        lineage: whether nodes that a rewrite made say what they came from (IR version 10 and later).
        place: gives the message of each dense initializer.
    """
    with collector_paused():
        return _Emitter(model, lineage=lineage, place=place).model()


class _Emitter:
    def __init__(self, model: Model, *, lineage: bool, place: Place) -> None:
        self._model = model
        self._lineage = lineage and model.ir_version >= _FIRST_IR_VERSION_WITH_NODE_METADATA
        self._place = place

    def model(self) -> ModelProto:
        model = self._model
        proto = ModelProto()
        proto.ir_version = model.ir_version
        origin = model.origin if isinstance(model.origin, ModelOrigin) else ModelOrigin()
        proto.opset_import.extend(_opset_imports(model, origin))
        for name in ("producer_name", "producer_version", "domain", "model_version"):
            if getattr(model, name):
                setattr(proto, name, getattr(model, name))
        if model.doc:
            proto.doc_string = model.doc
        self.graph(model.graph, proto.graph)
        proto.metadata_props.extend(properties_to_proto(model.metadata, origin.metadata))
        for function in model.functions.values():
            self.function(function, proto.functions.add())
        state_blanks(proto, origin.blanks)
        proto.configuration.extend(origin.configurations)
        return proto

    # -- graphs -------------------------------------------------------------------------------------------------------------

    def graph(self, graph: Graph, proto: GraphProto) -> None:
        """Fill the message of a graph. In place: protobuf copies no message that is nested deep."""
        origin = graph.origin if isinstance(graph.origin, GraphOrigin) else GraphOrigin()
        old_rules = self._model.ir_version < _FIRST_IR_VERSION_WITH_FREE_INITIALIZERS
        for value in graph.initializers():
            constant = cast("Constant", value.const)
            if old_rules and not value.is_input and value.origin is None:
                # new here: the file format wants it among the inputs, which are a promise
                _constant_node(value, proto.node.add())
                continue
            if constant.is_sparse:
                proto.sparse_initializer.append(sparse_to_proto(constant, value.name))
            else:
                proto.initializer.append(self._place(value))
        declared: list[Value] = []
        self.nodes(graph, proto.node, declared)
        if graph.name:
            proto.name = graph.name
        if graph.doc:
            proto.doc_string = graph.doc
        state_blanks(proto, origin.blanks)
        proto.input.extend(statements(graph.inputs, origin.inputs))
        proto.output.extend(statements(graph.outputs, origin.outputs))
        proto.value_info.extend(value_infos(graph, declared, origin))
        proto.quantization_annotation.extend(tensor_annotations(graph, origin))
        proto.metadata_props.extend(properties_to_proto(graph.metadata, origin.metadata))

    def function(self, function: Function, proto: FunctionProto) -> None:
        """Fill the message of a function."""
        graph = function.graph
        origin = function.origin if isinstance(function.origin, ModelOrigin) else ModelOrigin()
        graph_origin = graph.origin if isinstance(graph.origin, GraphOrigin) else GraphOrigin()
        proto.name = function.name
        if function.domain:
            proto.domain = function.domain
        if function.overload:
            proto.overload = function.overload
        if function.doc:
            proto.doc_string = function.doc
        state_blanks(proto, origin.blanks)
        proto.input.extend([value.name for value in graph.inputs])
        proto.output.extend([value.name for value in graph.outputs])
        proto.attribute.extend(function.attribute_names)
        proto.attribute_proto.extend([attribute_to_proto(*item) for item in function.attribute_defaults.items()])
        proto.opset_import.extend(_opset_imports(function, origin))
        declared: list[Value] = []
        for value in graph.initializers():
            _constant_node(value, proto.node.add())
        self.nodes(graph, proto.node, declared)
        proto.value_info.extend(value_infos(graph, declared, graph_origin))
        proto.metadata_props.extend(properties_to_proto(function.metadata, origin.metadata))

    # -- nodes --------------------------------------------------------------------------------------------------------------

    def nodes(self, graph: Graph, protos: RepeatedCompositeFieldContainer[NodeProto], declared: list[Value]) -> None:
        """Add the messages of all nodes of a graph; notes which of their outputs have a declared type."""
        found: list[NodeProto] = []  # unchanged ones that are to be added, together since that is much faster
        lineage = self._lineage
        for node in graph.nodes:
            outputs = []
            for value in node.outputs:
                if value.declared:
                    declared.append(value)
                if not value.name and value.is_used:
                    value.name = graph.fresh_name(node.op_type)
                outputs.append(value.name)
            inputs = ["" if value is None else value.name for value in node.inputs]
            origin = node.origin
            if type(origin) is NodeOrigin and not node.subgraphs and not (lineage and node._lineage is not None):
                known = origin.proto
                if (
                    node.attributes is origin.attributes
                    and known.op_type == node.op_type
                    and known.name == node.name
                    and known.input[:] == inputs
                    and known.output[:] == outputs
                    and _same_domain(known.domain, node.domain)
                    and known.doc_string == node.doc
                    and known.overload == node.overload
                    and _same_metadata(known, node)
                ):
                    found.append(known)
                    continue
            if found:
                protos.extend(found)
                found.clear()
            self.node(node, inputs, outputs, protos.add())
        protos.extend(found)

    def node(self, node: Node, inputs: list[str], outputs: list[str], proto: NodeProto) -> None:
        """Fill the message of a changed node; what did not change is taken from the message it came from."""
        proto.input.extend(inputs)
        proto.output.extend(outputs)
        if node.name:
            proto.name = node.name
        proto.op_type = node.op_type
        if node.domain:
            proto.domain = node.domain
        if node.overload:
            proto.overload = node.overload
        if node.doc:
            proto.doc_string = node.doc
        origin = node.origin if isinstance(node.origin, NodeOrigin) else None
        if origin is not None:
            before = origin.proto
            if not node.domain and before.HasField("domain") and before.domain in ("", "ai.onnx"):
                proto.domain = before.domain
            if not node.name and before.HasField("name"):
                proto.name = ""
            if not node.doc and before.HasField("doc_string"):
                proto.doc_string = ""
        known = {item.name: item for item in origin.proto.attribute} if origin is not None else {}
        for name, attribute in node.attributes.items():
            if attribute.kind.is_graph and not attribute.ref:
                self._graph_attribute(proto.attribute.add(), name, attribute)
            elif origin is not None and origin.attributes.get(name) is attribute:
                proto.attribute.append(known[name])
            else:
                attribute_to_proto(name, attribute, None, proto.attribute.add())
        metadata = dict(node.metadata or {})
        if self._lineage and node.has_own_lineage:
            metadata[LINEAGE_KEY] = ",".join(node.lineage.names())
        proto.metadata_props.extend(
            properties_to_proto(metadata, list(origin.proto.metadata_props) if origin is not None else None)
        )
        if origin is not None:
            proto.device_configurations.extend(origin.proto.device_configurations)

    def _graph_attribute(self, proto: AttributeProto, name: str, attribute: Attribute) -> None:
        proto.name = name
        proto.type = int(attribute.kind)  # type: ignore[assignment]  # the stubs want the enum type, protobuf takes its number
        if attribute.doc:
            proto.doc_string = attribute.doc
        if attribute.kind is AttributeKind.GRAPH:
            self.graph(cast("Graph", attribute.value), proto.g)
        else:
            for graph in cast("tuple[Graph, ...]", attribute.value):
                self.graph(graph, proto.graphs.add())


def _same_domain(spelled: str, domain: str) -> bool:
    return spelled == domain or (spelled == "ai.onnx" and not domain)


def _same_metadata(proto: NodeProto, node: Node) -> bool:
    stated = proto.metadata_props
    if not stated:
        return not node.metadata
    return {entry.key: entry.value for entry in stated} == (node.metadata or {})


def _constant_node(value: Value, proto: NodeProto) -> None:
    """Fill the message of a Constant node, for places where a file can't have initializers."""
    proto.op_type = "Constant"
    proto.output.append(value.name)
    constant = cast("Constant", value.const)
    kind = AttributeKind.SPARSE_TENSOR if constant.is_sparse else AttributeKind.TENSOR
    attribute_to_proto(
        "sparse_value" if constant.is_sparse else "value", Attribute(kind, constant), None, proto.attribute.add()
    )


def _opset_imports(owner: GraphOwner, origin: ModelOrigin) -> list[OperatorSetIdProto]:
    """The imports: spelled as they were where their version is the same, then the new ones."""
    found = []
    wanted = dict(owner.opset_imports)
    last = {_normal(item.domain): item.version for item in origin.opset_imports}
    for item in origin.opset_imports:
        domain = _normal(item.domain)
        if domain not in owner.opset_imports:
            continue
        wanted.pop(domain, None)
        if last[domain] == owner.opset_imports[domain]:
            found.append(item)
        else:
            found.append(OperatorSetIdProto(domain=item.domain, version=owner.opset_imports[domain]))
    found.extend([OperatorSetIdProto(domain=domain, version=version) for domain, version in wanted.items()])
    return found


def _normal(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
