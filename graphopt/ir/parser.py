r"""Reads the text form that :mod:`graphopt.ir.printer` writes.

Space and line ends may stand anywhere between tokens, ``#`` starts a comment::

    text       = "graphopt-ir" "1" "model" notes { function } graph
    function   = "function" op notes [ attributes ] graph          # attributes: those with a default
    graph      = "graph" [ word ] "(" [ value { "," value } ] ")" "->" "(" [ name { "," name } ] ")" notes
                 "{" { "const" value "=" constant | node } "}"
    node       = results "=" op "(" [ operand { "," operand } ] ")" [ attributes ] [ "@" label ] notes
    results    = "()" | result { "," result }
    result     = "_" | value
    operand    = "_" | name                                        # "_": absent
    value      = name [ ":" [ "~" ] type ] notes                   # "~": worked out, not stated by the model file
    name       = "%" label                                         # %x  %/layer1/Conv_output_0  %"any \"text\""
    label      = letters, digits, "_", ".", "-", "/", "::" inside | string
    op         = [ word "::" ] word
    word       = identifier with "." and "-" | string
    attributes = "{" [ word "=" attribute [ "doc" string ] { "," ... } ] "}"
    attribute  = "ref(" word "," KIND ")" | "none" | scalar | "[" scalar { "," scalar } "]"
               | "ints[]" (or floats, strings ...: an empty list) | "graphs[" graph { "," graph } "]"
    scalar     = integer | float | string | bytes | constant | graph | "type(" type ")"
    float      = decimal, with "." or "e" | "inf" | "nan" | "0x" bits; a "d" behind it: of double precision
    constant   = dtype "[" sizes "]" ( "{" elements "}" | "sha256:" digest [ "base64:" bytes ] | "omitted" )
               | "sparse[" sizes "](" constant "," constant ")"    # values, indices
    type       = dtype "[" ( "*" | [ dim { "," dim } ] ) "]" | "seq(" type ")" | "optional(" type ")" | "map(" dtype "," type ")"
               | "sparse(" type ")" | "opaque(" string "," string ")" | "?"
    dim        = "?" | sum of products of: number | identifier | string | "(" dim ")" | "min(" dim "," dim ")" | dim "//" dim
    notes      = [ "[" key "=" note { "," key "=" note } "]" ]
    note       = integer | string | "[" strings "]" | "{" string ":" note "}" | dtype "(" scale "," zero point [ "," axis ] ")"

Names mean the innermost value of that name that stands before, as in ONNX. Nested graphs are read with a list of unfinished ones, not
by recursion.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any, TypeVar, cast

from graphopt.ir.attributes import Attribute, AttributeKind, AttributeValue
from graphopt.ir.collector import collector_paused
from graphopt.ir.constant import Constant
from graphopt.ir.cursor import Cursor
from graphopt.ir.graph import Graph
from graphopt.ir.lineage import Lineage
from graphopt.ir.literals import parse_bytes, parse_float
from graphopt.ir.model import Function, Model
from graphopt.ir.node import Node
from graphopt.ir.note_parser import parse_label, parse_notes, parse_op, parse_word
from graphopt.ir.type_parser import parse_constant, parse_text, parse_type
from graphopt.ir.value import Value

__all__ = ["parse_model"]

_T = TypeVar("_T")
_INTEGER = re.compile(r"-?\d+", re.ASCII)
_NUMBER = re.compile(r"0x[0-9a-f]{16}|-?(?:inf|nan|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)d?(?![\w\[])", re.ASCII)
_BYTES = re.compile(r'b"[^"\\\n]*(?:\\.[^"\\\n]*)*"', re.ASCII)
_LIST_OF = {
    AttributeKind.INT: AttributeKind.INTS,
    AttributeKind.FLOAT: AttributeKind.FLOATS,
    AttributeKind.STRING: AttributeKind.STRINGS,
    AttributeKind.TENSOR: AttributeKind.TENSORS,
    AttributeKind.SPARSE_TENSOR: AttributeKind.SPARSE_TENSORS,
    AttributeKind.TYPE_PROTO: AttributeKind.TYPE_PROTOS,
}
_LIST_STARTS = {f"{kind.name.lower()}[": kind for kind in (*_LIST_OF.values(), AttributeKind.GRAPHS)}


@collector_paused()
def parse_model(text: str, *, constants: Mapping[str, Constant] | None = None, source: str = "model text") -> Model:
    """The model that a text stands for.

    Args:
        text: what :func:`~graphopt.ir.print_model` writes.
        constants: what stands for constants whose bytes are not in the text, by digest
            (:func:`~graphopt.ir.constants_by_digest`).
        source: name of the text in errors.

    Raises:
        ModelError: with line and column, if the text is not understood or constants are missing.
    """
    return _Parser(Cursor(text, source), constants or {}).model()


def _run(steps: Generator[Any, Any, _T]) -> _T:
    """Run a parser and those of the graphs that it yields, innermost first; each is sent the graph that it asked for."""
    stack: list[Generator[Any, Any, Any]] = [steps]
    made: Any = None
    while stack:
        try:
            stack.append(stack[-1].send(made))
            made = None
        except StopIteration as end:
            made = end.value
            stack.pop()
    return cast(_T, made)


class _Parser:
    """One method for each rule of the grammar; those that may meet a graph are generators for :func:`_run`."""

    def __init__(self, cursor: Cursor, constants: Mapping[str, Constant]) -> None:
        self.cursor = cursor
        self.constants = constants
        self.scopes: list[dict[str, Value]] = []

    # -- model and functions ------------------------------------------------------------------------------------------------

    def model(self) -> Model:
        cursor = self.cursor
        if not cursor.keyword("graphopt-ir") or not cursor.keyword("1"):
            raise cursor.unexpected("'graphopt-ir 1', which text of this version starts with")
        self.need("model")
        notes = parse_notes(cursor, self.constants)
        functions: list[Function] = []
        while cursor.keyword("function"):
            functions.append(self.function())
        self.need("graph")
        graph = _run(self.graph())
        if not cursor.at_end:
            raise cursor.unexpected("the end of the text")
        model = Model(graph, notes.get("opset", {}), notes.get("ir_version", 10))
        for key in ("producer_name", "producer_version", "domain", "model_version", "doc", "metadata"):
            setattr(model, key, notes.get(key, getattr(model, key)))
        model.functions = {function.key: function for function in functions}
        for owner in model.owners():
            owner.reserve_names()
        return model

    def function(self) -> Function:
        cursor = self.cursor
        domain, name = parse_op(cursor)
        notes = parse_notes(cursor, self.constants)
        defaults = _run(self.attributes()) if cursor.accept("{") else {}
        self.need("graph")
        graph = _run(self.graph())
        function = Function(domain, name, graph, notes.get("opset", {}), notes.get("overload", ""))
        function.attribute_names = notes.get("attributes", [])
        function.attribute_defaults = defaults
        function.doc, function.metadata = notes.get("doc", ""), notes.get("metadata", {})
        return function

    # -- graphs and nodes ---------------------------------------------------------------------------------------------------

    def graph(self) -> Generator[Any, Any, Graph]:
        """A graph from behind the word "graph" on."""
        cursor = self.cursor
        graph = Graph()
        if not cursor.accept("("):
            graph.name = parse_word(cursor, "a graph name")
            cursor.expect("(")
        self.scopes.append({})
        cursor.items(lambda: self.define(cursor.pos, graph.add_input(self.value())), ")")
        cursor.expect("->")
        cursor.expect("(")
        outputs: list[tuple[int, str]] = []
        cursor.items(lambda: outputs.append((cursor.pos, self.name())), ")")
        notes = parse_notes(cursor, self.constants)
        graph.doc, graph.metadata = notes.get("doc", ""), notes.get("metadata")
        cursor.expect("{")
        while not cursor.accept("}"):
            if cursor.keyword("const"):
                self.initializer(graph)
            else:
                yield from self.node(graph)
        for pos, name in outputs:
            graph.add_output(self.lookup(pos, name))
        self.scopes.pop()
        return graph

    def initializer(self, graph: Graph) -> None:
        start = self.cursor.pos
        value = self.value()
        self.cursor.expect("=")
        constant = parse_constant(self.cursor, self.constants)
        known = self.scopes[-1].get(value.name)
        if known is not None and known.is_input and known.const is None:
            value = known
        else:
            self.define(start, value)
            if value.type is None and not value.declared:
                value.type = constant.type
        value.const = constant
        graph.add_initializer(value)

    def node(self, graph: Graph) -> Generator[Any, Any, None]:
        cursor = self.cursor
        results: list[tuple[int, Value]] = []
        if not cursor.accept("()"):
            self.result(results)
            while cursor.accept(","):
                self.result(results)
        cursor.expect("=")
        domain, op_type = parse_op(cursor)
        cursor.expect("(")
        inputs: list[Value | None] = []
        cursor.items(lambda: inputs.append(self.operand()), ")")
        attributes = (yield from self.attributes()) if cursor.accept("{") else None
        node = Node(op_type, inputs, [value for _, value in results], attributes, domain=domain)
        if cursor.accept("@"):
            node.name = parse_label(cursor, "a node name")
        notes = parse_notes(cursor, self.constants)
        if notes:
            node.overload, node.doc = notes.get("overload", ""), notes.get("doc", "")
            node.metadata = notes.get("metadata")
            if "lineage" in notes:
                node.lineage = Lineage(tuple(notes["lineage"]))
        graph.append(node)
        for pos, value in results:
            if value.name:
                self.define(pos, value)

    def result(self, results: list[tuple[int, Value]]) -> None:
        results.append((self.cursor.pos, Value("") if self.cursor.keyword("_") else self.value()))

    def operand(self) -> Value | None:
        return None if self.cursor.keyword("_") else self.lookup(self.cursor.pos, self.name())

    # -- values -------------------------------------------------------------------------------------------------------------

    def value(self) -> Value:
        cursor = self.cursor
        value = Value(self.name())
        if cursor.accept(":"):
            value.declared = not cursor.accept("~")
            value.type = parse_type(cursor)
        notes = parse_notes(cursor, self.constants)
        if notes:
            value.doc, value.metadata = notes.get("doc", ""), notes.get("metadata")
            value.annotation, value.quantization = notes.get("annotation"), notes.get("quant")
            if "lineage" in notes:
                value.lineage = Lineage(tuple(notes["lineage"]))
        return value

    def define(self, pos: int, value: Value) -> None:
        if value.name in self.scopes[-1]:
            raise self.cursor.error(f"the value %{value.name} is defined twice", pos)
        self.scopes[-1][value.name] = value

    def lookup(self, pos: int, name: str) -> Value:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise self.cursor.error(f"the value %{name} is not defined before", pos)

    # -- attributes ---------------------------------------------------------------------------------------------------------

    def attributes(self) -> Generator[Any, Any, dict[str, Attribute]]:
        """Attributes from behind the brace on."""
        cursor = self.cursor
        found: dict[str, Attribute] = {}
        while not cursor.accept("}"):
            start = cursor.pos
            name = parse_word(cursor, "an attribute name")
            if name in found:
                raise cursor.error(f"the attribute {name} is stated twice", start)
            cursor.expect("=")
            found[name] = attribute = yield from self.attribute()
            if cursor.keyword("doc"):
                attribute.doc = parse_text(cursor, "a quoted doc string")
            if not cursor.accept(","):
                cursor.expect("}")
                break
        return found

    def attribute(self) -> Generator[Any, Any, Attribute]:
        cursor = self.cursor
        if cursor.keyword("graph"):
            return Attribute(AttributeKind.GRAPH, (yield self.graph()))
        if cursor.accept("ref("):
            name = parse_word(cursor, "the name of an attribute of the function")
            cursor.expect(",")
            kind = self.kind()
            cursor.expect(")")
            return Attribute(kind, None, ref=name)
        if cursor.keyword("none"):
            return Attribute(AttributeKind.UNDEFINED, None)
        for start, kind in _LIST_STARTS.items():
            if cursor.accept(start):
                if kind.is_graph:
                    return Attribute(kind, tuple((yield from self.graphs())))
                cursor.expect("]")
                return Attribute(kind, ())
        return self.plain_attribute()

    def graphs(self) -> Generator[Any, Any, list[Graph]]:
        graphs: list[Graph] = []
        while self.cursor.keyword("graph"):
            graphs.append((yield self.graph()))
            self.cursor.accept(",")
        self.cursor.expect("]")
        return graphs

    def plain_attribute(self) -> Attribute:
        start = self.cursor.pos
        if not self.cursor.accept("["):
            return Attribute(*self.scalar())
        scalars: list[tuple[AttributeKind, AttributeValue]] = []
        self.cursor.items(lambda: scalars.append(self.scalar()), "]")
        kinds = {kind for kind, _ in scalars}
        if len(kinds) != 1:
            raise self.cursor.error("a list needs items, all of one kind; an empty list is written like ints[]", start)
        return Attribute(_LIST_OF[kinds.pop()], cast(AttributeValue, tuple(value for _, value in scalars)))

    def scalar(self) -> tuple[AttributeKind, AttributeValue]:
        cursor = self.cursor
        number = cursor.match(_NUMBER)
        if number is not None:
            integer = _INTEGER.fullmatch(number)
            return (AttributeKind.INT, int(number)) if integer else (AttributeKind.FLOAT, parse_float(number))
        if cursor.at('"'):
            return AttributeKind.STRING, parse_text(cursor, "a string")
        data = cursor.match(_BYTES)
        if data is not None:
            return AttributeKind.STRING, parse_bytes(data)
        if cursor.accept("type("):
            type_ = parse_type(cursor)
            cursor.expect(")")
            return AttributeKind.TYPE_PROTO, type_
        constant = parse_constant(cursor, self.constants)
        return AttributeKind.SPARSE_TENSOR if constant.is_sparse else AttributeKind.TENSOR, constant

    # -- words --------------------------------------------------------------------------------------------------------------

    def need(self, word: str) -> None:
        if not self.cursor.keyword(word):
            raise self.cursor.unexpected(repr(word))

    def name(self) -> str:
        self.cursor.expect("%")
        return parse_label(self.cursor, "the name of a value")

    def kind(self) -> AttributeKind:
        start = self.cursor.pos
        name = parse_word(self.cursor, "a kind of attribute")
        if name not in AttributeKind.__members__:
            raise self.cursor.error(
                f"unknown kind of attribute {name!r}; known are {', '.join(AttributeKind.__members__)}", start
            )
        return AttributeKind[name]
