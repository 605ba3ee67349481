"""Whether callers of the original can call the optimized model in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from graphopt.ir import OptionalType, SequenceType, TensorType, Type
from graphopt.runtime.base import Runner, ValueSpec

__all__ = ["Interface", "interface_changes"]


@dataclass(frozen=True, slots=True)
class Interface:
    """What callers of a model see.

    Attributes:
        inputs: what must be fed.
        outputs: what comes back.
        overridable: what may be fed.
    """

    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    overridable: tuple[ValueSpec, ...] = ()

    @classmethod
    def of(cls, runner: Runner) -> Self:
        """The interface of a model that is loaded."""
        return cls(tuple(runner.inputs), tuple(runner.outputs), tuple(runner.overridable))


def interface_changes(original: Interface, optimized: Interface) -> list[str]:
    """How inputs and outputs differ; empty when callers can't tell.

    Names, order, element types and ranks must be the same, fixed sizes too. A dynamic size of an input must stay dynamic. What the
    original leaves open about an output may be known in the optimized model.
    """
    found = _changed("input", original.inputs, optimized.inputs)
    found += _changed("output", original.outputs, optimized.outputs)
    kept = {spec.name for spec in optimized.overridable}
    for spec in original.overridable:
        if spec.name not in kept:
            found.append(f"input {spec.name!r} has a default that can no longer be overridden")
    return found


def _changed(what: str, before: Sequence[ValueSpec], after: Sequence[ValueSpec]) -> list[str]:
    old, new = [spec.name for spec in before], [spec.name for spec in after]
    if old != new:
        missing = [repr(name) for name in old if name not in new]
        added = [repr(name) for name in new if name not in old]
        parts = [f"lost {', '.join(missing)}"] * bool(missing) + [f"gained {', '.join(added)}"] * bool(added)
        return [f"{what}s changed: {'; '.join(parts) or 'another order'}"]
    found = []
    for a, b in zip(before, after, strict=True):
        why = _why_incompatible(a.type, b.type, is_input=what == "input")
        if why:
            found.append(f"{what} {a.name!r} was {a.type}, is {b.type}: {why}")
    return found


def _why_incompatible(a: Type | None, b: Type | None, *, is_input: bool) -> str:
    if a is None or b is None:
        return ""
    if isinstance(a, SequenceType | OptionalType) and type(a) is type(b):
        return _why_incompatible(a.element, b.element, is_input=is_input)
    if not isinstance(a, TensorType) or not isinstance(b, TensorType):
        return "" if a == b else "another type"
    if a.dtype != b.dtype:
        return "another element type"
    if not a.shape or not b.shape:
        return ""  # ONNX Runtime tells an unknown rank from rank 0 by neither word nor sign
    if len(a.shape) != len(b.shape):
        return "another rank"
    for axis, (old, new) in enumerate(zip(a.shape, b.shape, strict=True)):
        if isinstance(old, int) and isinstance(new, int) and old != new:
            return f"axis {axis} has another size"
        if isinstance(new, int) and not isinstance(old, int) and is_input:
            return f"axis {axis} is dynamic no longer"
    return ""
