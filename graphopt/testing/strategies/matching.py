"""Makes graphs that a pattern matches, from its innermost operators outwards: each node is drawn by its sampler around what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.ir import AttributeValue
from graphopt.rewriting import Pattern
from graphopt.rewriting.pattern import Any, Const, OneOf, OpPattern
from graphopt.testing.strategies.arrays import draw_array, draw_shape
from graphopt.testing.strategies.ask import Ask, Demand, Form, Wish
from graphopt.testing.strategies.attribute_values import satisfying
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.growth import add_node
from graphopt.testing.strategies.kernels import computed_types
from graphopt.testing.strategies.plugin_operators import plugin_operator
from graphopt.testing.strategies.samplers import SAMPLERS
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of, usable_schema
from graphopt.testing.strategies.twists import Twist

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
        scope: where it stands.
        twist: what is otherwise about it.
        bound: values by the names of the pattern.
        nodes: outputs of nodes by the names of the pattern.
    """

    scope: Scope
    twist: Twist = ""
    bound: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, list[str]] = field(default_factory=dict)

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
        choices, opset = self.choices, self.scope.world.opset
        ops = _drawable(pattern, opset)
        if not ops:
            raise RefusedError(f"{pattern} does not run at opset {opset}")
        op = choices.of(ops)
        inputs = self._ordered(pattern)
        given: dict[int, str] = {}
        forms: dict[int, Form] = {}
        demands: dict[int, Demand] = {}
        self._share(op, inputs, wish)
        for index, part in sorted(inputs, key=lambda item: not isinstance(item[1], OpPattern)):
            self._operand(op, index, part, wish, given, forms, demands)
        outputs = add_node(
            self.scope,
            op,
            given=given,
            forms=forms,
            wish=Wish(dtypes=wish.dtypes) if self.twist == "rank" else wish,
            plain=_PLAIN,
            demands=demands,
            limit=None if pattern.has_tail else len(pattern.inputs),
            adjust=lambda ask: self._adjust(ask, pattern),
        )
        self._bind(inputs)
        if pattern.name:
            self.nodes[pattern.name] = outputs
        if pattern.output >= len(outputs):
            raise RefusedError(f"{op} has no output {pattern.output}")
        return outputs[pattern.output]

    def _share(self, op: str, inputs: Sequence[tuple[int, Pattern]], wish: Wish) -> None:
        """Find a value for a name that stands at two inputs of one operator."""
        places: dict[str, list[int]] = {}
        for index, part in inputs:
            if isinstance(part, Any) and part.name not in self.bound:
                places.setdefault(part.name, []).append(index)
        for name in [name for name, found in places.items() if len(found) > 1]:
            wanted = self._wish_of(op, places[name][0], wish)
            found = self._value(wanted)
            if found is None:
                raise RefusedError(f"{op} takes no value twice")
            self.bound[name] = found

    def _value(self, wish: Wish) -> str | None:
        """A value that is there, or a new input."""
        allowed = wish.dtypes or frozenset()
        found = self.scope.pick(
            lambda array: dtype_of(array) in allowed and wish.ranks[0] <= array.ndim <= wish.ranks[1]
        )
        options = [item for item in self.scope.world.dtypes.items() if item[0] in allowed]
        if found is not None or not options:
            return found
        shape = draw_shape(self.choices, *wish.ranks, empty=self.scope.world.empty)
        array = draw_array(self.choices, self.choices.weighted(options), shape, wild=self.scope.world.wild)
        return self.scope.input(array) or self.scope.constant(array)

    def _ordered(self, pattern: OpPattern) -> list[tuple[int, Pattern]]:
        """Patterns of inputs with the positions at which they stand."""
        parts = list(enumerate(pattern.inputs))
        if pattern.commute and self.choices.chance(0.5):
            return [(1 - index, part) for index, part in parts]
        return parts

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
            if self.twist == "unequal":
                forms[index] = "input"
            else:
                given[index] = self.bound[part.name]

    def _constant(self, index: int, part: Const, forms: dict[int, Form], demands: dict[int, Demand]) -> None:
        if part.optional and self.choices.chance(0.4):
            return
        forms[index] = "constant"
        if part.scalar or part.equal_to is not None:
            demands[index] = Demand(part.scalar, part.equal_to)

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

    def _bind(self, inputs: Sequence[tuple[int, Pattern]]) -> None:
        operands = self.scope.nodes[-1].input
        for index, part in inputs:
            if isinstance(part, Any | Const) and index < len(operands) and operands[index]:
                self.bound.setdefault(part.name, operands[index])

    # -- attributes -----------------------------------------------------------------------------------------------------------

    def _adjust(self, ask: Ask, pattern: OpPattern) -> None:
        """Make attributes what the pattern asks for."""
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


def _stated(value: AttributeValue) -> object:
    return list(value) if isinstance(value, tuple) else value


def _passes_dtype_on(op: str, index: int, opset: int) -> bool:
    schema = usable_schema(op, opset)
    if schema is None or not schema.outputs:
        return False
    return schema.inputs[min(index, len(schema.inputs) - 1)].type_key == schema.outputs[0].type_key
