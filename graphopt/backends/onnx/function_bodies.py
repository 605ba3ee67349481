"""Operators that ONNX defines by a graph of others: that graph as a function of the model, for ``inline-functions`` to put in their place.

Losses, Attention, CenterCropPad, AffineGrid and many more. Some graphs depend on types and attributes; ONNX makes these for a node. A graph
is taken as it is stated for the newest opset that is not newer than the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import onnx
from onnx import FunctionProto, ModelProto, NodeProto

from graphopt.errors import GraphoptError
from graphopt.ir import Function, Graph, Model, Node, OpSchema, Value, find_schema
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import Rewriter
from graphopt.serde.attributes import attribute_to_proto
from graphopt.serde.lift import lift_model
from graphopt.serde.types import type_to_proto

__all__ = ["ExpandFunctionOps"]

#: Domain of the functions that are made.
_DOMAIN: Final = "graphopt.bodies"
#: Operators that changed what they mean without a sign of it in their inputs and attributes.
_OTHER_MEANING: Final = frozenset(
    {"AveragePool", "BatchNormalization", "GroupNormalization", "MaxPool", "Resize", "Scan", "Split"}
)


@dataclass(frozen=True)
class ExpandFunctionOps(Pass):
    """Make calls of functions out of operators that ONNX defines by a graph; ``inline-functions`` puts the graphs in their place.

    The graph means the same; kernels of a runtime may round otherwise. Needs types: some graphs depend on them.

    Attributes:
        ops: operators to expand, all that have a graph if none are stated.
        lacking: only those for which the target has no kernel.
        keep: operators that stay.
    """

    name: ClassVar[str] = "expand-function-ops"
    idempotent: ClassVar[bool] = True
    numerics: ClassVar[Numerics] = Reassociates(1e-4)
    per_function: ClassVar[bool] = False
    ops: tuple[str, ...] = ()
    lacking: bool = False
    keep: tuple[str, ...] = ()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Expand operators in a graph and its subgraphs."""
        model = graph.owner
        if not isinstance(model, Model):  # what a function holds is expanded once it is inlined
            return PassResult(changed=False)
        rewriter = Rewriter(ctx.types)
        made = 0
        for node in list(graph.walk()):
            if not self._is_wanted(node, ctx):
                continue
            body = _body_of(node)
            if (
                body is None
                or not _means_the_same(body, node)
                or not ctx.applications.admits(self.name, node.outputs[0].name)
            ):
                continue
            given = _given_outputs(body, len(node.outputs))
            if any(item.is_used for at, item in enumerate(node.outputs) if at not in given):
                continue
            function = _function(model, node, body)
            if function is None:
                continue
            call = Node(function.name, node.inputs, len(given), dict(node.attributes), domain=_DOMAIN)
            node.graph.insert_before(node, call)  # type: ignore[union-attr]  # a node of a graph has one
            rewriter.start(node)
            replacements: list[Value | None] = [None] * len(node.outputs)
            for at, new in zip(given, call.outputs, strict=True):
                new.type = node.outputs[at].type
                replacements[at] = new
            rewriter.finish(node, replacements)
            ctx.applications.record(self.name, call.outputs[0].name)
            made += 1
        if made:
            model.opset_imports.setdefault(_DOMAIN, 1)
        return PassResult(changed=made > 0, stats={"calls": made})

    def _is_wanted(self, node: Node, ctx: PassContext) -> bool:
        if node.op in self.keep or (self.ops and node.op not in self.ops):
            return False
        schema = node.schema
        if schema is None or not schema.has_function:
            return False
        return not self.lacking or not ctx.target.has_kernel(node.op)


def _body_of(node: Node) -> FunctionProto | None:
    """The graph that ONNX states for a node, ``None`` when there is none for it."""
    opset = node.opset
    if opset is None:
        return None
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)  # its stubs lack what follows
        if schema.has_context_dependent_function:
            versions = [item for item in schema.context_dependent_function_opset_versions if item <= opset]
            if versions:
                types = [type_to_proto(None if item is None else item.type).SerializeToString() for item in node.inputs]
                made = schema.get_context_dependent_function_with_opset_version(
                    max(versions), _node_proto(node).SerializeToString(), types
                )
                found = FunctionProto.FromString(made)
                return _in_default_domain(found) if found.node else None
        versions = [item for item in schema.function_opset_versions if item <= opset]
        if schema.has_function and versions:
            stated = schema.get_function_with_opset_version(max(versions))  # bytes, a message in older releases of ONNX
            return _in_default_domain(
                FunctionProto.FromString(stated if isinstance(stated, bytes) else stated.SerializeToString())
            )
    except Exception:  # noqa: BLE001  ONNX raises what it likes where it can't make one
        return None
    return None


def _in_default_domain(body: FunctionProto) -> FunctionProto:
    """A graph without the other name of the default domain."""
    for inner in body.node:
        inner.domain = "" if inner.domain == "ai.onnx" else inner.domain
    return body


def _given_outputs(body: FunctionProto, count: int) -> list[int]:
    """Places of the outputs that a graph gives: one that was made for a node leaves out what the node does not ask for."""
    made = {name for inner in body.node for name in inner.output} | set(body.input)
    return [at for at, name in enumerate(body.output[:count]) if name in made]


def _means_the_same(body: FunctionProto, node: Node) -> bool:
    """Whether the operators of a graph are the same ones at the opsets of the model; what it does not import is the model's."""
    stated = {item.domain: item.version for item in body.opset_import}
    imports = {} if node.graph is None or node.graph.owner is None else node.graph.owner.opset_imports
    for inner in body.node:
        mine = imports.get(inner.domain, stated.get(inner.domain))
        theirs = stated.get(inner.domain, mine)
        if theirs is None or mine is None:
            return False
        there, here = (find_schema(inner.domain, inner.op_type, version) for version in (theirs, mine))
        if there is None or here is None or not _only_takes_more(there, here):
            return False
    return True


def _only_takes_more(there: OpSchema, here: OpSchema) -> bool:
    """Whether a version of an operator does what an older one did, and no more than takes more types, inputs and attributes."""
    if there.since_version == here.since_version:
        return True
    if here.since_version < there.since_version or here.op_type in _OTHER_MEANING:
        return False
    known = all(
        name in here.attributes and there.attribute_default(name) == here.attribute_default(name)
        for name in there.attributes
    )
    added = [spec for name, spec in here.attributes.items() if name not in there.attributes]
    return known and not any(spec.required for spec in added) and there.min_inputs == here.min_inputs <= here.max_inputs


def _node_proto(node: Node) -> NodeProto:
    names = ["" if item is None else item.name for item in node.inputs]
    proto = onnx.helper.make_node(node.op_type, names, [item.name for item in node.outputs], domain=node.domain)
    for name, attribute in node.attributes.items():
        proto.attribute.append(attribute_to_proto(name, attribute))
    return proto


def _function(model: Model, node: Node, body: FunctionProto) -> Function | None:
    """The graph as a function of the model."""
    outputs = [body.output[at] for at in _given_outputs(body, len(node.outputs))]
    del body.output[:]
    body.output.extend(outputs)
    stated_opsets = {item.domain: item.version for item in body.opset_import}
    del body.opset_import[:]  # at those of the model the operators mean the same, as was seen before
    for domain in sorted({inner.domain for inner in body.node}):
        version = model.opset_imports.get(domain) or stated_opsets[domain]
        body.opset_import.append(onnx.helper.make_opsetid(domain, version))
    body.domain, body.name = _DOMAIN, f"{node.op_type}_{len(model.functions)}"
    stated = {item.name for item in body.attribute_proto} | set(node.attributes)
    for name in [item for item in body.attribute if item not in stated]:
        default = None if node.schema is None else node.schema.attribute_default(name)
        if default is not None:  # a body can do without an attribute that has none
            body.attribute_proto.append(onnx.helper.make_attribute(name, default))
            body.attribute.remove(name)
    call = onnx.helper.make_node(body.name, list(body.input), list(body.output), domain=_DOMAIN)
    call.attribute.extend(
        attribute_to_proto(name, node.attributes[name]) for name in body.attribute if name in node.attributes
    )
    inputs = [onnx.ValueInfoProto(name=name) for name in body.input]
    graph = onnx.helper.make_graph([call], "call", inputs, [onnx.ValueInfoProto(name=body.output[0])])
    proto = ModelProto(ir_version=10, graph=graph, functions=[body])
    proto.opset_import.extend([*body.opset_import, onnx.helper.make_opsetid(_DOMAIN, 1)])
    try:
        lifted = lift_model(proto)
    except GraphoptError:
        return None
    [function] = lifted.functions.values()
    model.functions[function.key] = function
    return function
