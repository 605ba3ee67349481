"""What a sampler is given: asks for operands of one node, and hears what attributes it should have.

A sampler says what an operand must be (rank, element types, shape, what it is for); here it is decided where it comes from: a value that
is there, an input of the model, a constant in one of its forms. Some operands may be given beforehand, as those of a pattern are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from graphopt.ir import Array, DType, OpSchema
from graphopt.testing.strategies.arrays import draw_array, draw_shape, filled
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.kernels import computed_types
from graphopt.testing.strategies.scope import RefusedError, Scope, dtype_of

__all__ = ["Ask", "Demand", "Form", "Wish"]

#: Where an operand comes from: an input of the model, a constant, or as its use suggests.
Form = Literal["input", "constant", "weight", "static"]

_NUMBERS: Final = (1.0, 0.0, -1.0, 2.0, -0.0, 0.5)
#: Numbers that change nothing, or nearly, beside an operator.
_NEUTRAL: Final = {
    "Mul": (1.0,),
    "Div": (1.0,),
    "Pow": (1.0,),
    "Add": (0.0, -0.0),
    "Sub": (0.0, -0.0),
    "And": (1.0,),
    "Or": (0.0,),
    "Xor": (0.0,),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the first operand should be like, because of what reads the result.

    Attributes:
        ranks: fewest and most axes.
        dtypes: element types, ``None`` for any.
    """

    ranks: tuple[int, int] = (0, 5)
    dtypes: frozenset[DType] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a drawn operand must be.

    Attributes:
        scalar: one element.
        number: each element, ``None`` for any.
    """

    scalar: bool = False
    number: float | None = None

    def met(self, choices: Choices, array: Array) -> Array:
        """The array, changed as far as need be."""
        if self.scalar and array.size != 1:
            array = array.reshape(-1)[:1] if array.size else np.ones(1, array.dtype)
            array = array.reshape(choices.of(((), (1,))))
        if self.number is not None:
            with np.errstate(all="ignore"):
                array = np.full(array.shape, self.number).astype(array.dtype)
        return array


@dataclass(eq=False)
class Ask:
    """Operands and attributes of one node that is being made.

    Attributes:
        scope: where it will stand.
        op: its operator, of the default domain.
        schema: of the operator at the model's opset.
        given: names of operands that are decided already, by position.
        forms: where further operands must come from, by position.
        wish: what the first operand should be like.
        plain: chance that a drawn operand is one number throughout, such as 0 or 1.
        demands: what drawn operands must be besides, by position.
        limit: first position that must be absent, ``None`` for what the operator can have.
        inputs: names of the operands so far, by position.
        attributes: so far; ``None`` for those that are left out.
    """

    scope: Scope
    op: str
    schema: OpSchema
    given: Mapping[int, str] = field(default_factory=dict)
    forms: Mapping[int, Form] = field(default_factory=dict)
    wish: Wish = Wish()
    plain: float = 0.15
    demands: Mapping[int, Demand] = field(default_factory=dict)
    limit: int | None = None
    inputs: dict[int, str] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)
    _bound: dict[str, DType] = field(default_factory=dict)

    @property
    def choices(self) -> Choices:
        """The only source of chance."""
        return self.scope.choices

    @property
    def opset(self) -> int:
        """Of the model."""
        return self.scope.world.opset

    def refuse(self, reason: str) -> RefusedError:
        """An error to raise: no such node can be made of what is given."""
        return RefusedError(f"{self.op}: {reason}")

    def has_input(self, index: int) -> bool:
        """Whether the operator has such an input at this opset."""
        return index < self.schema.max_inputs

    def wants_optional(self, index: int, probability: float = 0.5) -> bool:
        """Whether an optional input is to be there: it is given, must be, or is drawn."""
        if not self.has_input(index) or (self.limit is not None and index >= self.limit):
            return False
        return index in self.given or index in self.forms or self.choices.chance(probability)

    # -- element types --------------------------------------------------------------------------------------------------------

    def count(self, options: Sequence[int]) -> int:
        """How many operands a node of any number has: those that are given, and more if there may be."""
        if self.limit is not None:
            return self.limit
        return max(max((*self.given, *self.forms), default=-1) + 1, self.choices.of(options))

    def _key(self, index: int) -> str:
        return self.schema.inputs[min(index, len(self.schema.inputs) - 1)].type_key

    def dtypes(self, index: int) -> frozenset[DType]:
        """Element types that an operand may have, as far as those of the others leave a choice."""
        bound = self._bound.get(self._key(index))
        return frozenset({bound}) if bound is not None else computed_types(self.op, self.opset, index)

    def dtype(self, index: int, among: Collection[DType] | None = None) -> DType:
        """Decide the element type of an operand."""
        allowed = self.dtypes(index)
        options = [(dtype, weight) for dtype, weight in self.scope.world.dtypes.items() if dtype in allowed]
        wanted = among if among is not None else self.wish.dtypes if index == 0 else None
        if wanted is not None:
            options = [item for item in options if item[0] in wanted] or [
                (dtype, 1) for dtype in sorted(allowed & set(wanted))
            ]
        options = options or [(dtype, 1) for dtype in sorted(allowed)]
        if not options or (among is not None and not any(dtype in among for dtype, _weight in options)):
            raise self.refuse(f"no element type for input {index}")
        return self._bind(index, self.choices.weighted(options))

    def _bind(self, index: int, dtype: DType) -> DType:
        self._bound[self._key(index)] = dtype
        return dtype

    # -- operands -------------------------------------------------------------------------------------------------------------

    def data(
        self,
        index: int = 0,
        *,
        ranks: tuple[int, int] = (0, 5),
        dtypes: Collection[DType] | None = None,
        fits: Callable[[Array], bool] | None = None,
        shape: Callable[[int], Sequence[int]] | None = None,
        empty: bool = True,
        wished: bool = True,
    ) -> Array:
        """An operand that the node computes on: what is given, a value that fits, or an input of the model.

        Args:
            index: position.
            ranks: fewest and most axes.
            dtypes: element types, besides what schema and ONNX Runtime allow.
            fits: whether an array will do.
            shape: makes a shape of a rank, for a new operand.
            empty: whether it may have no elements.
            wished: whether it should be of the element type that reads the result; not so where the node makes another one.

        Raises:
            RefusedError: if what is given will not do, or nothing will.
        """
        low, high = ranks
        if index in self.given:
            return self._take(index, self.given[index], ranks, dtypes, fits, empty=empty)
        if index == 0 and max(low, self.wish.ranks[0]) <= min(high, self.wish.ranks[1]):
            low, high = max(low, self.wish.ranks[0]), min(high, self.wish.ranks[1])
        allowed = self.dtypes(index)
        if dtypes is not None:
            allowed = allowed & frozenset(dtypes)
        if index == 0 and wished and self.wish.dtypes is not None:
            allowed = allowed & self.wish.dtypes or allowed

        def will_do(array: Array) -> bool:
            return (
                low <= array.ndim <= high
                and dtype_of(array) in allowed
                and (empty or array.size > 0)
                and (fits is None or fits(array))
            )

        form = self.forms.get(index)
        if form is None and self.choices.chance(0.8):
            name = self.scope.pick(will_do)
            if name is not None:
                return self._put(index, name)
        dtype = self.dtype(index, allowed)
        sizes = draw_shape(self.choices, low, high, empty=empty and self.scope.world.empty)
        if shape is not None:
            sizes = tuple(shape(len(sizes)))
        array = self.drawn(dtype, sizes)
        if fits is not None and not fits(array):
            raise self.refuse(f"a drawn input {index} does not fit")
        return self.need(index, array, "input")

    def _take(
        self,
        index: int,
        name: str,
        ranks: tuple[int, int],
        dtypes: Collection[DType] | None,
        fits: Callable[[Array], bool] | None,
        *,
        empty: bool,
    ) -> Array:
        array = self.scope.arrays[name]
        found = dtype_of(array)
        if not ranks[0] <= array.ndim <= ranks[1] or (not array.size and not empty):
            raise self.refuse(f"{list(array.shape)} is no shape for input {index}")
        if found not in self.dtypes(index) or (dtypes is not None and found not in dtypes):
            raise self.refuse(f"{found} is no element type for input {index}")
        if fits is not None and not fits(array):
            raise self.refuse(f"the given input {index} does not fit")
        return self._put(index, name)

    def _put(self, index: int, name: str) -> Array:
        self.inputs[index] = name
        array = self.scope.arrays[name]
        self._bind(index, dtype_of(array))
        return array

    def drawn(self, dtype: DType, shape: Sequence[int]) -> Array:
        """A tensor of an element type and shape, of small numbers or all there are, as the model has them."""
        if dtype is not DType.STRING and self.choices.chance(self.plain):
            numbers = _NEUTRAL.get(self.op, _NUMBERS)
            return filled(dtype, shape, self.choices.of(numbers if self.choices.chance(0.6) else _NUMBERS))
        return draw_array(self.choices, dtype, shape, wild=self.scope.world.wild)

    def need(self, index: int, array: Array, form: Form = "weight") -> Array:
        """An operand that must be this array (or, if it is given, has to have its type and shape).

        Args:
            index: position.
            array: its numbers, on which the model grows.
            form: what it is: a weight is mostly constant, a static operand (axes, a shape) nearly always.
        """
        if index in self.given:
            return self._take(
                index, self.given[index], (0, 9), None, lambda other: other.shape == array.shape, empty=True
            )
        demand = self.demands.get(index)
        if demand is not None:
            array = demand.met(self.choices, array)
        self.inputs[index] = self._make(array, self.forms.get(index, form))
        self._bind(index, dtype_of(array))
        return array

    def _make(self, array: Array, form: Form) -> str:
        chance = {"input": 1.0, "constant": 0.0, "weight": 0.2, "static": 0.08}[form]
        if chance and (chance == 1.0 or self.choices.chance(chance)):
            name = self.scope.input(array)
            if name is not None:
                return name
        return self.scope.constant(array)

    def ints(self, index: int, numbers: Sequence[int] | int, *, dtype: DType = DType.INT64) -> None:
        """An operand of integers that say how: axes, a shape, repeats."""
        self.need(index, np.array(numbers, dtype.numpy), "static")

    def set(self, **attributes: object) -> None:
        """State attributes; ``None`` leaves one out, and what the operator does not have at this opset is left out too."""
        self.attributes |= {name: value for name, value in attributes.items() if name in self.schema.attributes}

    # -- axes -----------------------------------------------------------------------------------------------------------------

    def axis(self, rank: int, *, since: int = 11) -> int:
        """One of the axes; counted from the back now and then, where the opset allows it."""
        axis = self.choices.integer(0, rank - 1)
        return axis - rank if self.opset >= since and self.choices.chance(0.3) else axis

    def axes(self, rank: int, least: int = 0, *, since: int = 11) -> list[int]:
        """Different ones of the axes."""
        negative = self.opset >= since and self.choices.chance(0.3)
        found = self.choices.some(range(rank), least)
        return [axis - rank if negative and self.choices.chance(0.5) else axis for axis in found]

    @property
    def operands(self) -> list[str | None]:
        """Names of all operands, ``None`` for those that are absent."""
        return [self.inputs.get(index) for index in range(max(self.inputs, default=-1) + 1)]
