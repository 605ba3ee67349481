"""Samplers: for each operator what makes a node of it, and the table in which they are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from graphopt.testing.strategies.ask import Ask

__all__ = ["Sampler", "SamplerTable", "spread"]

#: Asks for operands and states attributes; returns how many outputs the node has, or for each whether it is named; one when ``None``.
Make = Callable[[Ask], int | Sequence[bool] | None]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Makes nodes of one operator.

    Attributes:
        make: asks for operands and states attributes.
        ranks: fewest and most axes of inputs, by position, so that what comes before can be made to fit.
        keeps: whether the result has the rank of the first input.
    """

    make: Make
    ranks: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    keeps: bool = False


class SamplerTable:
    """Samplers by operator. Used as a decorator factory while modules of samplers load."""

    def __init__(self) -> None:
        self.by_op: dict[str, Sampler] = {}

    def __call__(
        self, *ops: str, ranks: Mapping[int, tuple[int, int]] | None = None, keeps: bool = False
    ) -> Callable[[Make], Make]:
        """Register a function for operators.

        Args:
            ops: names in the default domain.
            ranks: see :class:`Sampler`.
            keeps: see :class:`Sampler`.
        """

        def register(make: Make) -> Make:
            for op in ops:
                assert op not in self.by_op, f"{op} has a sampler"
                self.by_op[op] = Sampler(make, dict(ranks or {}), keeps)
            return make

        return register


def spread(ask: Ask, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts with another: the same, some sizes 1, shorter, a scalar, or longer."""
    choices = ask.choices
    form = choices.integer(0, 9)
    if form <= 2:
        return tuple(shape)
    if form == 3:
        return ()
    if form >= 8 and shape:  # one number for each channel, wherever channels are
        axis = 1 if len(shape) > 2 and choices.chance(0.7) else len(shape) - 1
        kept = [size if index == axis else 1 for index, size in enumerate(shape)]
        return tuple(kept[axis:] if choices.chance(0.7) else kept)
    ones = [1 if choices.chance(0.4) else size for size in shape]
    if form <= 5 and ones:
        return tuple(ones[choices.integer(0, len(ones)) :])
    if form == 6 and len(ones) < 5:
        return (choices.of((1, 2)), *ones)
    return tuple(ones)
