"""What a pass has found from data, kept beside the data: the next plan that needs the same need not look again.

A source of data may have a dictionary ``findings``. Keys say all that a finding depends on beside the data itself, and begin with the name
of the pass. A source without one is asked anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.ir import Array, Constant, DType, Quantization, Value
from graphopt.passes import PassContext
from graphopt.transforms.quantization.parameters import dequantized, quantized

__all__ = ["Rounded", "findings_of"]


def findings_of(ctx: PassContext) -> dict[object, object]:
    """Where to keep findings; a new dictionary, which is gone with the pass, where the source has none."""
    found = getattr(ctx.calibration, "findings", None)
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Rounded:
    """A weight on its grid.

    Attributes:
        stored: its integers.
        how: what they stand for.
        like: element type of the weight.
        ratio: SQNR of the layer by nearest rounding, and by this one, in dB.
    """

    stored: Array
    how: Quantization
    like: DType
    ratio: tuple[float, float]

    @staticmethod
    def of(value: Value, ratio: tuple[float, float]) -> Rounded:
        """That of a weight that was just rounded and noted."""
        assert value.const is not None, "weights are constant"
        assert value.quantization is not None, "it was just noted"
        how = value.quantization
        return Rounded(quantized(value.const.numpy(), how), how, value.const.dtype, ratio)

    @property
    def constant(self) -> Constant:
        """The floats that the integers stand for."""
        return Constant(dequantized(self.stored, self.how).astype(self.like.numpy))
