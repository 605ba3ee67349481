"""What a file states of the shapes that loops carry, kept only where inference proves it.

A loop may carry another shape each time, and runtimes never compare it with what the file states of the body's inputs. A stated shape
is right in each iteration if the loop starts with it, and if the body, given it, gives it back; ONNX's inference says both. Works on
messages, before and after inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx import AttributeProto, GraphProto, NodeProto, TypeProto

__all__ = ["forget_given_shapes", "unproved_shapes"]


def forget_given_shapes(node: NodeProto, body: GraphProto) -> None:
    """Forget stated shapes of a body's inputs, except those that a loop carries: the node gives them, inference knows how."""
    carried = range(*_carried(node, body)) if node.op_type in ("Loop", "Scan") else range(0)
    for index, value in enumerate(body.input):
        if index not in carried and value.type.HasField("tensor_type") and not (node.op_type == "Loop" and index < 2):
            value.type.tensor_type.ClearField("shape")


def _carried(node: NodeProto, body: GraphProto) -> tuple[int, int]:
    """First input of the body that is carried, and the first after these."""
    if node.op_type == "Loop":
        return 2, len(body.input)
    scanned = sum(attribute.i for attribute in node.attribute if attribute.name == "num_scan_inputs")
    return 0, max(0, len(body.input) - scanned)


def unproved_shapes(
    graph: GraphProto, inferred: GraphProto, around: Mapping[str, TypeProto] | None = None
) -> Iterator[TypeProto]:
    """Types of body inputs in ``graph`` whose shapes are stated and not proved.

    Args:
        graph: what inference was given.
        inferred: what it made of that.
        around: types of values in the graphs around.
    """
    known: dict[str, TypeProto] | None = None
    for node, found in zip(graph.node, inferred.node, strict=True):
        for attribute, found_attribute in zip(node.attribute, found.attribute, strict=True):
            if attribute.type != AttributeProto.GRAPH:
                continue
            if known is None:
                known = {**(around or {}), **_types(inferred)}
            body, found_body = attribute.g, found_attribute.g
            if node.op_type in ("Loop", "Scan"):
                yield from _unproved(node, body, found_body, known)
            yield from unproved_shapes(body, found_body, known)


def _unproved(
    node: NodeProto, body: GraphProto, found: GraphProto, known: Mapping[str, TypeProto]
) -> Iterator[TypeProto]:
    first, end = _carried(node, body)
    for index in range(first, end):
        stated = body.input[index].type
        if not stated.HasField("tensor_type") or not stated.tensor_type.HasField("shape"):
            continue
        back = index - 1 if node.op_type == "Loop" else index
        given = known.get(node.input[index]) if index < len(node.input) else None
        given_back = found.output[back].type if back < len(found.output) else None
        if not (_says(given, stated) and _says(given_back, stated)):
            yield stated


def _says(known: TypeProto | None, stated: TypeProto) -> bool:
    """Whether a known shape has all that is stated of it."""
    if known is None or not known.HasField("tensor_type") or not known.tensor_type.HasField("shape"):
        return False
    mine, wanted = known.tensor_type.shape.dim, stated.tensor_type.shape.dim
    return len(mine) == len(wanted) and all(
        not dim.WhichOneof("value") or dim == other for dim, other in zip(wanted, mine, strict=True)
    )


def _types(graph: GraphProto) -> dict[str, TypeProto]:
    found = {info.name: info.type for info in (*graph.input, *graph.value_info, *graph.output)}
    for item in graph.initializer:
        tensor = TypeProto.Tensor(elem_type=item.data_type)
        tensor.shape.SetInParent()
        for size in item.dims:
            tensor.shape.dim.add(dim_value=size)
        found.setdefault(item.name, TypeProto(tensor_type=tensor))
    return found
