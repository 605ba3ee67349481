"""Weights that are stored as integers of 8 or 16 bits and made floats by hand: ``Cast(q) * s``, ``(Cast(q) - z) * s``.

They become the floats that they stand for. Numerics: exact, it is the arithmetic of the runtime.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from graphopt.ir import DType, Node, Value, constant_of
from graphopt.numerics import Exact, Numerics
from graphopt.rewriting import NoMatch, Pattern, Replacement, RewritePattern, Rewriter, any_, const, op

__all__ = ["DecodeScaledIntegers"]

_NARROW: Final = (DType.INT8, DType.UINT8, DType.INT16)


class DecodeScaledIntegers(RewritePattern):
    """Mul(Cast(q), s) of constant integers q, less a zero point or not, and their scale -> a float constant."""

    name: ClassVar[str] = "decode-scaled-integers"
    roots: ClassVar[tuple[str, ...]] = ("Mul",)
    numerics: ClassVar[Numerics] = Exact()
    reach: ClassVar[int] = 3
    contexts: ClassVar[tuple[Pattern, ...]] = (op.Mul(op.Cast(const("q"), to=int(DType.FLOAT)), any_("s")),)

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """Apply where nothing grows: the result has as many numbers as there are integers."""
        for at in (0, 1):
            scale, zero = constant_of(node.inputs[1 - at]), None
            cast = _only_for(node.inputs[at])
            if cast is not None and cast.op == "Sub":
                zero = constant_of(cast.inputs[1])
                cast = _only_for(cast.inputs[0]) if zero is not None else None
            stored = None if cast is None or cast.op != "Cast" else constant_of(cast.inputs[0])
            if cast is None or stored is None or scale is None or stored.dtype not in _NARROW:
                continue
            if cast.output.dtype is not DType.FLOAT or np.broadcast_shapes(scale.shape, stored.shape) != stored.shape:
                return NoMatch("the numbers are no floats, or more than the integers")
            floats = stored.numpy().astype(np.float32)
            if zero is not None:
                if np.broadcast_shapes(zero.shape, stored.shape) != stored.shape:
                    return NoMatch("the zero point has more axes than the integers")
                floats = floats - zero.numpy().astype(np.float32)
            return rw.constant((floats * scale.numpy().astype(np.float32)).astype(np.float32))
        return NoMatch("no constant integers of few bits are scaled")


def _only_for(value: Value | None) -> Node | None:
    return value.producer if value is not None and value.has_single_use else None
