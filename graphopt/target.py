"""What a device or runtime can do: operator sets, domains, kernels, types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from graphopt.ir import DType

__all__ = ["KernelRange", "KernelTable", "Kernels", "QuantizationScheme", "Target"]


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
class QuantizationScheme:
    """How a runtime wants numbers stored as integers, as data.

    Attributes:
        name: what people call it, ``"onnxruntime-x64"``.
        activation: element type of activations, as :class:`graphopt.ir.DType` prints it.
        symmetric_activations: whether their zero point is fixed (0 of signed types, the middle of unsigned ones).
        weight: element type of weights.
        symmetric_weights: whether their zero point is 0.
        per_channel: whether weights have a scale for each output channel.
        integer_biases: whether biases are stored as int32 in steps of the products; else they stay floats.
        reduce_range: whether weights keep to 7 of 8 bits, for processors whose products of pairs would overflow 16 bits.
        static_ops: operators that the runtime computes on integers when inputs, weights and output are quantized.
        passing_ops: operators that move or choose numbers and take integers as they are, so that input and output share one scale.
        float_output_ops: those of ``static_ops`` that can give floats from integers, so that their output needs no scale.
        activations: operators that are computed inside of the one before when their output is quantized.
        saturating: whether those are only left out, because the integers saturate where they cut.
        dynamic_ops: operators with a kernel that quantizes its input as it comes.
        floats: element types of activations that its integer kernels are made for.
        blocked_weights: element types of weights in blocks that the runtime multiplies by directly.
    """

    name: str
    activation: str = "uint8"
    symmetric_activations: bool = False
    weight: str = "int8"
    symmetric_weights: bool = True
    per_channel: bool = True
    integer_biases: bool = True
    reduce_range: bool = False
    static_ops: frozenset[str] = field(default_factory=frozenset)
    passing_ops: frozenset[str] = field(default_factory=frozenset)
    float_output_ops: frozenset[str] = field(default_factory=frozenset)
    activations: frozenset[str] = field(default_factory=frozenset)
    saturating: bool = True
    dynamic_ops: frozenset[str] = field(default_factory=frozenset)
    floats: frozenset[str] = frozenset({"float"})
    blocked_weights: frozenset[str] = field(default_factory=frozenset)


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
        quantization: how it wants integers, ``None`` when it has no integer kernels.
        channel_block: channels that its kernels take at a time, so that what is left of a block costs as much as all of it.
        sparse_initializers: whether it is known to read weights that are stored as sparse initializers.
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
    quantization: QuantizationScheme | None = None
    channel_block: int = 8
    sparse_initializers: bool = False
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
