"""Compares two outputs element by element and says how they differ, in words and in numbers.

Whether a difference is allowed is the question of :mod:`graphopt.verify.tolerance`. NaN must stand where NaN stood, infinities too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from graphopt.ir import Array, DType
from graphopt.numerics import Exact, Lossy, Numerics, Reassociates
from graphopt.runtime.base import Datum
from graphopt.verify.numbers import Deviation, deviation, element_distance
from graphopt.verify.tolerance import (
    DOUBT_FACTOR,
    NOISE_FACTOR,
    UNSTABLE,
    Noise,
    doubt_tolerance,
    kind_of,
    relative_tolerance,
)

__all__ = ["MEASURED_ONLY", "ZERO_SIGNS", "Difference", "Status", "compare", "compare_types", "leaves"]

#: End of the note on outputs of lossy passes.
MEASURED_ONLY: Final = "measured only"

#: ``unstable``: within what the original moves by itself, which is so much that it says nothing. ``skipped``: shape and type only.
Status = Literal["ok", "failed", "unstable", "skipped"]
#: The note of a :class:`Difference` whose numbers are equal.
ZERO_SIGNS: Final = "signs of zeros differ"
_STILL = Noise()


@dataclass(frozen=True, slots=True)
class Difference:
    """How an output of the optimized model differs from that of the original.

    Attributes:
        name: output; elements of sequences and maps have their index or key in brackets.
        status: the judgement.
        dtype: element type of the original.
        shape: shape of the original.
        note: what is wrong or remarkable, empty for identical bits.
        max_abs: largest absolute difference of two finite elements.
        max_rel: ``max_abs`` over the largest finite magnitude of the original.
        ulp: how many floating-point numbers lie from one to the other at the worst elements, ``None`` for other types.
        cosine: cosine of the angle between both, 1 when both are zero, ``None`` for texts.
        excess: the difference in units of what is allowed, at the worst element; at most 1 is allowed.
        worst: index of the worst element, ``None`` when nothing differs.
        expected: the original there.
        actual: the optimized there.
        compared: elements that were compared as numbers or texts, NaN and infinity left out.
    """

    name: str
    status: Status
    dtype: str
    shape: tuple[int, ...]
    note: str = ""
    max_abs: float = 0.0
    max_rel: float = 0.0
    ulp: int | None = None
    cosine: float | None = None
    excess: float = 0.0
    worst: tuple[int, ...] | None = None
    expected: str = ""
    actual: str = ""
    compared: int = 0

    @property
    def identical(self) -> bool:
        """Whether every bit is the same (NaN payloads apart)."""
        return self.status == "ok" and self.worst is None

    def __str__(self) -> str:
        what = f"output {self.name!r} ({self.dtype}{list(self.shape)})"
        if self.worst is None:
            return f"{what}: {self.note or 'identical'}"
        where = f"at {list(self.worst)}: {self.actual}, expected {self.expected}"
        size = f"{self.excess:.3g} times what is allowed" if self.excess > 1 else "within what is allowed"
        numbers = "" if self.cosine is None else f"max abs {self.max_abs:.3g}, relative {self.max_rel:.3g}, "
        return f"{what}: {where}; {numbers}{size}{f'; {self.note}' if self.note else ''}"


def leaves(value: Datum, name: str) -> Iterator[tuple[str, Array | None]]:
    """The tensors in a value, with names such as ``y[0]`` and ``y['cat']``; ``None`` for an empty optional."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{name}[{index}]")
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield f"{name}[{key!r}]", np.asarray(entry)
    else:
        yield name, None if value is None else np.asarray(value)


def compare(
    name: str,
    expected: Datum,
    actual: Datum,
    numerics: Numerics,
    noise: Mapping[str, Noise] | None = None,
    *,
    beyond_doubt: bool = False,
) -> list[Difference]:
    """How two values of one output differ: an entry for each tensor in them.

    Args:
        name: of the output.
        expected: from the original.
        actual: from the optimized model.
        numerics: what is allowed.
        noise: how much the original moves by itself, by name of the tensor (:func:`leaves`), where that was measured.
        beyond_doubt: fail whatever needs such a measurement to be judged.

    Example:
        >>> one, other = np.array([1, 2], np.float32), np.array([1, 2.5], np.float32)
        >>> found, = compare("y", one, other, Exact())
        >>> found.status, found.max_abs, found.worst
        ('failed', 0.5, (1,))
    """
    movement = noise or {}
    mine, theirs = dict(leaves(expected, name)), dict(leaves(actual, name))
    if list(mine) != list(theirs):
        found = f"{len(theirs)} elements, expected {len(mine)}"
        if len(mine) == len(theirs):
            found = f"elements {', '.join(theirs)}, expected {', '.join(mine)}"
        unstable = any(movement.get(leaf, _STILL).shape_changes for leaf in (name, *mine))
        return [Difference(name, "unstable" if unstable else "failed", type(expected).__name__, (), found)]
    return [
        _compare(leaf, a, theirs[leaf], numerics, movement.get(leaf, _STILL), beyond_doubt=beyond_doubt)
        for leaf, a in mine.items()
    ]


def compare_types(name: str, expected: Datum, actual: Datum) -> list[Difference]:
    """Whether two values of a random output have the same structure, element types and ranks."""
    mine, theirs = dict(leaves(expected, name)), dict(leaves(actual, name))
    found = []
    for leaf, a in mine.items():
        b = theirs.get(leaf)
        if a is None or b is None:
            continue
        was, now = f"{_spell_type(a)} with {a.ndim} axes", f"{_spell_type(b)} with {b.ndim} axes"
        status: Status = "skipped" if was == now else "failed"
        note = "random: only its type was compared" if was == now else f"{now}, expected {was}"
        found.append(Difference(leaf, status, _spell_type(a), a.shape, note))
    return found


def _compare(
    name: str, a: Array | None, b: Array | None, numerics: Numerics, noise: Noise, *, beyond_doubt: bool
) -> Difference:
    if a is None or b is None:
        same = a is None and b is None
        note = "" if same else "there is a value, expected none" if a is None else "there is no value, expected one"
        return Difference(name, "ok" if same else "failed", "none" if a is None else _spell_type(a), (), note)
    kind, dtype = kind_of(a.dtype), _spell_type(a)
    if dtype != _spell_type(b):
        return Difference(name, "failed", dtype, a.shape, f"element type {_spell_type(b)}, expected {dtype}")
    if a.shape != b.shape:
        status: Status = "unstable" if noise.shape_changes else "failed"
        return Difference(name, status, dtype, a.shape, f"shape {list(b.shape)}, expected {list(a.shape)}")
    if kind == "text":
        return _compare_texts(name, a, b, numerics, noise)
    found = deviation(a, b, (doubt_tolerance if beyond_doubt else relative_tolerance)(numerics, a.dtype))
    if found.identical:
        return Difference(name, "ok", dtype, a.shape, cosine=1.0, compared=found.compared)
    status, note = _judge(found, kind == "integer", a.dtype.itemsize == 1 and a.dtype.kind != "b", numerics, noise)
    excess = found.excess
    if status != "failed":
        excess = min(excess, 1.0)
        if noise.largest and kind != "integer" and isinstance(numerics, Reassociates):
            firm = deviation(a, b, doubt_tolerance(numerics, a.dtype)).exceeding
            if firm > DOUBT_FACTOR * noise.largest:
                status, excess = "failed", firm / (DOUBT_FACTOR * noise.largest)
                note = f"rounding moves it by {noise.largest:.3g} only, so this is something else"
    return Difference(
        name,
        status,
        dtype,
        a.shape,
        note,
        max_abs=found.max_abs,
        max_rel=found.max_rel,
        ulp=element_distance(a, b),
        cosine=found.cosine,
        excess=excess,
        worst=found.worst,
        expected=_spell(a[found.worst]),
        actual=_spell(b[found.worst]),
        compared=found.compared,
    )


def _spell_type(a: Array) -> str:
    return str(DType.from_numpy(a.dtype))


def _spell(item: object) -> str:
    array = np.asarray(item)
    return f"{float(array):.9g}" if kind_of(array.dtype) == "float" else str(item)


def _compare_texts(name: str, a: Array, b: Array, numerics: Numerics, noise: Noise) -> Difference:
    differ = np.array([_text(x) != _text(y) for x, y in zip(a.reshape(-1), b.reshape(-1), strict=True)], bool)
    if not differ.any():
        return Difference(name, "ok", "string", a.shape, compared=a.size)
    worst = tuple(int(axis) for axis in np.unravel_index(int(np.argmax(differ)), a.shape))
    status, note = _judge_flips(int(differ.sum()), a.size, numerics, noise)
    excess = 1.0 if status != "failed" else math.inf
    expected, actual = repr(a[worst]), repr(b[worst])
    return Difference(
        name,
        status,
        "string",
        a.shape,
        note,
        excess=excess,
        worst=worst,
        expected=expected,
        actual=actual,
        compared=a.size,
    )


def _text(item: object) -> object:
    return item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item


def _judge(found: Deviation, integer: bool, quantized: bool, numerics: Numerics, noise: Noise) -> tuple[Status, str]:
    if found.special:
        note = f"{found.special} elements are NaN or infinite on one side only"
        return ("unstable" if noise.shape_changes and not isinstance(numerics, Exact | Lossy) else "failed"), note
    if isinstance(numerics, Lossy):
        return "ok", f"lossy ({numerics.metric}): {MEASURED_ONLY}"
    if not found.changed:
        return ("failed", ZERO_SIGNS) if isinstance(numerics, Exact) else ("ok", ZERO_SIGNS)
    if found.excess <= 1:
        return "ok", "not bit-exact, as when kernels differ" if isinstance(numerics, Exact) else ""
    if not integer:
        return _judge_by_noise(found, numerics, noise)
    status, note = _judge_flips(found.changed, found.size, numerics, noise)
    if status == "ok" and quantized and found.max_abs > max(1.0, noise.largest):
        return "failed", note  # quantized numbers move by steps, not by leaps
    return status, note


def _judge_flips(changed: int, size: int, numerics: Numerics, noise: Noise) -> tuple[Status, str]:
    """Judges values that are equal or not: as many may flip as flip in the original by themselves, times the factor."""
    note = f"{changed} of {size} elements differ"
    if isinstance(numerics, Lossy):
        return "ok", note
    if not noise.flipped or changed > NOISE_FACTOR * noise.flipped * size:
        return "failed", note
    note += f"; {noise.flipped:.2%} flip in the original by themselves"
    return ("unstable" if noise.flipped >= UNSTABLE else "ok"), note


def _judge_by_noise(found: Deviation, numerics: Numerics, noise: Noise) -> tuple[Status, str]:
    most, most_rms = NOISE_FACTOR * noise.largest, NOISE_FACTOR * noise.rms
    if not noise.largest or found.exceeding > most or found.rms > max(most_rms, found.allowed):
        return "failed", "" if not noise.largest else f"the original moves by {noise.largest:.3g} by itself"
    if noise.largest >= UNSTABLE * found.largest:
        return "unstable", f"the original itself moves by {noise.largest:.3g}"
    return "ok", f"within {NOISE_FACTOR:g} times what the original moves by itself ({noise.largest:.3g})"
