"""The guards of patterns, and copies of patterns without one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from graphopt.ir import Node, OpSchema, Value, find_schema, newest_opset
from graphopt.rewriting import NoMatch, Pattern
from graphopt.rewriting.match import Bindings
from graphopt.rewriting.pattern import Any, Const, OneOf, OpPattern, Rest

__all__ = ["PatternGuard", "has_attributes", "pattern_guards"]

#: No runtime is asked for older opsets.
_OLDEST = 7
#: Guards of a node inside a pattern, and what their being dropped is called.
_INNER = {
    "other users": "use",
    "graph output": "use",
    "captured": "scope",
    "other outputs": "use",
}


@dataclass(frozen=True, slots=True)
class PatternGuard:
    """A guard of a pattern.

    Attributes:
        kind: what it is about.
        what: the guard, as people read it.
        pattern: the whole pattern without it.
    """

    kind: str
    what: str
    pattern: Pattern


def pattern_guards(pattern: Pattern) -> Iterator[PatternGuard]:
    """Yield the guards of a pattern, each with the pattern that lacks it.

    Example:
        >>> from graphopt.rewriting import any_, const, op
        >>> [guard.what for guard in pattern_guards(op.Relu(op.MatMul(any_("x"), const("w"))))][:2]
        ['MatMul of Relu: no other users', 'MatMul of Relu: no graph output']
    """
    yield from _guards(pattern, lambda other: other, outer="", names=set())


_Rebuild = Callable[[Pattern], Pattern]


def _guards(pattern: Pattern, rebuild: _Rebuild, *, outer: str, names: set[str]) -> Iterator[PatternGuard]:
    """Guards of a part of a pattern.

    Args:
        pattern: the part.
        rebuild: makes the whole pattern with another part here.
        outer: operators around it, the nearest first, each with " of " before it.
        names: names met so far, which are added to.
    """
    match pattern:
        case OneOf():
            before = set(names)
            for index, choice in enumerate(pattern.choices):
                inside = set(before)
                yield from _guards(choice, _in_choice(pattern, index, rebuild), outer=outer, names=inside)
                names |= inside
        case OpPattern():
            yield from _of_node(pattern, rebuild, outer)
            here = f" of {'|'.join(pattern.ops)}{outer}"
            for index, item in enumerate(pattern.inputs):
                yield from _guards(item, _in_input(pattern, index, rebuild), outer=here, names=names)
        case Const():
            yield from _of_constant(pattern, rebuild, outer)
        case Any() if pattern.name in names:
            other = replace(pattern, name=f"{pattern.name}'")
            yield PatternGuard("name", f"{pattern.name}{outer}: the same value twice", rebuild(other))
        case Any():
            names.add(pattern.name)


def _in_choice(pattern: OneOf, index: int, rebuild: _Rebuild) -> _Rebuild:
    def made(other: Pattern) -> Pattern:
        choices = (*pattern.choices[:index], other, *pattern.choices[index + 1 :])
        return rebuild(replace(pattern, choices=choices))

    return made


def _in_input(pattern: OpPattern, index: int, rebuild: _Rebuild) -> _Rebuild:
    def made(other: Pattern) -> Pattern:
        return rebuild(_changed(pattern, inputs=(*pattern.inputs[:index], other, *pattern.inputs[index + 1 :])))

    return made


def _of_node(pattern: OpPattern, rebuild: _Rebuild, outer: str) -> Iterator[PatternGuard]:
    schemas = [schema for op in pattern.ops for schema in _versions(op)]
    text = f"{'|'.join(pattern.ops)}{outer}"
    for name, test in pattern.attributes:
        others = tuple(item for item in pattern.attributes if item != (name, test))
        yield PatternGuard("attribute", f"{text}: {name}", rebuild(_changed(pattern, attributes=others)))
    if any(map(has_attributes, pattern.ops)):
        yield PatternGuard("scope", f"{text}: no references", rebuild(_changed(pattern, waived="references")))
    if not pattern.has_tail and any(schema.max_inputs > len(pattern.inputs) for schema in schemas):
        yield PatternGuard("input", f"{text}: no further inputs", rebuild(_changed(pattern, waived="further inputs")))
    if not outer or pattern.shared:
        return
    several = any(schema.max_outputs > 1 for schema in schemas)
    for name, kind in _INNER.items():
        if several or name != "other outputs":
            yield PatternGuard(kind, f"{text}: no {name}", rebuild(_changed(pattern, waived=name)))


def _of_constant(pattern: Const, rebuild: _Rebuild, outer: str) -> Iterator[PatternGuard]:
    text = f"{pattern.name}{outer}"
    values = (pattern.name, pattern.optional, pattern.scalar, pattern.equal_to)
    yield PatternGuard("constant", f"{text}: no default of an input", rebuild(_Default(*values)))
    yield PatternGuard("constant", f"{text}: constant", rebuild(Any(pattern.name, pattern.optional)))
    if pattern.scalar:
        yield PatternGuard("shape", f"{text}: one element", rebuild(replace(pattern, scalar=False)))
    if pattern.equal_to is not None:
        yield PatternGuard(
            "numbers", f"{text}: equal to {pattern.equal_to:g}", rebuild(replace(pattern, equal_to=None))
        )


def has_attributes(op: str) -> bool:
    """Return whether an operator has attributes, which may refer to those of a surrounding function."""
    return any(schema.attributes for schema in _versions(op))


def _versions(op: str) -> Iterator[OpSchema]:
    """The versions of an operator that models of today have."""
    domain, _, op_type = op.rpartition("::")
    version = newest = newest_opset() if not domain else 1
    while version >= min(_OLDEST, newest) and (schema := find_schema(domain, op_type, version)) is not None:
        yield schema
        version = schema.since_version - 1


def _changed(
    pattern: OpPattern,
    *,
    inputs: tuple[Pattern, ...] | None = None,
    attributes: tuple[tuple[str, object], ...] | None = None,
    waived: str = "",
) -> OpPattern:
    """A copy with other inputs or attributes, or with one of the guards that every node has left out."""
    inputs = pattern.inputs if inputs is None else inputs
    tail = (Rest(pattern._tail),) if pattern.has_tail else ()
    return _Lax(
        pattern.ops,
        (*inputs, *tail),
        pattern.name,
        pattern.attributes if attributes is None else attributes,  # type: ignore[arg-type]  # tests of the same pattern
        pattern.commute,
        pattern.output,
        pattern.shared,
        pattern.optional,
        waived=waived or getattr(pattern, "waived", ""),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Default(Const):
    """A constant, or an input of the graph that has a default."""

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Look at the numbers, whoever may change them."""
        if value.const is None:
            return NoMatch("%r is not constant", value.name)
        numbers = value.const
        if self.scalar and numbers.size != 1:
            return NoMatch("%r has %d elements, expected one", value.name, numbers.size)
        if self.equal_to is not None and not (numbers.numpy() == self.equal_to).all():
            return NoMatch("%r is not %s everywhere", value.name, self.equal_to)
        return found.bind_value(self.name, value)


@dataclass(frozen=True, slots=True, eq=False)
class _Lax(OpPattern):
    """A node pattern that leaves out one guard.

    Attributes:
        waived: which one, `""` for none.
    """

    waived: str = field(default="", kw_only=True)

    def match(self, value: Value, found: Bindings) -> NoMatch | None:
        """Match a value inside a pattern."""
        node = value.producer
        if node is None or node.op not in self.ops or value.index != self.output:
            return NoMatch("%r is not produced by %s", value.name, self.ops)
        if not self.shared:
            broken = next((name for name in _broken(value, node, found.root) if name != self.waived), None)
            if broken is not None:
                return NoMatch("%r: %s", value.name, broken)
        return self.match_node(node, found)

    def match_node(self, node: Node, found: Bindings) -> NoMatch | None:
        """Match a node, with what refers to the surrounding function if that is waived."""
        if self.waived != "references" or not node.has_references:
            return OpPattern.match_node(self, node, found)
        for name, test in self.attributes:
            actual = node.attr(name)
            if not (test(actual) if callable(test) else actual == test):
                return NoMatch("attribute %r is %r", name, actual)
        if self.name and (reason := found.bind_node(self.name, node)) is not None:
            return reason
        found.nodes_seen.append(node)
        return self._match_inputs(self.inputs, node, found)

    def _match_inputs(self, patterns: tuple[Pattern, ...], node: Node, found: Bindings) -> NoMatch | None:
        mark = found.mark()
        reason = OpPattern._match_inputs(self, patterns, node, found)
        if reason is None or self.waived != "further inputs":
            return reason
        found.undo(mark)
        for pattern, value in zip(patterns, (*node.inputs, *[None] * len(patterns)), strict=False):
            if value is None and not pattern.optional:
                return NoMatch("an input is absent")
            if value is not None and (reason := pattern.match(value, found)) is not None:
                return reason
        return None


def _broken(value: Value, node: Node, root: Node) -> Iterator[str]:
    """The guards of an inner node that do not hold."""
    if value.use_count > 1:
        yield "other users"
    if value.is_graph_output:
        yield "graph output"
    if node.graph is not root.graph:
        yield "captured"
    if any(other.is_used for other in node.outputs if other is not value):
        yield "other outputs"
