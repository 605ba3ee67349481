"""What a device or runtime can do: operator sets, domains, kernels, types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from graphopt.ir import DType

__all__ = ["KernelRange", "KernelTable", "Kernels", "Target"]


class Kernels(Protocol):
    """The kernels of a runtime: what computes one operator by itself."""

    def has(self, op: str, dtype: str | None, opset: int | None) -> bool:
        """Whether there is one; arguments as those of :meth:`Target.has_kernel`, the element type as ONNX spells it."""

    def operators(self) -> frozenset[str]:
        """Operators that are known to have one."""


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Operator sets in which an operator has kernels.

    Attributes:
        first: the oldest opset.
        last: the newest one, ``None`` for no end.
        dtypes: element types of the first input, as ONNX spells them; ``None`` for any.
    """

    first: int = 1
    last: int | None = None
    dtypes: frozenset[str] | None = None

    def holds(self, dtype: str | None, opset: int | None) -> bool:
        """Whether a kernel of this range takes that.

        Example:
            >>> KernelRange(17, dtypes=frozenset({"float"})).holds("float", 20)
            True
        """
        if opset is not None and not (self.first <= opset and (self.last is None or opset <= self.last)):
            return False
        return dtype is None or self.dtypes is None or dtype in self.dtypes


@dataclass(frozen=True, slots=True)
class KernelTable:
    """Kernels as data.

    Attributes:
        ranges: by operator, ``"Gelu"`` or ``"com.microsoft::BiasGelu"``.

    Example:
        >>> table = KernelTable({"com.microsoft::BiasGelu": (KernelRange(1, None, frozenset({"float"})),)})
        >>> table.has("com.microsoft::BiasGelu", "float", None), table.has("com.microsoft::BiasGelu", "float16", None)
        (True, False)
    """

    ranges: Mapping[str, tuple[KernelRange, ...]]

    def has(self, op: str, dtype: str | None, opset: int | None) -> bool:
        """Whether there is one for an operator."""
        return any(item.holds(dtype, opset) for item in self.ranges.get(op, ()))

    def operators(self) -> frozenset[str]:
        """Operators that have one."""
        return frozenset(self.ranges)


@dataclass(frozen=True, slots=True)
class Target:
    """A device or runtime that models are made for.

    Attributes:
        name: kebab-case name, what ``--target`` takes.
        max_opset: newest opset of the default domain that it runs, ``None`` for any.
        max_ir_version: newest ONNX file format that it reads, ``None`` for any.
        domains: operator domains beyond the default one that it runs.
        fused_ops: operators of the domain ``graphopt`` that its backend legalizes into something faster.
        unsupported: operators it can't run.
        backend: name of the backend that serves it, ``""`` for one of its own name.
        preferred_opset: opset that models are raised to for it (never lowered); ``None`` leaves the model's own.
        kernels: which operators it computes by one kernel each, ``None`` when nobody knows.
        doc: one sentence for people.
    """

    name: str = "onnx"
    max_opset: int | None = None
    max_ir_version: int | None = None
    domains: frozenset[str] = field(default_factory=frozenset)
    fused_ops: frozenset[str] = field(default_factory=frozenset)
    unsupported: frozenset[str] = field(default_factory=frozenset)
    backend: str = ""
    preferred_opset: int | None = None
    kernels: Kernels | None = field(default=None, compare=False, repr=False)
    doc: str = ""

    @property
    def served_by(self) -> str:
        """Name of the backend that makes models for it."""
        return self.backend or self.name

    def has_kernel(self, op: str, dtype: DType | str | None = None, *, opset: int | None = None) -> bool:
        """Whether one kernel computes an operator, so that it pays to fuse into it.

        Where kernels are not known, operators of the default domain are taken to have one, and those of the target's own domains.

        Args:
            op: ``"LayerNormalization"``, ``"com.microsoft::BiasGelu"``; as :attr:`graphopt.ir.Node.op`.
            dtype: element type of its first input, ``None`` for any.
            opset: what the model imports of the operator's domain, ``None`` for any version.

        Example:
            >>> Target().has_kernel("Gelu"), Target().has_kernel("com.microsoft::BiasGelu")
            (True, False)
        """
        domain, _, _name = op.rpartition("::")
        if op in self.unsupported or (domain and domain not in self.domains):
            return False
        if not domain and None not in (opset, self.max_opset) and opset > self.max_opset:  # type: ignore[operator]  # none is None
            return False
        return self.kernels is None or self.kernels.has(op, None if dtype is None else str(dtype), opset)
