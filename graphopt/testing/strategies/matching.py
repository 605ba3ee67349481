"""Makes graphs that a pattern matches, from its innermost operators outwards: each node is drawn by its sampler around what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.ir import AttributeValue, DType
from graphopt.rewriting import Pattern
from graphopt.rewriting.pattern import Any, Const, OneOf, OpPattern
from graphopt.testing.strategies.ask import Ask, Demand, Form, Wish
from graphopt.testing.strategies.attribute_values import draw_attribute, satisfying
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.growth import add_node
from graphopt.testing.strategies.kernels import computed_types
from graphopt.testing.strategies.plugin_operators import plugin_operator
from graphopt.testing.strategies.samplers import SAMPLERS
from graphopt.testing.strategies.scope import RefusedError, Scope, usable_schema
from graphopt.testing.strategies.twists import MATCH, Twist

__all__ = ["Matcher", "can_be_drawn"]

_PLAIN: Final = 0.45


def can_be_drawn(pattern: Pattern, opset: int) -> bool:
    """Whether each operator of a pattern has a sampler and runs at an opset."""
    if isinstance(pattern, OneOf):
        return any(can_be_drawn(choice, opset) for choice in pattern.choices)
    if not isinstance(pattern, OpPattern):
        return True
    return bool(_drawable(pattern, opset)) and all(
        part.optional or can_be_drawn(part, opset) for part in pattern.inputs
    )


def _drawable(pattern: OpPattern, opset: int) -> list[str]:
    return [
        op
        for op in pattern.ops
        if (op in SAMPLERS and usable_schema(op, opset) is not None) or plugin_operator(op) is not None
    ]


@dataclass
class Matcher:
    """Makes one match.

    Attributes:
        scope: where the root stands.
        twist: what is changed about it.
        outer: where inner nodes stand that the root captures.
        bound: values by the names of the pattern.
        nodes: outputs of nodes by the names of the pattern.
        keep: values that must be graph outputs.
        override: names in the pattern of constants that callers may override.
        change: what was changed, in words; empty as long as nothing was.
    """

    scope: Scope
    twist: Twist = MATCH
    outer: Scope | None = None
    bound: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)
    keep: list[str] = field(default_factory=list)
    override: list[str] = field(default_factory=list)
    change: str = ""
    _operators: int = 0
    _constants: int = 0

    @property
    def choices(self) -> Choices:
        """The only source of chance."""
        return self.scope.choices

    def make(self, pattern: Pattern, wish: Wish | None = None) -> str:
        """A value that a pattern matches.

        Raises:
            RefusedError: if none is found.
        """
        if isinstance(pattern, OneOf):
            choices = [choice for choice in pattern.choices if can_be_drawn(choice, self.scope.world.opset)]
            return self.make(self.choices.of(choices), wish)
        if not isinstance(pattern, OpPattern):
            raise RefusedError(f"{pattern} is no operator")
        return self._operator(pattern, wish or Wish())

    # -- one operator ---------------------------------------------------------------------------------------------------------

    def _operator(self, pattern: OpPattern, wish: Wish) -> str:
        made = self.nodes.get(pattern.name)
        if made is not None:  # another output of a node that stands twice in the pattern
            if pattern.output >= len(made):
                raise RefusedError(f"{pattern} has no output {pattern.output}")
            return made[pattern.output]
        place = self._operators
        self._operators += 1
        choices, opset = self.choices, self.scope.world.opset
        ops = _drawable(pattern, opset)
        if not ops:
            raise RefusedError(f"{pattern} does not run at opset {opset}")
        op = choices.of(ops)
        inputs = self._ordered(pattern, place)
        given: dict[int, str] = {}
        forms: dict[int, Form] = {}
        demands: dict[int, Demand] = {}
        for index, part in sorted(inputs, key=lambda item: not isinstance(item[1], OpPattern)):
            self._operand(op, index, part, wish, given, forms, demands)
        home = self._home(place)
        outputs = add_node(
            home,
            op,
            given=given,
            forms=forms,
            wish=self._wish(wish),
            plain=_PLAIN,
            demands=demands,
            limit=self._limit(pattern, place),
            adjust=lambda ask: self._adjust(ask, pattern, place),
        )
        self._bind(inputs, home)
        if home is not self.scope:
            self._see(home)
        if pattern.name:
            self.nodes[pattern.name] = outputs
        if pattern.output >= len(outputs):
            raise RefusedError(f"{op} has no output {pattern.output}")
        self._after(place, op, outputs, pattern.output)
        return outputs[pattern.output]

    def _ordered(self, pattern: OpPattern, place: int) -> list[tuple[int, Pattern]]:
        """Patterns of inputs with the positions at which they stand."""
        parts = list(enumerate(pattern.inputs))
        swapped = self.twist.applies("swapped", place)
        if len(parts) == 2 and (swapped or (pattern.commute and self.choices.chance(0.5))):
            if swapped and not pattern.commute:
                self.change = f"operands of {'|'.join(pattern.ops)} swapped"
            parts = [(1 - index, part) for index, part in parts]
        return parts

    def _home(self, place: int) -> Scope:
        """Where a node stands: inner ones outside of the graph of the root, if they are to be captured."""
        if self.outer is not None and self.twist.kind == "captured" and place >= self.twist.place:
            self.change = "inner node captured from an outer graph"
            return self.outer
        return self.scope

    def _limit(self, pattern: OpPattern, place: int) -> int | None:
        if pattern.has_tail or self.twist.applies("further input", place):
            if not pattern.has_tail:
                self.change = f"further inputs of {'|'.join(pattern.ops)}"
            return None
        return len(pattern.inputs)

    def _wish(self, wish: Wish) -> Wish:
        if self.twist.kind == "rank":
            self.change = "other ranks"
            return Wish((0, 5), wish.dtypes)
        return wish

    # -- operands -------------------------------------------------------------------------------------------------------------

    def _operand(
        self,
        op: str,
        index: int,
        part: Pattern,
        wish: Wish,
        given: dict[int, str],
        forms: dict[int, Form],
        demands: dict[int, Demand],
    ) -> None:
        if isinstance(part, OneOf):
            part = self.choices.of([item for item in part.choices if can_be_drawn(item, self.scope.world.opset)])
        if isinstance(part, OpPattern):
            if not part.optional or self.choices.chance(0.6):
                given[index] = self._operator(part, self._wish_of(op, index, wish))
        elif isinstance(part, Const):
            self._constant(index, part, forms, demands)
        elif isinstance(part, Any) and part.name in self.bound:
            if self.twist.kind == "unequal" and self.bound[part.name] in self.scope.arrays:
                self.change = f"{part.name!r} stands for two values"
                forms[index] = "input"
            else:
                given[index] = self.bound[part.name]

    def _constant(self, index: int, part: Const, forms: dict[int, Form], demands: dict[int, Demand]) -> None:
        place = self._constants
        self._constants += 1
        if part.optional and self.choices.chance(0.4):
            return
        forms[index] = "constant"
        scalar, number = part.scalar, part.equal_to
        if self.twist.applies("dynamic", place):
            forms[index] = "input"
            self.change = f"constant {part.name!r} is an input"
        elif self.twist.applies("overridable", place):
            self.override.append(part.name)
            self.change = f"constant {part.name!r} may be overridden"
        elif self.twist.applies("number", place):
            self.change = f"constant {part.name!r} is another number"
            number = None if number is None else self.choices.of((number + 1, -number, number * 2, 0.0))
            scalar = False
        if scalar or number is not None:
            demands[index] = Demand(scalar, number)

    def _wish_of(self, op: str, index: int, wish: Wish) -> Wish:
        """What an operand should be like, so that the operator takes it."""
        sampler = SAMPLERS.get(op)
        if sampler is None:
            return wish
        ranks = sampler.ranks.get(index, (0, 5))
        if (sampler.keeps and index == 0) or (sampler.keeps and index not in sampler.ranks):
            low, high = max(ranks[0], wish.ranks[0]), min(ranks[1], wish.ranks[1])
            ranks = (low, high) if low <= high else ranks
        dtypes = computed_types(op, self.scope.world.opset, index)
        if wish.dtypes is not None and _passes_dtype_on(op, index, self.scope.world.opset):
            dtypes = dtypes & wish.dtypes or dtypes
        return Wish(ranks, dtypes)

    def _bind(self, inputs: Sequence[tuple[int, Pattern]], home: Scope) -> None:
        operands = home.nodes[-1].input
        for index, part in inputs:
            if isinstance(part, Any | Const) and index < len(operands) and operands[index]:
                self.bound.setdefault(part.name, operands[index])

    def _see(self, outer: Scope) -> None:
        """Make visible inside what was made outside since."""
        for name, array in outer.arrays.items():
            self.scope.arrays.setdefault(name, array)
        self.scope.constants |= outer.constants

    @property
    def overridden(self) -> tuple[str, ...]:
        """Constants that callers may override."""
        return tuple(self.bound[name] for name in self.override if name in self.bound)

    # -- attributes and what follows ------------------------------------------------------------------------------------------

    def _adjust(self, ask: Ask, pattern: OpPattern, place: int) -> None:
        """Make attributes what the pattern asks for; or one of them something else."""
        for name, test in pattern.attributes:
            spec = ask.schema.attributes.get(name)
            if spec is None:
                continue
            actual = ask.attributes.get(name)
            actual = spec.default if actual is None else actual
            if isinstance(actual, list):
                actual = tuple(actual)
            if test(actual) if callable(test) else actual == test:  # type: ignore[arg-type]  # what samplers state are attribute values
                continue
            options = satisfying(spec, test)
            if not options:
                raise ask.refuse(f"no value is known for attribute {name!r}")
            ask.attributes[name] = _stated(self.choices.of(options))
        if self.twist.applies("attribute", place) and ask.schema.attributes:
            name = self.choices.of(sorted(ask.schema.attributes))
            value = draw_attribute(self.choices, ask.schema.attributes[name])
            self.change = f"attribute {name!r} of {ask.op} is {value!r}"
            ask.attributes[name] = _stated(value)

    def _after(self, place: int, op: str, outputs: Sequence[str], which: int) -> None:
        """Give out or use once more what should be read once."""
        if place == 0:
            return
        if self.twist.applies("graph output", place):
            self.keep.append(outputs[which])
            self.change = f"output of {op} given out"
        elif self.twist.applies("second user", place):
            self.keep.append(self.scope.one("Identity", [outputs[which]]))
            self.change = f"second user of {op}"
        elif self.twist.applies("other output", place) and len(outputs) > 1:
            self.keep += [name for index, name in enumerate(outputs) if index != which]
            self.change = f"other outputs of {op} given out"


def _stated(value: AttributeValue) -> object:
    return list(value) if isinstance(value, tuple) else value


def _passes_dtype_on(op: str, index: int, opset: int) -> bool:
    schema = usable_schema(op, opset)
    if schema is None or not schema.outputs:
        return False
    return schema.inputs[min(index, len(schema.inputs) - 1)].type_key == schema.outputs[0].type_key


#: Element types that rules rarely think of.
ODD_TYPES: Final = (
    DType.INT32,
    DType.FLOAT16,
    DType.DOUBLE,
    DType.INT64,
    DType.UINT8,
    DType.BOOL,
    DType.INT8,
    DType.BFLOAT16,
)
