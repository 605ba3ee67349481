"""Sizes for the dynamic axes of a model's inputs: candidates, the likely ones first.

Axes that share a symbol share a size; a dimension whose name is an expression (``past + 1``) follows from the others. What a model takes
is not in its declarations, so these are only guesses for it to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphopt.ir import Dim, DType, SymbolicDim, TensorType
from graphopt.transforms.input_sizes import Limits
from graphopt.verify.hints import InputHint
from graphopt.verify.size_expressions import evaluate_size, is_size_expression

__all__ = ["Sizes", "Symbols", "find_symbols"]

Sizes = Mapping[str, int]

_BATCH: Final = (1, 2, 3)
_IMAGE: Final = (64, 224, 32, 128, 256, 96, 320, 48, 28, 16, 8, 299, 384, 512, 640, 4, 7, 1)
_CHANNELS: Final = (3, 1, 4, 2, 8, 16, 32, 64)
_SEQUENCE: Final = (8, 16, 5, 32, 64, 1, 128, 512, 2, 3)
_SIGNAL: Final = (16, 64, 512, 576, 1024, 8000, 16000, 4, 3, 2, 1)
_PLAIN: Final = (4, 8, 16, 3, 2, 1, 32, 64, 128, 224, 256, 512, 768, 1024)
_NAMES: Final[tuple[tuple[re.Pattern[str], tuple[int, ...]], ...]] = (
    (re.compile(r"batch|^n$|^b$|^bs$", re.I), _BATCH),
    (re.compile(r"height|width|^h$|^w$|image|img", re.I), _IMAGE),
    (re.compile(r"chan|^c$", re.I), _CHANNELS),
    (re.compile(r"past", re.I), (4, 0, 8, 1)),
    (re.compile(r"total", re.I), (12, 8, 16, 9, 4)),
    (re.compile(r"seq|len|time|tok|frame|step|^t$|^s$|^l$", re.I), _SEQUENCE),
)
#: What exporters write for "any size"; equal ones mean nothing.
_NAMELESS: Final = frozenset({"?", "None", "none", "-1", "unk", "*"})
_MAX_ELEMENTS: Final = 1 << 25
#: The largest end of a range that is tried for being one.
_MODERATE: Final = 1024


@dataclass(frozen=True, slots=True)
class Symbols:
    """The free sizes of a model's inputs.

    Attributes:
        candidates: sizes to try by symbol, the likely ones first; axes without a name have symbols such as ``x.0``.
        shapes: by input, a size or a symbol (which may be an expression over others) for each axis.
        limits: smallest and largest size by symbol, where a user states them; ``None`` for no largest.
    """

    candidates: Mapping[str, tuple[int, ...]]
    shapes: Mapping[str, tuple[int | str, ...]]
    limits: Limits = field(default_factory=dict)

    def shape_of(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """The shape of an input under given sizes."""
        return tuple(dim if isinstance(dim, int) else evaluate_size(dim, sizes) for dim in self.shapes[name])

    def fits(self, sizes: Sizes) -> bool:
        """Whether no axis is negative or outside of its limits, and no input is too large to try."""
        if not all(_is_within(evaluate_size(name, sizes), self.limits[name]) for name in self.limits):
            return False
        for name in self.shapes:
            shape = self.shape_of(name, sizes)
            if min(shape, default=0) < 0 or int(np.prod(shape, dtype=np.float64)) > _MAX_ELEMENTS:
                return False
        return True

    def assignments(self, rng: np.random.Generator, count: int) -> Iterator[dict[str, int]]:
        """Sizes to try, at most ``count``: the likeliest of all, then one symbol off, then any mixture."""
        seen: set[tuple[int, ...]] = set()
        for sizes in self._guesses(rng, count):
            key = tuple(sizes.values())
            if key in seen or not self.fits(sizes):
                continue
            seen.add(key)
            yield sizes
            if len(seen) >= count:
                return

    def _guesses(self, rng: np.random.Generator, count: int) -> Iterator[dict[str, int]]:
        first = {name: options[0] for name, options in self.candidates.items()}
        yield first
        kinds: dict[tuple[int, ...], list[str]] = {}
        for name, options in self.candidates.items():
            kinds.setdefault(options, []).append(name)
        longest = max(map(len, kinds), default=0)
        for level in range(1, longest):  # likely sizes of one kind are equal, so all of a kind move together first
            for options, names in kinds.items():
                if level < len(options):
                    yield {**first, **dict.fromkeys(names, options[level])}
            yield {name: options[min(level, len(options) - 1)] for name, options in self.candidates.items()}
            for name, options in self.candidates.items():
                if level < len(options):
                    yield {**first, name: options[level]}
        if len(self.candidates) > 1:
            for _ in range(4 * count):
                yield {name: options[int(rng.integers(len(options)))] for name, options in self.candidates.items()}

    def variations(self, base: Sizes) -> Iterator[tuple[frozenset[str], dict[str, int]]]:
        """Other sizes near ``base``: which symbols moved together, and the sizes."""
        groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
        for name, options in self.candidates.items():
            groups.setdefault((base[name], options), []).append(name)
        for (size, options), names in groups.items():
            for together in [names] if len(names) == 1 else [names, *([name] for name in names)]:
                for other in _others(size, options, limited=not self.limits.keys().isdisjoint(together)):
                    sizes = {**base, **dict.fromkeys(together, other)}
                    if self.fits(sizes):
                        yield frozenset(together), sizes


def _others(size: int, options: Sequence[int], *, limited: bool = False) -> list[int]:
    """A few sizes unlike ``size``: first such as keep the multiples of it that strided models ask for."""
    if limited:  # whatever is stated may be fed, ends first
        return [item for item in (*options[1:], size + 1, size - 1) if item != size and item >= 0]
    near = (
        [2, 3] if size == 1 else [size + 32, size * 2, size * 3] if size % 32 == 0 else [size + 1, size * 2, size - 1]
    )
    return list(dict.fromkeys(item for item in (*near, *options) if item != size and item > 0))[:6]


def find_symbols(hints: Sequence[InputHint], baked: Sequence[int] = (), limits: Limits | None = None) -> Symbols:
    """The free sizes of inputs that are tensors, or sequences and optionals of them.

    Args:
        hints: one for each input.
        baked: sizes that the model may have been traced with; tried right after the likeliest one.
        limits: smallest and largest size by symbol, where a user states them.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    candidates: dict[str, tuple[int, ...]] = {}
    expressions: dict[str, tuple[int | str, ...]] = {}
    for hint in hints:
        tensor = hint.type if isinstance(hint.type, TensorType) else None
        if tensor is None:
            continue
        rank = tensor.rank if tensor.rank is not None else _likely_rank(hint)
        dims: Sequence[Dim] = tensor.shape if tensor.shape is not None else (None,) * rank
        shape: list[int | str] = []
        for axis, dim in enumerate(dims):
            if isinstance(dim, int):
                shape.append(dim)
                continue
            named = str(dim) if isinstance(dim, SymbolicDim) and str(dim) not in _NAMELESS else ""
            symbol = named or f"{hint.name}.{axis}"
            shape.append(symbol)
            options = _candidates(named, axis, rank, tensor.dtype, hint)
            if not hint.axes.get(axis):
                likely = [size for size in baked if size >= hint.least.get(axis, 0)]
                options = tuple(dict.fromkeys((options[0], *likely, *options[1:])))
            known = candidates.get(symbol)
            candidates[symbol] = (
                options if known is None else _merge(known, options, required=bool(hint.axes.get(axis)))
            )
        shapes[hint.name] = tuple(shape)
    for symbol in list(candidates):
        if is_size_expression(symbol, candidates):
            expressions[symbol] = candidates.pop(symbol)
    stated = {name: limit for name, limit in (limits or {}).items() if name in candidates or name in expressions}
    candidates |= {name: _within(candidates[name], *stated[name]) for name in stated if name in candidates}
    return Symbols(candidates, shapes, stated)


def _is_within(size: int, limit: tuple[int, int | None]) -> bool:
    low, high = limit
    return low <= size and (high is None or size <= high)


def _within(options: Sequence[int], low: int, high: int | None) -> tuple[int, ...]:
    """Likely sizes that are within limits, and some that are in any case: the ends, if a model can be tried with them."""
    likely = [size for size in options if _is_within(size, (low, high))]
    middle = low + 1 if high is None else (low + min(high, low + _MODERATE)) // 2
    ends = [middle, max(low, 1) if high != 0 else low, *([high] if high is not None and high <= _MODERATE else [])]
    return tuple(dict.fromkeys((*likely[:1], *ends, *likely[1:])))


def _merge(known: tuple[int, ...], options: tuple[int, ...], *, required: bool) -> tuple[int, ...]:
    return tuple(dict.fromkeys((*options, *known) if required else (*known, *options)))


def _likely_rank(hint: InputHint) -> int:
    """The rank of a tensor that is declared without one."""
    return max((*hint.axes, *hint.least), default=1) + 1


def _candidates(name: str, axis: int, rank: int, dtype: DType, hint: InputHint) -> tuple[int, ...]:
    usual = next((sizes for pattern, sizes in _NAMES if name and pattern.search(name)), None)
    if usual is None:
        usual = _by_place(axis, rank, dtype)
    least = hint.least.get(axis, 0)
    required = tuple(hint.axes.get(axis, ()))
    usual = tuple(size for size in usual if size >= least) or (least, least + 1)
    return tuple(dict.fromkeys((*required, *usual)))


def _by_place(axis: int, rank: int, dtype: DType) -> tuple[int, ...]:
    if axis == 0 and rank >= 2:
        return _BATCH
    if rank >= 4:
        return _CHANNELS if axis == 1 else _IMAGE
    if rank >= 2 and axis == 1 and (dtype.is_integer or rank == 3):
        return _SEQUENCE
    return _SIGNAL if rank == 2 and dtype.is_float else _PLAIN
