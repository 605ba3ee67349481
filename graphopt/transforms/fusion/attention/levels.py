"""Which numbers of a mask leave no weight: what kernels that give 0 for a row of the lowest number may be handed instead.

ONNX Runtime's kernels for ``Attention`` and ``com.microsoft::GroupQueryAttention`` give 0 where a row of the mask is the lowest float32
or -inf throughout; softmax gives equal weights there, or NaN. A sum of a score with any number below -1e30 is that number, so that a mask
whose low numbers are all the same one may have -1e30 instead, which these kernels treat as softmax does (found by trying it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphopt.ir import DType, Node, Value
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.fusion.attention.bounds import MOVES, largest_magnitude

__all__ = ["NO_WEIGHT", "SMALL_MASK", "Levels", "clamped", "is_nothing", "leaves_something", "levels_of", "must_clamp"]

#: A score is lost in a sum with this, and no kernel takes it for the lowest number.
NO_WEIGHT: Final = -1e30
#: Sums of float16 with numbers up to this are as good as others.
SMALL_MASK: Final = 1e4
#: Numbers up to this are lost in a sum with a low number.
_SMALL: Final = 1e20
_MOST_STEPS: Final = 24
_MOST_ELEMENTS: Final = 1 << 22
_MOST_EXACT: Final = 8
_TRUTH: Final = frozenset({0.0, 1.0})


@dataclass(frozen=True, slots=True)
class Levels:
    """What is known about the numbers of a tensor: each is one of ``lows``, or not larger than ``bound`` in magnitude.

    Attributes:
        lows: numbers at or below ``NO_WEIGHT``.
        bound: of all others, below ``-NO_WEIGHT``.
        exact: the only numbers there may be, ``None`` when they are not known.
    """

    lows: frozenset[float]
    bound: float
    exact: frozenset[float] | None = None


def levels_of(value: Value | None, steps: int = _MOST_STEPS) -> Levels | None:
    """What is known about the numbers of a mask; ``None`` when some may be large, or NaN.

    Args:
        value: float32 or truth values.
        steps: how many nodes back to look.
    """
    if value is None:
        return None
    if value.is_constant and value.const is not None:
        small = value.const.size <= _MOST_ELEMENTS and (value.const.dtype.is_integer or value.const.dtype.is_float)
        if value.const.dtype is DType.BOOL:
            small = value.const.size <= _MOST_ELEMENTS
        known = _of_constant(value.const.numpy().astype(np.float64)) if small else None
        return _of_numbers(_TRUTH) if known is None and value.const.dtype is DType.BOOL else known
    if value.dtype is DType.BOOL:
        moved = value.producer
        uniform = moved is not None and steps and moved.op in MOVES and moved.op != "Trilu" and not moved.has_references
        return levels_of(moved.inputs[0], steps - 1) if moved is not None and uniform else _of_numbers(_TRUTH)
    bound = largest_magnitude(value, steps)
    node = value.producer
    found = None
    if node is not None and steps and not (node.attributes and node.has_references):
        found = _of_node(node, steps - 1)
    if found is not None or bound >= -NO_WEIGHT:
        return found
    return Levels(frozenset(), bound)


def _of_constant(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Levels | None:
    different = np.unique(numbers)
    if len(different) <= _MOST_EXACT:
        return _of_numbers(frozenset(different.tolist()))
    lows, others = different[different <= NO_WEIGHT], different[~(different <= NO_WEIGHT)]
    bound = float(np.abs(others).max(initial=0.0))  # NaN if there is one
    return Levels(frozenset(lows.tolist()), bound) if bound < -NO_WEIGHT and len(lows) <= _MOST_EXACT else None


def _of_numbers(numbers: frozenset[float]) -> Levels | None:
    lows = frozenset(number for number in numbers if number <= NO_WEIGHT)
    bound = max((abs(number) for number in numbers - lows), default=0.0)
    if len(numbers) > _MOST_EXACT or not bound < -NO_WEIGHT or any(map(math.isnan, numbers)):
        return None
    return Levels(lows, bound, numbers)


def _of_node(node: Node, steps: int) -> Levels | None:
    inputs, op = node.inputs, node.op
    if op == "Trilu":
        return _joined([levels_of(inputs[0], steps), _of_numbers(frozenset({0.0}))])
    if op in MOVES:
        return levels_of(inputs[0], steps)
    if op == "Cast":
        found = levels_of(inputs[0], steps)
        fits = node.output.dtype is DType.FLOAT and inputs[0] is not None and inputs[0].dtype is not DType.DOUBLE
        return found if fits else None
    if op == "Where":
        condition = levels_of(inputs[0], steps)
        chosen = None if condition is None else condition.exact
        if chosen is not None and len(chosen) == 1:
            return levels_of(inputs[1 if 1.0 in chosen else 2], steps)
        return _joined([levels_of(item, steps) for item in inputs[1:]])
    if op == "Concat":
        return _joined([levels_of(item, steps) for item in inputs])
    if op in ("Add", "Sub", "Mul") and node.output.dtype is DType.FLOAT:
        a, b = levels_of(inputs[0], steps), levels_of(inputs[1], steps)
        return None if a is None or b is None else _combined(op, a, b)
    return None


def _joined(parts: list[Levels | None]) -> Levels | None:
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    exact = [part.exact for part in known if part.exact is not None]
    together = frozenset().union(*exact) if len(exact) == len(known) else None
    if together is not None and len(together) <= _MOST_EXACT:
        return _of_numbers(together)
    return Levels(frozenset().union(*(part.lows for part in known)), max(part.bound for part in known))


def _combined(op: str, a: Levels, b: Levels) -> Levels | None:
    """Levels of a sum, a difference or a product."""
    if a.exact is not None and b.exact is not None and len(a.exact) * len(b.exact) <= _MOST_EXACT:
        with np.errstate(all="ignore"):
            pairs = [(np.float32(x), np.float32(y)) for x in a.exact for y in b.exact]
            found = [x + y if op == "Add" else x - y if op == "Sub" else x * y for x, y in pairs]
        return _of_numbers(frozenset(map(float, found)))
    if op == "Add" and a.bound <= _SMALL and b.bound <= _SMALL:
        sums = {x + y for x in a.lows for y in b.lows}
        lowest = -float(np.finfo(np.float32).max)
        sums = {number if number >= lowest else -math.inf for number in sums}
        return Levels(a.lows | b.lows | sums, a.bound + b.bound)
    return None


def is_nothing(value: Value) -> bool:
    """Whether each number of a mask is certainly 0."""
    found = levels_of(value)
    return found is not None and found.exact is not None and found.exact <= {0.0}


def leaves_something(value: Value) -> bool:
    """Whether each row of a constant mask certainly has a number that leaves weight."""
    if not value.is_constant or value.const is None or not value.const.shape or value.const.size > _MOST_ELEMENTS:
        return False
    return bool((value.const.numpy().astype(np.float64) > NO_WEIGHT).any(-1).all())


def must_clamp(lows: frozenset[float], mask: Value | None, *, guarded: bool) -> bool | NoMatch:
    """Whether a kernel that gives 0 for masked rows must be handed higher numbers than a mask has.

    Args:
        lows: low numbers of the mask.
        mask: the mask, if it is added as it stands.
        guarded: whether NaN that come of rows of -inf are replaced by 0, as the kernel does.
    """
    if not lows or (mask is not None and leaves_something(mask)):
        return False
    if lows == {-math.inf}:
        return False if guarded else NoMatch("a row of the mask may be -inf throughout")
    if len(lows) > 1:
        return NoMatch("a row of the mask may have different low numbers and no others")
    return True


def clamped(rw: Rewriter, mask: Value) -> Value:
    """A mask with no number below ``NO_WEIGHT``."""
    lowest = np.array(NO_WEIGHT, np.float32)
    if mask.is_constant and mask.const is not None:
        return rw.constant(np.maximum(mask.const.numpy(), lowest))
    return rw.new("Max", mask, lowest)
