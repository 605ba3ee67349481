"""Inputs on which a model runs, found by asking it.

Guesses come from :mod:`graphopt.verify.hints`, :mod:`graphopt.verify.sizes` and :mod:`graphopt.verify.draw`; each is tried on the
original model, and what it refuses is dropped. What comes back has been run, so it carries its outputs.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import TensorType
from graphopt.runtime.base import Datum, Feeds, Outputs, Runner
from graphopt.verify.draw import MODES, Kind, draw
from graphopt.verify.hints import InputHint, ModelHints
from graphopt.verify.sizes import Sizes, Symbols, find_symbols
from graphopt.verify.tolerance import kind_of, widen

__all__ = ["Sample", "Search", "find_samples", "is_informative"]

logger = logging.getLogger(__name__)

#: Kinds of the samples, with which sizes: likely ones first, other ones next.
_PLAN: Final[tuple[tuple[Kind, int], ...]] = (("normal", 0), ("uniform", 1), ("zeros", 0), ("large", 2))
_VARIATIONS: Final = 24
#: Elements that all generated inputs of one sample may have together: 4 GB while they are drawn as float64.
_MOST_ELEMENTS: Final = 1 << 29


@dataclass(frozen=True, slots=True)
class Sample:
    """Inputs on which the original model ran, and what it gave.

    Attributes:
        feeds: inputs by name.
        outputs: outputs of the original by name.
        kind: what numbers: ``normal``, ``uniform``, ``zeros``, ``large``, ``overrides`` or ``user``.
        sizes: sizes of the dynamic axes by symbol.
    """

    feeds: Feeds
    outputs: Outputs
    kind: str
    sizes: Sizes = field(default_factory=dict)

    def __str__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in self.sizes.items())
        return f"{self.kind} inputs{f' ({sizes})' if sizes else ''}"


@dataclass(slots=True)
class Search:
    """What a search for inputs found.

    Attributes:
        samples: what ran, informative ones first.
        refusals: why the model refused others, the latest last.
        tried: how many inputs were tried.
    """

    samples: list[Sample] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    tried: int = 0


def is_informative(outputs: Outputs) -> bool:
    """Whether any output has a finite number, a text or a truth value in it, or is not a tensor."""
    for value in outputs.values():
        if not isinstance(value, np.ndarray):
            return True
        if kind_of(value.dtype) in ("text", "integer"):
            if value.size:
                return True
            continue
        with np.errstate(all="ignore"):
            if np.isfinite(widen(value)).any():
                return True
    return not outputs


def _overflows(outputs: Outputs) -> bool:
    """Whether an output has a NaN or an infinity: where exactly these begin is a matter of rounding."""
    for value in outputs.values():
        if isinstance(value, np.ndarray) and kind_of(value.dtype) in ("float", "complex"):
            with np.errstate(all="ignore"):
                if not np.isfinite(widen(value)).all():
                    return True
    return False


def find_samples(
    runner: Runner,
    hints: ModelHints | None = None,
    *,
    count: int = 4,
    seed: int = 0,
    seconds: float = 20.0,
    attempts: int = 150,
) -> Search:
    """Inputs on which a model runs, with several sizes of its dynamic axes and several kinds of numbers.

    Args:
        runner: the original model.
        hints: what its graph says about its inputs.
        count: how many samples are wanted.
        seed: same seed, same inputs.
        seconds: when to stop looking for more once there is one.
        attempts: how many inputs may be tried to find the first.

    Example:
        >>> from onnx.parser import parse_model
        >>> from graphopt.runtime import OrtRunner
        >>> model = parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Neg(x) }')
        >>> with OrtRunner(model) as runner:
        ...     [str(sample) for sample in find_samples(runner).samples]
        ['normal inputs (n=1)', 'uniform inputs (n=2)', 'zeros inputs (n=1)', 'large inputs (n=1)']
    """
    return _Finder(runner, hints, seed, seconds).find(count, attempts)


class _Finder:
    def __init__(self, runner: Runner, hints: ModelHints | None, seed: int, seconds: float) -> None:
        self.runner = runner
        self.hints = [_hint_of(spec.name, spec.type, hints) for spec in runner.inputs]
        self.defaults = [
            hint for hint in (_hint_of(spec.name, spec.type, hints) for spec in runner.overridable) if hint.default
        ]
        self.symbols: Symbols = (
            find_symbols(self.hints) if hints is None else find_symbols(self.hints, hints.baked, hints.limits)
        )
        self.seed = seed
        self.end = time.monotonic() + seconds
        self.result = Search()

    @property
    def late(self) -> bool:
        return time.monotonic() > self.end

    def find(self, count: int, attempts: int) -> Search:
        found = self._first(attempts)
        if found is None:
            return self.result
        sizes, mode, sample = found
        several = [sizes, *self._other_sizes(sizes, mode, wanted=2 if count > 1 else 0)]
        samples = [sample]
        for index in range(1, count):
            kind, place = _PLAN[index] if index < len(_PLAN) else ("normal", index)
            more = None if self.late else self._try(several[place % len(several)], kind, mode, index)
            if more is not None and (kind != "large" or not _overflows(more.outputs)):
                samples.append(more)
        if self.defaults and not self.late:
            samples += self._overrides(sizes, mode)
        self.result.samples = sorted(samples, key=lambda item: not is_informative(item.outputs))
        return self.result

    def _first(self, attempts: int) -> tuple[dict[str, int], str, Sample] | None:
        """The first inputs that run and give a number; failing that, the first that run."""
        spare: tuple[dict[str, int], str, Sample] | None = None
        for sizes, mode, kind in self._guesses(attempts):
            sample = self._try(sizes, kind, mode, 0)
            if sample is not None:
                if is_informative(sample.outputs):
                    return sizes, mode, sample
                spare = spare or (sizes, mode, sample)
            if self.late and (spare is not None or self.result.tried > attempts // 4):
                break
        return spare

    def _guesses(self, attempts: int) -> Iterator[tuple[dict[str, int], str, Kind]]:
        """Sizes, ways of drawing integers, and kinds, in an order in which the likely ones come early in each."""
        rng = np.random.default_rng(self.seed)
        sizes = list(self.symbols.assignments(rng, attempts)) or [{}]
        modes = MODES if any(_is_open(hint) for hint in self.hints) else MODES[:1]
        ranked = sorted(
            (place + 4 * way + 3 * number, place, way, number)
            for place in range(len(sizes))
            for way in range(len(modes))
            for number in range(2)
        )
        for _, place, way, number in ranked[:attempts]:
            yield sizes[place], modes[way], "uniform" if number else "normal"

    def _other_sizes(self, base: dict[str, int], mode: str, wanted: int) -> list[dict[str, int]]:
        """Sizes unlike ``base`` on which the model runs: all that can change changed, then only some of them."""
        if not wanted or not self.symbols.candidates:
            return []
        changed: dict[str, int] = {}
        single: list[dict[str, int]] = []
        tries = 0
        for names, sizes in self.symbols.variations(base):
            if tries >= _VARIATIONS or self.late:
                break
            if names <= changed.keys():
                continue
            tries += 1
            if self._try(sizes, "normal", mode, 1) is None:
                continue
            changed.update({name: sizes[name] for name in names})
            single.append(sizes)
            if len(names) > 1:  # equal sizes of one kind: an image that is not square, say
                alone = {**base, max(names): sizes[max(names)]}
                if self._try(alone, "normal", mode, 1) is not None:
                    single.append(alone)
        if len(single) > 1:
            together = {**base, **changed}
            if self.symbols.fits(together) and self._try(together, "normal", mode, 1) is not None:
                return [together, single[-1]][:wanted]
        return single[:wanted]

    def _try(self, sizes: dict[str, int], kind: Kind, mode: str, stream: int) -> Sample | None:
        try:
            feeds = self._draw(sizes, kind, mode, stream)
        except MemoryError:
            self.result.tried += 1
            self._refuse("generated inputs of this size do not fit into memory")
            return None
        return self._run(feeds, kind, sizes)

    def _refuse(self, reason: str) -> None:
        logger.debug("inputs refused: %s", reason)
        self.result.refusals.append(reason)

    def _draw(self, sizes: dict[str, int], kind: Kind, mode: str, stream: int) -> dict[str, Datum]:
        elements = sum(math.prod(shape) for shape in self._shapes(sizes) if shape)
        if elements > _MOST_ELEMENTS:  # generating them could take the memory that others need
            raise MemoryError
        rng = np.random.default_rng((self.seed, stream))
        return {
            hint.name: draw(
                hint,
                hint.type,
                self.symbols.shape_of(hint.name, sizes) if hint.name in self.symbols.shapes else None,
                kind,
                mode,
                rng,
            )
            for hint in self.hints
        }

    def _shapes(self, sizes: dict[str, int]) -> Iterator[Sequence[int] | None]:
        for hint in self.hints:
            if hint.name in self.symbols.shapes:
                yield self.symbols.shape_of(hint.name, sizes)
            elif isinstance(hint.type, TensorType) and hint.type.shape is not None:
                yield [dim for dim in hint.type.shape if isinstance(dim, int)]

    def _run(self, feeds: dict[str, Datum], kind: str, sizes: Sizes) -> Sample | None:
        self.result.tried += 1
        try:
            return Sample(feeds, self.runner.run(feeds), kind, dict(sizes))
        except ExecutionError as err:
            self._refuse(str(err))
            return None

    def _overrides(self, sizes: dict[str, int], mode: str) -> list[Sample]:
        """The same with other numbers in place of defaults: they must not have been taken for constants."""
        feeds = self._draw(sizes, "normal", mode, 0)
        for hint in self.defaults:
            assert hint.default is not None  # selected for having one
            array = hint.default.numpy()
            if hint.default.dtype.is_float:
                feeds[hint.name] = (array.astype(np.float64) * 1.25 + 0.0625).astype(array.dtype)
        sample = self._run(feeds, "overrides", sizes)
        return [] if sample is None else [sample]


def _hint_of(name: str, declared: object, hints: ModelHints | None) -> InputHint:
    found = hints.of(name) if hints is not None else None
    if found is not None and found.type is not None:
        return found
    return InputHint(name, declared)  # type: ignore[arg-type]  # a type, as every specification has


def _is_open(hint: InputHint) -> bool:
    """Whether nothing is known about the integers that an input takes."""
    return isinstance(hint.type, TensorType) and hint.type.dtype.is_integer and (hint.low is None or hint.high is None)
