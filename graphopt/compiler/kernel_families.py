"""Whether ONNX Runtime fuses less than before: its kernels by family, beside the operators that they stand for.

A family has *lost* if the runtime makes fewer of its fused kernels **and** leaves more of the plain operators that such kernels replace:
both together say that something is computed apart which was computed at once. Fewer kernels alone say nothing: one attention stands for
two products, and what is not computed at all needs no kernel. The blocked layout has lost also if there are more changes of layout and no
more operators in it. See decision 0013.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphopt.runtime.fused_kernels import WITH_ACTIVATION

__all__ = ["FAMILIES", "Fusibility", "KernelFamily"]

_MICROSOFT: Final = "com.microsoft::"
_BLOCKED: Final = "com.microsoft.nchwc::"


@dataclass(frozen=True, slots=True)
class KernelFamily:
    """Fused kernels of one kind.

    Attributes:
        name: for people.
        fused: operators that are such kernels, or beginnings of their names with a ``*``.
        plain: operators that they replace.
        layout: whether more plain ones are a loss by themselves.
        every: whether each of the plain operators must be more for a loss, not their sum.
    """

    name: str
    fused: tuple[str, ...]
    plain: tuple[str, ...]
    layout: bool = False
    every: bool = False

    def count(self, counts: Mapping[str, int]) -> tuple[int, int]:
        """Fused kernels and plain operators of this family."""
        return _matching(counts, self.fused), _matching(counts, self.plain)

    def has_more_plain(self, before: Mapping[str, int], after: Mapping[str, int]) -> bool:
        """Whether more of the operators are left that its kernels replace."""
        rises = [after.get(name, 0) - before.get(name, 0) for name in self.plain]
        return min(rises) > 0 if self.every else sum(rises) > 0


def _matching(counts: Mapping[str, int], names: tuple[str, ...]) -> int:
    exact = sum(counts.get(name, 0) for name in names)
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    if not starts:
        return exact
    return exact + sum(
        count for op, count in counts.items() if op.startswith(starts) and not op.endswith(WITH_ACTIVATION)
    )


def _of_microsoft(names: str) -> tuple[str, ...]:
    return tuple(f"{_MICROSOFT}{name}" for name in names.split())


FAMILIES: Final = (
    KernelFamily(
        "attention",
        (
            "Attention",
            *_of_microsoft(
                "Attention MultiHeadAttention GroupQueryAttention QAttention DecoderMaskedMultiHeadAttention "
                "DecoderMaskedSelfAttention PackedAttention PackedMultiHeadAttention"
            ),
        ),
        ("Softmax",),
    ),
    KernelFamily(
        "normalization",
        (
            *("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "GroupNormalization"),
            *_of_microsoft(
                "SkipLayerNormalization SkipSimplifiedLayerNormalization EmbedLayerNormalization GroupNorm SkipGroupNorm"
            ),
        ),
        ("ReduceMean", "Sqrt"),
    ),
    KernelFamily(
        "activation",
        ("Gelu", "Mish", "HardSwish", *_of_microsoft("Gelu BiasGelu FastGelu QuickGelu")),
        ("Erf", "Tanh", "Sigmoid", "HardSigmoid"),
    ),
    KernelFamily(
        "convolution with activation",
        (f"{_BLOCKED}Conv{WITH_ACTIVATION}", f"{_MICROSOFT}FusedConv{WITH_ACTIVATION}"),
        ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"),
    ),
    KernelFamily(
        "blocked layout",
        tuple(f"{_BLOCKED}{name}" for name in ("Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")),
        (f"{_BLOCKED}ReorderInput", f"{_BLOCKED}ReorderOutput"),
        layout=True,
    ),
    KernelFamily(
        "product with addend", ("Gemm", *_of_microsoft("FusedGemm GemmFastGelu")), ("MatMul", "Add"), every=True
    ),
    KernelFamily("product with transposition", _of_microsoft("FusedMatMul TransposeMatMul"), ("Transpose",)),
    KernelFamily(
        "quantized",
        (
            *("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", f"{_MICROSOFT}QLinear*"),
            *_of_microsoft("QGemm QAttention MatMulIntegerToFloat DynamicQuantizeMatMul MatMulNBits"),
        ),
        ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    ),
)


@dataclass(frozen=True, slots=True)
class Fusibility:
    """ONNX Runtime's kernels for a model and for what it became.

    Attributes:
        before: operators of the graph that it makes of the original, and how often each stands there.
        after: the same for the result.
        undone: what was left out because the runtime fused less with it.
        kept: what was not left out though, because the model has more to compute without it.
    """

    before: Mapping[str, int]
    after: Mapping[str, int]
    undone: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def families(self) -> dict[str, tuple[int, int, int, int]]:
        """Fused kernels before and after, plain operators before and after, of each family that there is any of."""
        found = {}
        for family in FAMILIES:
            fused_before, plain_before = family.count(self.before)
            fused_after, plain_after = family.count(self.after)
            if fused_before or fused_after:
                found[family.name] = (fused_before, fused_after, plain_before, plain_after)
        return found

    def lost(self) -> list[str]:
        """What the runtime fuses less than before, in words; empty when nothing.

        Example:
            >>> Fusibility({"com.microsoft::FastGelu": 2}, {"com.microsoft::FastGelu": 1, "Tanh": 1}).lost()
            ['activation: 1 fused kernel instead of 2']
            >>> Fusibility({"com.microsoft::FusedMatMul": 2}, {"com.microsoft::MultiHeadAttention": 1}).lost()
            []
        """
        found = []
        for family in FAMILIES:
            (fused_before, plain_before), (fused_after, plain_after) = (
                family.count(self.before),
                family.count(self.after),
            )
            if not family.has_more_plain(self.before, self.after):
                continue
            if fused_after < fused_before:
                kernels = "kernel" if fused_after == 1 else "kernels"
                found.append(f"{family.name}: {fused_after} fused {kernels} instead of {fused_before}")
            elif family.layout and fused_after == fused_before and fused_before:
                found.append(f"{family.name}: {plain_after} changes of layout instead of {plain_before}")
        return found

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "families": {
                name: dict(zip(("fused_before", "fused_after", "plain_before", "plain_after"), counts, strict=True))
                for name, counts in self.families().items()
            },
            "lost": self.lost(),
            "undone": list(self.undone),
            "kept": list(self.kept),
        }
