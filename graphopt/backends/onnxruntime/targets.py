"""What ONNX Runtime runs, on CPU and on NVIDIA GPUs, as descriptions of targets.

Kernels are those of the installed library. One without CUDA knows nothing of it; then what ONNX Runtime documents is taken for its own
operators, and standard ones are taken to have a kernel. Convolutions on CPU work on blocks of 16 channels with AVX-512, of 8 without.
Source: ONNX Runtime's docs/OperatorKernels.md (facts only); MlasNchwcGetBlockSize.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphopt.backends.onnxruntime.kernels import InstalledKernels, installed_kernels
from graphopt.backends.onnxruntime.quantization import ARM64, X64
from graphopt.target import KernelRange, KernelTable, Target

__all__ = ["ARM", "CPU", "CUDA", "CudaKernels"]

#: ONNX Runtime 1.31 and later read file format versions up to 13 and official operator sets up to 26 (found by loading models of each).
_MAX_IR_VERSION: Final = 13
_MAX_OPSET: Final = 26

_CUDA: Final = "CUDAExecutionProvider"
_HALVES: Final = ("float", "float16", "bfloat16")
_ALL: Final = ("float", "float16", "bfloat16", "double")
_BOTH: Final = ("float", "float16")
#: Fused operators of ``com.microsoft`` that have a CUDA kernel, by element type of the first input that is a floating-point number.
_DOCUMENTED: Final = {
    "Attention": _HALVES,
    "BiasAdd": _BOTH,
    "BiasGelu": _ALL,
    "BiasSoftmax": ("float", "float16", "double"),
    "BiasSplitGelu": _BOTH,
    "DecoderMaskedMultiHeadAttention": _BOTH,
    "DecoderMaskedSelfAttention": _BOTH,
    "FastGelu": _ALL,
    "FusedConv": ("float",),
    "FusedMatMul": _ALL,
    "Gelu": _ALL,
    "GroupNorm": _BOTH,
    "GroupQueryAttention": ("float16", "bfloat16"),
    "Irfft": ("float", "float16", "double"),
    "LongformerAttention": _BOTH,
    "MatMulNBits": _HALVES,
    "MoE": _HALVES,
    "MultiHeadAttention": _HALVES,
    "NhwcConv": _BOTH,
    "PackedAttention": _BOTH,
    "PackedMultiHeadAttention": _BOTH,
    "PagedAttention": ("float16", "bfloat16"),
    "QMoE": ("float16", "bfloat16"),
    "QuickGelu": _ALL,
    "Rfft": ("float", "float16", "double"),
    "RotaryEmbedding": _HALVES,
    "SkipGroupNorm": _BOTH,
    "SkipLayerNormalization": _HALVES,
    "SkipSimplifiedLayerNormalization": _HALVES,
}


class CudaKernels:
    """Kernels of the CUDA provider: those installed, or else those that are documented."""

    def __init__(self) -> None:
        self._documented = KernelTable(
            {
                **{
                    f"com.microsoft::{name}": (KernelRange(dtypes=frozenset(dtypes)),)
                    for name, dtypes in _DOCUMENTED.items()
                },
                "com.microsoft::EmbedLayerNormalization": (KernelRange(dtypes=frozenset({"int32"})),),
            }
        )

    def has(self, op: str, dtype: str | None, opset: int | None) -> bool:
        """Whether there is a kernel."""
        installed = installed_kernels(_CUDA)
        if installed.ranges:
            return installed.has(op, dtype, opset)
        return "::" not in op or self._documented.has(op, dtype, opset)

    def operators(self) -> frozenset[str]:
        """Operators that are known to have one."""
        return installed_kernels(_CUDA).operators() or self._documented.operators()


CPU: Final = Target(
    "onnxruntime-cpu",
    max_opset=_MAX_OPSET,
    max_ir_version=_MAX_IR_VERSION,
    domains=frozenset({"ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}),
    fused_ops=frozenset({"ConvActivation"}),
    backend="onnxruntime",
    kernels=InstalledKernels(),
    quantization=X64,
    channel_block=16,
    sparse_initializers=True,
    doc="ONNX Runtime on CPU: standard operators, and its own of com.microsoft; what --target onnxruntime means.",
)

ARM: Final = replace(
    CPU,
    name="onnxruntime-arm64",
    quantization=ARM64,
    channel_block=8,
    doc="ONNX Runtime on 64-bit Arm: as on any CPU, with int8 activations.",
)

CUDA: Final = Target(
    "onnxruntime-cuda",
    max_opset=_MAX_OPSET,
    max_ir_version=_MAX_IR_VERSION,
    domains=frozenset({"ai.onnx.ml", "com.microsoft"}),
    fused_ops=frozenset({"ConvActivation"}),
    backend="onnxruntime",
    kernels=CudaKernels(),
    sparse_initializers=True,
    doc="ONNX Runtime on NVIDIA GPUs; results are checked on CPU.",
)
