"""What a device or runtime can do: operator sets, domains, types."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A device or runtime that models are made for.

    Attributes:
        name: kebab-case name, that of the backend that serves it.
        max_opset: newest opset of the default domain that it runs, ``None`` for any.
        max_ir_version: newest ONNX file format that it reads, ``None`` for any.
        domains: operator domains beyond the default one that it runs.
        fused_ops: operators of the domain ``graphopt`` that its backend legalizes into something faster.
        unsupported: operators it can't run.
    """

    name: str = "onnx"
    max_opset: int | None = None
    max_ir_version: int | None = None
    domains: frozenset[str] = field(default_factory=frozenset)
    fused_ops: frozenset[str] = field(default_factory=frozenset)
    unsupported: frozenset[str] = field(default_factory=frozenset)
