"""What TensorRT has layers for, as kernels of a target: the operators that have a converter."""

from __future__ import annotations

import functools

__all__ = ["ConvertedOperators"]


class ConvertedOperators:
    """Operators with a built-in converter; their element types are looked at node by node."""

    @functools.cached_property
    def _found(self) -> frozenset[str]:
        from graphopt.backends.tensorrt.registry import builtin_converters  # lazily: few models are made for it

        return frozenset(item.op for item in builtin_converters())

    def has(self, op: str, dtype: str | None, opset: int | None) -> bool:
        """Whether there is one."""
        return op in self._found

    def operators(self) -> frozenset[str]:
        """All of them."""
        return self._found
