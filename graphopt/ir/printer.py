"""Models as text: stable from run to run, one node a line, exact to the bit. :mod:`graphopt.ir.parser` has the grammar.

Values come in the order of the graph, attributes in the order of the node, so equal models give equal text. Nothing depends on the
machine or on addresses.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Union, cast

from graphopt.ir.attributes import Attribute, AttributeKind
from graphopt.ir.constant import Constant, SparseData
from graphopt.ir.graph import Graph
from graphopt.ir.lineage import Lineage
from graphopt.ir.literals import bytes_text, elements_text, float_text, name_text, string_text, type_text, word_text
from graphopt.ir.model import Function, Model
from graphopt.ir.node import Node
from graphopt.ir.types import DType, Type
from graphopt.ir.value import Quantization, Value

__all__ = ["Weights", "constants_by_digest", "print_graph", "print_model"]

#: What becomes of large constants: digest and bytes, digest only (all are read for it), or nothing but the type (none is read).
Weights = Literal["inline", "elide", "omit"]
_INPUTS_ON_ONE_LINE = 4
#: A line, or the lines of a graph inside; flattened by a loop so that depth does not matter.
_Lines = Iterator[Union[str, "_Lines"]]


def print_model(model: Model, *, weights: Weights = "elide", small: int = 16, details: bool = True) -> str:
    """The text form of a model with its functions.

    Args:
        model: also one that the verifier refuses.
        weights: ``"inline"`` for text that :func:`~graphopt.ir.parse_model` can read alone, ``"elide"`` for digests instead of
            bytes, ``"omit"`` to read no large constant at all.
        small: constants of up to so many elements are written out.
        details: whether to write what does not change the meaning: lineage, doc strings, metadata.

    Returns:
        Lines that end with a newline.
    """
    return _flatten(_Printer(weights, small, details).model(model))


def print_graph(graph: Graph, *, weights: Weights = "elide", small: int = 16, details: bool = True) -> str:
    """The text form of one graph and those inside it; see :func:`print_model`."""
    return _flatten(_Printer(weights, small, details).graph(graph, ""))


def constants_by_digest(model: Model) -> dict[str, Constant]:
    """The constants of a model by the digests that stand in its text form, for :func:`~graphopt.ir.parse_model`."""
    found: dict[str, Constant] = {}
    for graph in model.graphs():
        for value in graph.values():
            if value.const is not None:
                found[_digest(value.const)] = value.const
        for node in graph.nodes:
            for attribute in node.attributes.values():
                items = attribute.value if isinstance(attribute.value, tuple) else (attribute.value,)
                found.update((_digest(item), item) for item in items if isinstance(item, Constant))
    return found


def _digest(constant: Constant) -> str:
    return constant.digest().hex()[:32]


def _flatten(lines: _Lines) -> str:
    found: list[str] = []
    stack = [lines]
    while stack:
        for line in stack[-1]:
            if isinstance(line, str):
                found.append(line)
            else:
                stack.append(line)
                break
        else:
            stack.pop()
    found.append("")
    return "\n".join(found)


@dataclass(frozen=True, slots=True)
class _Printer:
    weights: Weights
    small: int
    details: bool

    # -- lines --------------------------------------------------------------------------------------------------------------

    def model(self, model: Model) -> _Lines:
        yield "graphopt-ir 1"
        stated = {
            "ir_version": str(model.ir_version),
            "opset": _opset_text(model.opset_imports),
            "producer_name": model.producer_name and string_text(model.producer_name),
            "producer_version": model.producer_version and string_text(model.producer_version),
            "domain": model.domain and string_text(model.domain),
            "model_version": str(model.model_version) if model.model_version else "",
        }
        yield f"model{_notes(stated | self.described(model.doc, model.metadata))}"
        for function in model.functions.values():
            yield ""
            yield self.function(function)
        yield ""
        yield self.graph(model.graph, "")

    def function(self, function: Function) -> _Lines:
        stated = {
            "overload": function.overload and string_text(function.overload),
            "opset": _opset_text(function.opset_imports),
            "attributes": _list_text(function.attribute_names),
        }
        notes = _notes(stated | self.described(function.doc, function.metadata))
        yield f"function {_op_text(function.domain, function.name)}{notes}{self.attributes(function.attribute_defaults)}"
        yield self.graph(function.graph, "")

    def graph(self, graph: Graph, pad: str, before: str = "", after: str = "") -> _Lines:
        name = f" {word_text(graph.name)}" if graph.name else ""
        inputs = [self.value(value) for value in graph.inputs]
        outputs = ", ".join(f"%{name_text(value.name)}" for value in graph.outputs)
        notes = _notes(self.described(graph.doc, graph.metadata))
        inner = pad + "  "
        if len(inputs) > _INPUTS_ON_ONE_LINE:
            yield f"{pad}{before}graph{name}("
            yield from (f"{inner}{value}," for value in inputs)
            yield f"{pad}) -> ({outputs}){notes} {{"
        else:
            yield f"{pad}{before}graph{name}({', '.join(inputs)}) -> ({outputs}){notes} {{"
        for value in graph.initializers():
            yield f"{inner}const {self.initializer(value)} = {self.constant(cast(Constant, value.const))}"
        for node in graph.nodes:
            if node.subgraphs:
                yield self.nest(node, inner)
            else:
                yield inner + self.node_start(node) + self.attributes(node.attributes) + self.node_end(node)
        yield f"{pad}}}{after}"

    def nest(self, node: Node, pad: str) -> _Lines:
        yield f"{pad}{self.node_start(node)} {{"
        inner = pad + "  "
        for name, attribute in node.attributes.items():
            key, doc = word_text(name), self.attribute_doc(attribute)
            if attribute.ref or not attribute.kind.is_graph:
                yield f"{inner}{key}={self.attribute(attribute)}{doc},"
            elif attribute.kind is AttributeKind.GRAPH:
                yield self.graph(cast(Graph, attribute.value), inner, f"{key}=", f"{doc},")
            else:
                yield f"{inner}{key}=graphs["
                for graph in cast("tuple[Graph, ...]", attribute.value):
                    yield self.graph(graph, inner + "  ", "", ",")
                yield f"{inner}]{doc},"
        yield f"{pad}}}{self.node_end(node)}"

    # -- parts of lines -----------------------------------------------------------------------------------------------------

    def node_start(self, node: Node) -> str:
        results = ", ".join(self.value(value) if value.name or value.is_used else "_" for value in node.outputs)
        operands = ", ".join("_" if value is None else f"%{name_text(value.name)}" for value in node.inputs)
        return f"{results or '()'} = {_op_text(node.domain, node.op_type)}({operands})"

    def node_end(self, node: Node) -> str:
        name = f" @{name_text(node.name)}" if node.name else ""
        if not (node.overload or node.doc or node.metadata or node._lineage):
            return name
        stated = {"overload": node.overload and string_text(node.overload), "lineage": self.lineage(node._lineage)}
        return name + _notes(stated | self.described(node.doc, node.metadata))

    def value(self, value: Value) -> str:
        text = f"%{name_text(value.name)}"
        if value.type is not None or value.declared:
            text += f": {'' if value.declared else '~'}{type_text(value.type)}"
        return text + self.value_notes(value)

    def initializer(self, value: Value) -> str:
        if value.is_input:
            return f"%{name_text(value.name)}"
        if value.const is not None and value.type == value.const.type and not value.declared:
            return f"%{name_text(value.name)}{self.value_notes(value)}"
        return self.value(value)

    def value_notes(self, value: Value) -> str:
        if not (value.quantization or value._lineage or value.doc or value.metadata or value.annotation):
            return ""
        stated = {
            "quant": "" if value.quantization is None else self.quantization(value.quantization),
            "annotation": _dict_text(value.annotation or {}),
            "lineage": self.lineage(value._lineage),
        }
        return _notes(stated | self.described(value.doc, value.metadata))

    def quantization(self, how: Quantization) -> str:
        axis = "" if how.axis is None else f", {how.axis}"
        block = f", {how.block}" if how.block else ""
        return f"{how.dtype}({self.constant(how.scale)}, {self.constant(how.zero_point)}{axis}{block})"

    def lineage(self, lineage: Lineage | None) -> str:
        return _list_text(lineage.names()) if lineage is not None and self.details else ""

    def described(self, doc: str, metadata: Mapping[str, str] | None) -> dict[str, str]:
        if not self.details:
            return {}
        return {"doc": doc and string_text(doc), "metadata": _dict_text(metadata or {})}

    def attributes(self, attributes: Mapping[str, Attribute]) -> str:
        if not attributes:
            return ""
        items = (
            f"{word_text(name)}={self.attribute(item)}{self.attribute_doc(item)}" for name, item in attributes.items()
        )
        return f" {{{', '.join(items)}}}"

    def attribute_doc(self, attribute: Attribute) -> str:
        return f" doc {string_text(attribute.doc)}" if attribute.doc and self.details else ""

    def attribute(self, attribute: Attribute) -> str:
        kind, value = attribute.kind, attribute.value
        if attribute.ref:
            return f"ref({word_text(attribute.ref)}, {kind.name})"
        if value is None:
            return "none"
        if kind.is_list:
            prefix = "" if value else kind.name.lower()
            return f"{prefix}[{', '.join(self.scalar(kind, item) for item in cast('tuple[object, ...]', value))}]"
        return self.scalar(kind, value)

    def scalar(self, kind: AttributeKind, value: object) -> str:
        match kind:
            case AttributeKind.FLOAT | AttributeKind.FLOATS:
                return float_text(cast(float, value))
            case AttributeKind.TYPE_PROTO | AttributeKind.TYPE_PROTOS:
                return f"type({type_text(cast(Type, value))})"
        if isinstance(value, Constant):
            return self.constant(value)
        if isinstance(value, bytes):
            return bytes_text(value)
        return string_text(value) if isinstance(value, str) else str(int(cast(int, value)))

    def constant(self, constant: Constant) -> str:
        data = constant.data
        if isinstance(data, SparseData):
            shape = ", ".join(map(str, data.shape))
            return f"sparse[{shape}]({self.constant(data.values)}, {self.constant(data.indices)})"
        text = type_text(constant.type)
        if constant.size <= self.small or (constant.dtype is DType.STRING and self.weights == "inline"):
            return text + elements_text(constant)
        if self.weights == "omit":
            return f"{text} omitted"
        text = f"{text} sha256:{_digest(constant)}"
        if self.weights == "elide":
            return text
        return f"{text} base64:{base64.b64encode(b''.join(constant.data.chunks())).decode('ascii')}"


def _op_text(domain: str, op_type: str) -> str:
    return f"{word_text(domain)}::{word_text(op_type)}" if domain else word_text(op_type)


def _notes(stated: Mapping[str, str]) -> str:
    text = ", ".join(f"{key}={value}" for key, value in stated.items() if value)
    return f" [{text}]" if text else ""


def _list_text(items: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(map(string_text, items))}]" if items else ""


def _dict_text(items: Mapping[str, str]) -> str:
    return (
        f"{{{', '.join(f'{string_text(key)}: {string_text(value)}' for key, value in items.items())}}}" if items else ""
    )


def _opset_text(imports: Mapping[str, int]) -> str:
    return f"{{{', '.join(f'{string_text(domain)}: {version}' for domain, version in imports.items())}}}"
