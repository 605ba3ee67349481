"""What a model is, at a glance: interface, operators, weights, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from graphopt.analysis.cost import cost_of_graph, parameter_count
from graphopt.ir import (
    Constant,
    Dim,
    Function,
    Graph,
    Model,
    Shape,
    TensorType,
    Value,
    find_schema,
    symbols_of,
)
from graphopt.ir.storage import BytesInFile, StoredData

__all__ = ["FunctionSummary", "ModelSummary", "ValueSummary", "summarize"]


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """An input or output.

    Attributes:
        name: its name.
        type: its type as text, ``"?"`` when unknown.
        has_default: whether callers may leave it out.
    """

    name: str
    type: str
    has_default: bool = False


@dataclass(frozen=True, slots=True)
class FunctionSummary:
    """A function of the model: its operator, how many nodes its body has, how often it is called."""

    op: str
    nodes: int
    calls: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What a model is.

    Attributes:
        source: path it was read from, or ``""``.
        file_bytes: size of that file, ``None`` when there is none.
        producer: tool that made it, with its version.
        ir_version: version of the file format.
        opsets: operator set version by domain.
        inputs: in order; initializers that are inputs too have a default.
        outputs: in order.
        dynamic_dims: names of the sizes that callers choose.
        nodes: in all graphs and functions.
        ops: nodes by operator, most frequent first.
        unknown_ops: operators that neither the installed ``onnx``, a plugin nor a function of the model defines.
        subgraphs: graphs inside nodes.
        depth: of the deepest subgraph.
        functions: functions of the model.
        parameters: elements of all weights.
        weights: number of initializers.
        weight_bytes: bytes of all constants, in initializers and nodes.
        weight_bytes_by_type: the same for initializers, by element type.
        external_files: files beside the model that hold weights, with the bytes used of each.
        flops: operations of one run; a number, or an expression over dynamic sizes.
        flops_by_op: the same by operator, where it is known.
        moved_bytes: bytes that nodes of the main graph read and give in one run, as far as sizes are known.
        unsized_nodes: nodes for which they are not.
        unknown_cost: nodes whose operations could not be counted, by operator.
        sizes: numbers that dynamic sizes were bound to.
        metadata: metadata properties of the model.
    """

    source: str
    file_bytes: int | None
    producer: str
    ir_version: int
    opsets: dict[str, int]
    inputs: list[ValueSummary]
    outputs: list[ValueSummary]
    dynamic_dims: list[str]
    nodes: int
    ops: dict[str, int]
    unknown_ops: list[str]
    subgraphs: int
    depth: int
    functions: list[FunctionSummary]
    parameters: int
    weights: int
    weight_bytes: int
    weight_bytes_by_type: dict[str, int]
    external_files: dict[str, int]
    flops: int | str | None
    flops_by_op: dict[str, int | str | None]
    moved_bytes: int | str | None
    unsized_nodes: int
    unknown_cost: dict[str, int]
    sizes: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def _number(dim: Dim) -> int | str | None:
    return dim if dim is None or isinstance(dim, int) else str(dim)


def _value(value: Value) -> ValueSummary:
    return ValueSummary(value.name, "?" if value.type is None else str(value.type), value.const is not None)


def _shapes(values: Iterable[Value]) -> Iterable[Shape]:
    for value in values:
        if isinstance(value.type, TensorType) and value.type.shape is not None:
            yield value.type.shape


def _functions(model: Model, ops: Mapping[str, int]) -> list[FunctionSummary]:
    return [
        FunctionSummary(
            op=_op_of(function),
            nodes=sum(len(graph.nodes) for graph in function.graph.walk_graphs()),
            calls=ops.get(_op_of(function), 0),
        )
        for function in model.functions.values()
    ]


def _op_of(function: Function) -> str:
    return f"{function.domain}::{function.name}" if function.domain else function.name


def _unknown_ops(model: Model) -> list[str]:
    own = {(domain, name) for domain, name, _ in model.functions}
    found: dict[str, None] = {}
    seen: set[tuple[int, str]] = set()
    for owner in model.owners():
        imports = owner.opset_imports
        for node in owner.graph.walk():
            if (id(owner), node.op) in seen:
                continue
            seen.add((id(owner), node.op))
            version = imports.get(node.domain)
            known = version is not None and find_schema(node.domain, node.op_type, version) is not None
            if not known and (node.domain, node.op_type) not in own:
                found[node.op] = None
    return sorted(found)


def _external_files(constants: Iterable[Constant], source: str) -> dict[str, int]:
    own = Path(source) if source else None
    found: Counter[Path] = Counter()
    for constant in constants:
        data = constant.data
        if isinstance(data, StoredData) and isinstance(data.source, BytesInFile):
            found[data.source.path] += data.length
    return {str(path.name): size for path, size in found.items() if own is None or path.resolve() != own.resolve()}


def _file_bytes(source: str) -> int | None:
    path = Path(source) if source else None
    return path.stat().st_size if path is not None and path.is_file() else None


def _producer(model: Model) -> str:
    return " ".join(filter(None, (model.producer_name, model.producer_version)))


def _initializers(graphs: Iterable[Graph]) -> list[Constant]:
    return [value.const for graph in graphs for value in graph.initializers() if value.const is not None]


def summarize(model: Model, *, sizes: Mapping[str, int] | None = None) -> ModelSummary:
    """What a model is. Types that are not known yet leave parts of the cost unknown.

    Args:
        model: any model; it is not changed.
        sizes: numbers for dynamic sizes, by name, for the cost.
    """
    graphs = list(model.graphs())
    ops = Counter(node.op for graph in graphs for node in graph.nodes)
    constants = _initializers(graphs)
    by_type: Counter[str] = Counter()
    for constant in constants:
        by_type[str(constant.dtype)] += constant.nbytes
    cost = cost_of_graph(model, sizes)
    dynamic = frozenset().union(*(symbols_of(shape) for shape in _shapes(model.graph.inputs)))
    return ModelSummary(
        source=model.source,
        file_bytes=_file_bytes(model.source),
        producer=_producer(model),
        ir_version=model.ir_version,
        opsets=dict(model.opset_imports),
        inputs=[_value(value) for value in model.graph.inputs],
        outputs=[_value(value) for value in model.graph.outputs],
        dynamic_dims=sorted(dynamic),
        nodes=ops.total(),
        ops=dict(ops.most_common()),
        unknown_ops=_unknown_ops(model),
        subgraphs=len(graphs) - 1 - len(model.functions),
        depth=max(graph.depth for graph in graphs),
        functions=_functions(model, ops),
        parameters=parameter_count(model),
        weights=len(constants),
        weight_bytes=model.constant_bytes,
        weight_bytes_by_type=dict(by_type.most_common()),
        external_files=_external_files(constants, model.source),
        flops=_number(cost.flops),
        flops_by_op={op: _number(part) for op, part in sorted(cost.flops_by_op.items(), key=_by_size)},
        moved_bytes=_number(cost.bytes),
        unsized_nodes=cost.unsized,
        unknown_cost=dict(cost.unknown.most_common()),
        sizes=dict(sizes or {}),
        metadata=dict(model.metadata),
    )


def _by_size(item: tuple[str, Dim]) -> tuple[bool, int]:
    """Symbolic costs first, then the largest numbers."""
    return isinstance(item[1], int), -item[1] if isinstance(item[1], int) else 0
