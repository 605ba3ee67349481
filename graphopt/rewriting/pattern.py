"""Patterns: values that describe a piece of graph, matched from its last node backwards.

``op.Conv(any_("x"), const("w"), const("b", optional=True), name="conv", group=1)`` matches an output of a Conv whose second input
is constant, whose third is constant or absent, and whose ``group`` is 1, stated or by default. What goes wrong most often when
guards are written by hand is on by default: a node inside a pattern has a single use, is not a graph output, gives nothing else that
is used, and stands in the graph of the root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from graphopt.ir import AttributeValue, Node, Value
from graphopt.rewriting.match import Bindings
from graphopt.rewriting.nomatch import NoMatch

__all__ = [
    "Any",
    "Const",
    "OneOf",
    "OpBuilder",
    "OpPattern",
    "Pattern",
    "Rest",
    "any_",
    "const",
    "one_of",
    "op",
    "rest",
]

_ABSENT = NoMatch("an input is absent")


class Pattern(Protocol):
    """Something that a value may match."""

    @property
    def optional(self) -> bool:
        """Whether it also matches an absent input."""

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """``None`` when the value matches, with its names added to ``found``; else why not."""

    def parts(self) -> Iterator[Pattern]:
        """The patterns inside this one, itself first."""


@dataclass(frozen=True, slots=True)
class Any:
    """Any value; the same name twice means the same value twice."""

    name: str
    optional: bool = False

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Bind the name."""
        return found.bind_value(self.name, value)

    def parts(self) -> Iterator[Pattern]:
        """Just this."""
        yield self

    def __str__(self) -> str:
        return self.name + ("?" if self.optional else "")


@dataclass(frozen=True, slots=True)
class Const:
    """A constant that no caller can change.

    Attributes:
        name: what it is bound to.
        optional: whether the input may be absent.
        scalar: whether it must have exactly one element.
        equal_to: the number that each element must be, compared exactly; ``None`` for any.
    """

    name: str
    optional: bool = False
    scalar: bool = False
    equal_to: float | None = None

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Bind the name if the value is constant."""
        if not value.is_constant or value.const is None:
            return NoMatch("%r is not constant", value.name)
        if self.scalar and value.const.size != 1:
            return NoMatch("%r has %d elements, expected one", value.name, value.const.size)
        if self.equal_to is not None and not (value.const.numpy() == self.equal_to).all():
            return NoMatch("%r is not %s everywhere", value.name, self.equal_to)
        return found.bind_value(self.name, value)

    def parts(self) -> Iterator[Pattern]:
        """Just this."""
        yield self

    def __str__(self) -> str:
        more = f"={self.equal_to:g}" if self.equal_to is not None else ""
        return f"const {self.name}{more}" + ("?" if self.optional else "")


@dataclass(frozen=True, slots=True)
class Rest:
    """All inputs from here on (any number); only as the last input of an operator."""

    name: str
    optional: bool = True

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Never called for one value: the operator pattern binds the tail."""
        raise AssertionError("the tail of an operator is bound by the operator")

    def parts(self) -> Iterator[Pattern]:
        """Just this."""
        yield self

    def __str__(self) -> str:
        return f"*{self.name}"


class _Reasons(tuple[NoMatch, ...]):
    """Several reasons, one after the other when somebody reads them."""

    __slots__ = ()

    def __str__(self) -> str:
        return "; ".join(map(str, self))


@dataclass(frozen=True, slots=True)
class OneOf:
    """The first of several patterns that matches."""

    choices: tuple[Pattern, ...]
    optional: bool = False

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Try each choice in order."""
        reasons: list[NoMatch] = []
        for choice in self.choices:
            mark = found.mark()
            reason = choice.match(value, found)
            if reason is None:
                return None
            found.undo(mark)
            reasons.append(reason)
        return NoMatch("no alternative matches: %s", _Reasons(reasons))

    def parts(self) -> Iterator[Pattern]:
        """This, then all choices."""
        yield self
        for choice in self.choices:
            yield from choice.parts()

    def __str__(self) -> str:
        return " | ".join(map(str, self.choices))


#: What an attribute may be asked to be: a value, or a predicate on the value.
AttributeTest = AttributeValue | Callable[[AttributeValue], bool]


@dataclass(frozen=True, slots=True, eq=False)
class OpPattern:
    """An output of an operator.

    Attributes:
        ops: operators that may stand here (``"Conv"``, ``"com.microsoft::FusedConv"``).
        inputs: patterns of its inputs; further inputs must be absent.
        name: what the node is bound to, ``""`` for nothing.
        attributes: what attributes must be, defaults of the schema filled in.
        commute: whether two inputs may stand in either order.
        output: which output is meant.
        shared: whether the output may have other users or be a graph output (the node then survives the rewrite).
    """

    ops: tuple[str, ...]
    inputs: tuple[Pattern, ...]
    name: str = ""
    attributes: tuple[tuple[str, AttributeTest], ...] = ()
    commute: bool = False
    output: int = 0
    shared: bool = False
    optional: bool = False
    _tail: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.inputs and isinstance(self.inputs[-1], Rest):
            object.__setattr__(self, "_tail", self.inputs[-1].name)
            object.__setattr__(self, "inputs", self.inputs[:-1])

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Match a value inside a pattern: its producer, with the default guards."""
        node = value.producer
        if node is None or node.op not in self.ops:
            return NoMatch("%r is not produced by %s", value.name, self.ops)
        if value.index != self.output:
            return NoMatch("%r is output %d of %s, expected %d", value.name, value.index, node.op, self.output)
        if not self.shared:
            reason = _guard(value, node, found.root)
            if reason is not None:
                return reason
        return self.match_node(node, found)

    def match_node(self, node: Node, found: Bindings) -> NoMatch | None:
        """Match a node: attributes, then inputs, without the guards for inner nodes.

        A node with an attribute that refers to one of the surrounding function never matches: what it says is not known here.
        """
        if node.attributes and node.has_references:
            return NoMatch("an attribute of %s refers to one of the surrounding function", node.op)
        for name, test in self.attributes:
            actual = node.attr(name)
            if not (test(actual) if callable(test) else actual == test):
                return NoMatch("attribute %r of %s is %r", name, node.op, actual)
        if self.name:
            reason = found.bind_node(self.name, node)
            if reason is not None:
                return reason
        found.nodes_seen.append(node)
        if self.commute:
            mark = found.mark()
            reason = self._match_inputs(self.inputs, node, found)
            if reason is None:
                return None
            found.undo(mark)
            return self._match_inputs(self.inputs[::-1], node, found)
        return self._match_inputs(self.inputs, node, found)

    def _match_inputs(self, patterns: tuple[Pattern, ...], node: Node, found: Bindings) -> NoMatch | None:
        actual = node.inputs
        for index, pattern in enumerate(patterns):
            value = actual[index] if index < len(actual) else None
            if value is None:
                if not pattern.optional:
                    return _ABSENT
                continue
            reason = pattern.match(value, found)
            if reason is not None:
                return reason
        extra = actual[len(patterns) :]
        if self._tail:
            return found.bind_tail(self._tail, extra)
        for value in extra:
            if value is not None:
                return NoMatch("%s has a further input %r", node.op, value.name)
        return None

    def parts(self) -> Iterator[Pattern]:
        """This, then all patterns of the inputs."""
        yield self
        for pattern in self.inputs:
            yield from pattern.parts()

    @property
    def has_tail(self) -> bool:
        """Whether any number of further inputs is bound."""
        return bool(self._tail)

    def __str__(self) -> str:
        inside = [str(pattern) for pattern in self.inputs]
        if self._tail:
            inside.append(f"*{self._tail}")
        for name, test in self.attributes:
            inside.append(f"{name}={getattr(test, '__name__', 'test') if callable(test) else test!r}")
        return f"{'|'.join(self.ops)}({', '.join(inside)})"


def _guard(value: Value, node: Node, root: Node) -> NoMatch | None:
    if not value.has_single_use:
        if value.is_graph_output:
            return NoMatch("%r is a graph output", value.name)
        return NoMatch("%r has %d uses, expected one", value.name, value.use_count)
    if node.graph is not root.graph:
        return NoMatch("%r is captured from an outer graph", value.name)
    if len(node.outputs) > 1:
        for other in node.outputs:
            if other is not value and other.is_used:
                return NoMatch("output %r of %s is used too", other.name, node.op)
    return None


class OpBuilder:
    """Makes operator patterns: ``op.Relu(x)``, ``op["Conv", "ConvTranspose"](x, w)``, ``op["com.microsoft::Gelu"](x)``.

    Example:
        >>> print(op["Conv", "ConvTranspose"](any_("x"), const("w"), group=1))
        Conv|ConvTranspose(x, const w, group=1)
    """

    __slots__ = ()

    def __getattr__(self, op_type: str) -> OpFactory:
        if op_type.startswith("_"):
            raise AttributeError(op_type)
        return OpFactory((op_type,))

    def __getitem__(self, ops: str | tuple[str, ...]) -> OpFactory:
        return OpFactory((ops,) if isinstance(ops, str) else ops)


@dataclass(frozen=True, slots=True)
class OpFactory:
    """Makes patterns of certain operators when called."""

    ops: tuple[str, ...]

    def __call__(
        self,
        *inputs: Pattern,
        name: str = "",
        commute: bool = False,
        output: int = 0,
        shared: bool = False,
        optional: bool = False,
        **attributes: AttributeTest,
    ) -> OpPattern:
        """A pattern; see :class:`OpPattern`. Other keywords are what attributes must be.

        Raises:
            ValueError: if ``commute`` is asked of other than two inputs.
        """
        if commute and len(inputs) != 2:
            raise ValueError(f"{'|'.join(self.ops)}: commute=True needs two inputs, found {len(inputs)}")
        return OpPattern(self.ops, inputs, name, tuple(attributes.items()), commute, output, shared, optional)


op = OpBuilder()


def any_(name: str, *, optional: bool = False) -> Any:
    """Any value, bound to ``name``.

    Args:
        name: for the rule; the same name twice means the same value twice.
        optional: whether the input may be absent.

    Example:
        >>> print(op.Clip(any_("x"), any_("low", optional=True)))
        Clip(x, low?)
    """
    return Any(name, optional)


def const(name: str, *, optional: bool = False, scalar: bool = False, equal_to: float | None = None) -> Const:
    """A constant that no caller can change, bound to ``name``; see :class:`Const`.

    Example:
        >>> print(op.Add(any_("x"), const("three", equal_to=3), commute=True))
        Add(x, const three=3)
    """
    return Const(name, optional, scalar, equal_to)


def one_of(*choices: Pattern) -> OneOf:
    """The first of several patterns that matches."""
    return OneOf(choices)


def rest(name: str) -> Rest:
    """All further inputs of an operator, bound to ``name``."""
    return Rest(name)
