"""Types of values, by ONNX's own shape inference: a whole model at once through C++, single nodes after edits.

The whole-model run sees no large weights (types need shapes, not numbers) and does not believe intermediate ``value_info``: what a file
says of inner values is often left over from before its inputs were made dynamic. It is used only for outputs of operators that nobody
has inference for. Nor does it see defaults that callers may override, or nodes that ONNX's inference is known to read otherwise than
runtimes do. Numerics: none; shapes are what ONNX infers, symbols included.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

from graphopt.backends.onnx.loop_shapes import forget_given_shapes, unproved_shapes
from graphopt.ir import Constant, DType, Graph, Model, Node, SymbolicDim, TensorType, Type, Value, constant_of_node
from graphopt.serde import attribute_to_proto, constant_to_proto, emit_model, type_from_proto, type_to_proto

__all__ = ["OnnxTypes"]

logger = logging.getLogger(__name__)

#: Constants up to this many bytes are shown to inference: it follows shapes, not weights.
_SHOWN_BYTES = 2048
_MAX_MESSAGE = (1 << 31) - 1
#: Operators that C++ inference reads otherwise than runtimes do, in some forms.
_MISREAD = frozenset({"Slice", "Squeeze", "Unsqueeze"})
_LARGEST_STEP = 1 << 30
_LARGEST = frozenset({(1 << 31) - 1, (1 << 63) - 1})


def _placed(value: Value) -> TensorProto:
    constant = value.const
    assert constant is not None, "an initializer has constant data"
    if constant.dtype is DType.STRING or constant.nbytes <= _SHOWN_BYTES:
        return constant_to_proto(constant, value.name)
    return TensorProto(name=value.name, dims=constant.shape, data_type=int(constant.dtype))


@lru_cache(maxsize=4096)
def _schema(domain: str, op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        found: onnx.defs.OpSchema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    return found


def _is_misread(node: Node) -> bool:
    """Whether C++ inference takes a node otherwise than runtimes do.

    Before opset 11 it finds only axes of Squeeze and Unsqueeze that are sorted and not negative. From opset 13 on it takes an empty list
    of axes as none, where runtimes squeeze all. It cuts steps of Slice to 32 bits, and never comes back from a loop in steps of 0; it takes
    axes and steps of unknown shape as absent ones; and the largest integer as an end, backwards, is the start to ONNX Runtime.
    """
    if node.op not in _MISREAD:
        return False
    opset = node.opset or 0
    if node.op == "Slice":
        steps = _integers_in(node.input_at(4))
        if None in _integers_in(node.input_at(3)) or any(step is None or abs(step) > _LARGEST_STEP for step in steps):
            return True
        return any(step is not None and step < 0 for step in steps) and not _LARGEST.isdisjoint(
            _integers_in(node.input_at(2))
        )
    if opset < 13:
        axes = node.ints_attr("axes") or ()
        return opset < 11 and (min(axes, default=0) < 0 or list(axes) != sorted(axes))
    return node.op == "Squeeze" and node.input_at(1) is not None and not _integers_in(node.input_at(1))


def _constant_in(value: Value) -> Constant | None:
    """The constant that a value is, or that its Constant node gives."""
    if value.producer is not None:
        return constant_of_node(value.producer)
    return value.const if value.is_constant else None


def _integers_in(value: Value | None) -> Sequence[int | None]:
    """The numbers of a small constant, also of one that a Constant node gives; ``[None]`` for what is not known."""
    if value is None:
        return []
    constant = _constant_in(value)
    if constant is None or constant.is_sparse or not constant.dtype.is_integer or constant.nbytes > _SHOWN_BYTES:
        return [None]
    return [int(item) for item in constant.numpy().reshape(-1)]


def _hide_misread_nodes(model: Model, proto: ModelProto) -> None:
    """Give nodes that inference would misread a name that it does not know."""
    hidden = {
        value.name
        for graph in model.graphs()
        for node in graph.nodes
        if node.op in _MISREAD and _is_misread(node)
        for value in node.outputs
    }
    if not hidden:
        return
    todo = [proto.graph.node, *(function.node for function in proto.functions)]
    while todo:
        for node in todo.pop():
            if node.op_type in _MISREAD and not hidden.isdisjoint(node.output):
                node.op_type = f"{node.op_type}.unread"
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    todo.append(attribute.g.node)
                todo.extend(inner.node for inner in attribute.graphs)


def _forget_negative_sizes(graph: GraphProto) -> None:
    """Some exporters write -1 for a size that is not known; C++ inference calculates with it, and may abort the process."""
    todo = [info.type for info in (*graph.input, *graph.output, *graph.value_info)]
    while todo:
        stated = todo.pop()
        for dim in stated.tensor_type.shape.dim if stated.HasField("tensor_type") else ():
            if dim.dim_value < 0:
                dim.ClearField("dim_value")
        if stated.HasField("sequence_type"):
            todo.append(stated.sequence_type.elem_type)
        elif stated.HasField("optional_type"):
            todo.append(stated.optional_type.elem_type)


def _is_static(model: Model) -> bool:
    """Whether each run has inputs of the same sizes."""
    return all(
        isinstance(value.type, TensorType) and value.type.static_shape is not None for value in model.graph.inputs
    )


def _forget_types(graph: Graph) -> None:
    """What a file states of the values in a function may be true for one of its calls only."""
    for inner in graph.walk_graphs():
        for value in inner.values():
            if value.const is None:
                value.type = None


def _infer(proto: ModelProto) -> ModelProto:
    found: ModelProto = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    return found


class OnnxTypes:
    """Finds types by ONNX's shape inference; implements :class:`graphopt.passes.ModelTypes`."""

    def __init__(self) -> None:
        self._read: dict[bytes, Type | None] = {}
        self._written: dict[TensorType, TypeProto] = {}

    # -- a whole model --------------------------------------------------------------------------------------------------------

    def infer_model(self, model: Model) -> int:
        """Set the types of values, subgraphs included. What can't be inferred keeps its element type only."""
        proto = emit_model(model, lineage=False, place=_placed)
        defaults = {value.name for value in model.graph.initializers() if value.is_input and not value.is_constant}
        if defaults:  # a caller may give other numbers, of other sizes
            kept = [item for item in proto.graph.initializer if item.name not in defaults]
            del proto.graph.initializer[:]
            proto.graph.initializer.extend(kept)
        for function in model.functions.values():
            _forget_types(function.graph)
        known_ops = {function.key[:2] for function in model.functions.values()}
        self._forget_statements(proto.graph, model, known_ops, static=_is_static(model))
        _hide_misread_nodes(model, proto)
        if proto.ByteSize() > _MAX_MESSAGE:
            logger.warning("the model is too large for type inference; shapes of inner values are not known")
            return self._read_graph(model.graph, proto.graph)
        try:
            inferred = _infer(proto)
            while unproved := list(unproved_shapes(proto.graph, inferred.graph)):
                for stated in unproved:
                    stated.tensor_type.ClearField("shape")
                inferred = _infer(proto)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as err:
            logger.warning("type inference failed, shapes of inner values are not known: %s", err)
            return self._read_graph(model.graph, proto.graph)
        return self._read_graph(model.graph, inferred.graph)

    def _forget_statements(
        self, graph: GraphProto, model: Model, functions: set[tuple[str, str]], *, static: bool
    ) -> None:
        """Keep statements only about what inference has no rule for; numbers in them only if no input is dynamic."""
        _forget_negative_sizes(graph)
        kept = set()
        for node in graph.node:
            domain = "" if node.domain == "ai.onnx" else node.domain
            known = (domain, node.op_type) in functions
            schema = None if known else _schema(domain, node.op_type, model.opset_imports.get(domain, 0))
            if not known and (schema is None or not schema.has_type_and_shape_inference_function):
                kept.update(node.output)
            for attribute in node.attribute:
                for inner in [attribute.g, *attribute.graphs] if attribute.HasField("g") or attribute.graphs else []:
                    forget_given_shapes(node, inner)
                    self._forget_statements(inner, model, functions, static=static)
        infos = [info for info in graph.value_info if info.name in kept]
        del graph.value_info[:]
        graph.value_info.extend(infos)
        for info in [] if static else [*graph.value_info, *(value for value in graph.output if value.name in kept)]:
            for dim in info.type.tensor_type.shape.dim if info.type.HasField("tensor_type") else ():
                dim.ClearField("dim_value")
        given = {value.name for value in graph.input}
        for output in graph.output:
            if output.name not in kept and output.name not in given and output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")

    def _read_graph(self, graph: Graph, proto: GraphProto) -> int:
        infos = {info.name: info.type for info in proto.value_info}
        for info in proto.output:
            if info.HasField("type"):
                infos[info.name] = info.type
        changed = 0
        stated = graph.parent is not None
        if stated:  # inputs of a subgraph are what its node gives them
            for info in proto.input:
                if info.HasField("type"):
                    infos[info.name] = info.type
            for value in graph.inputs:
                changed += self._set(value, infos.get(value.name))
        protos = iter(proto.node)
        offset = len(proto.node) - len(graph.nodes)  # constants written as nodes stand first
        for _ in range(offset):
            next(protos)
        for node in graph.nodes:
            node_proto = next(protos)
            for value in node.outputs:
                changed += self._set(value, infos.get(value.name))
            if node.subgraphs:
                inner = [a.g if a.HasField("g") else None for a in node_proto.attribute]
                graphs = [g for g in inner if g is not None] + [g for a in node_proto.attribute for g in a.graphs]
                for subgraph, subproto in zip(node.subgraphs, graphs, strict=True):
                    changed += self._read_graph(subgraph, subproto)
        return changed

    def _set(self, value: Value, proto: TypeProto | None) -> int:
        found = None if proto is None else self._read_type(proto)
        old = value.type
        if isinstance(old, TensorType):
            if found is None or (isinstance(found, TensorType) and found.shape is None):
                dtype = found.dtype if isinstance(found, TensorType) and found.dtype else old.dtype
                found = TensorType(
                    dtype, None
                )  # a stated rank may be that of the inputs at export, as with Squeeze of all
            elif isinstance(found, TensorType) and found.dtype is DType.UNDEFINED:
                found = TensorType(old.dtype, found.shape)
        if found is None or found == old:
            return 0
        value.type = found
        return 1

    def _read_type(self, proto: TypeProto) -> Type | None:
        key = proto.SerializeToString()
        if key not in self._read:
            self._read[key] = type_from_proto(proto)
        return self._read[key]

    # -- one node -------------------------------------------------------------------------------------------------------------

    def infer_node(self, node: Node) -> Sequence[Type | None]:
        """Types of a node's outputs from those of its inputs; ``None`` where nothing can be said."""
        nothing: list[Type | None] = [None] * len(node.outputs)
        version = node.opset
        owner = node.graph.owner if node.graph is not None else None
        if version is None or owner is None or node.subgraphs or node.has_references or _is_misread(node):
            return nothing
        schema = _schema(node.domain, node.op_type, version)
        if schema is None or not schema.has_type_and_shape_inference_function:
            return nothing
        proto = NodeProto(op_type=node.op_type, domain=node.domain)
        types: dict[str, TypeProto] = {}
        data: dict[str, TensorProto] = {}
        for index, value in enumerate(node.inputs):
            name = "" if value is None else f"i{index}"
            proto.input.append(name)
            if value is None:
                continue
            if value.type is None:
                return nothing
            types[name] = self._write_type(value.type)
            constant = _constant_in(value)
            if constant is not None and constant.nbytes <= _SHOWN_BYTES:
                data[name] = constant_to_proto(constant, name)
        proto.output.extend([f"o{index}" for index in range(len(node.outputs))])
        for name, attribute in node.attributes.items():
            proto.attribute.append(attribute_to_proto(name, attribute))
        imports = [
            onnx.OperatorSetIdProto(domain=domain, version=number) for domain, number in owner.opset_imports.items()
        ]
        try:
            found = onnx.shape_inference.infer_node_outputs(schema, proto, types, data, opset_imports=imports)
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as err:
            logger.debug("types of %s: %s", node, err)
            return nothing
        return [self._local_type(found[name]) if name in found else None for name in proto.output]

    def _write_type(self, value_type: Type) -> TypeProto:
        if not isinstance(value_type, TensorType):
            return type_to_proto(value_type)
        found = self._written.get(value_type)
        if found is None:
            found = self._written[value_type] = type_to_proto(value_type)
        return found

    def _local_type(self, proto: TypeProto) -> Type | None:
        found = self._read_type(proto)
        if isinstance(found, TensorType) and found.shape is not None:
            generated = [isinstance(dim, SymbolicDim) and dim.is_generated for dim in found.shape]
            if any(generated):
                dims = zip(found.shape, generated, strict=True)
                return TensorType(found.dtype, tuple(None if made else dim for dim, made in dims))
        return found
