"""graphopt's own passes, frontends, backends, calibrators and pipelines, registered through the hooks that a stranger's plugin uses.

Names stand here beside the place of what they name, so that a pass is imported only when a pipeline has it; a test holds the tables
equal to what the modules define.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Final

from graphopt.hookspecs import HOOK_API_VERSION, hookimpl
from graphopt.passes import Converter, Lazy
from graphopt.plugin_manager import PluginManager

__all__ = ["BUILTIN", "GRAPHOPT_API_VERSION", "builtin_plugins"]

GRAPHOPT_API_VERSION: Final = HOOK_API_VERSION
#: Name of this plugin.
BUILTIN: Final = "builtin"

#: Module and class of each pass, by name.
_PASSES: Final[Mapping[str, str]] = {
    "apply-pruning-plan": "transforms.pruning.apply_plan:ApplyPruningPlan",
    "assign-quantization": "transforms.quantization.static:AssignQuantization",
    "canonicalize": "transforms.canonicalize:Canonicalize",
    "canonicalize-algebra": "transforms.canonicalize:CanonicalizeAlgebra",
    "clean-qdq": "transforms.quantization.static:CleanQdq",
    "constants-to-initializers": "transforms.constants:ConstantsToInitializers",
    "convert-to-bfloat16": "transforms.quantization.float16:ConvertToBfloat16",
    "convert-to-float16": "transforms.quantization.float16:ConvertToFloat16",
    "convert-to-float32": "transforms.quantization.float16:ConvertToFloat32",
    "convolve-before-resize": "transforms.layout:ConvolveBeforeResize",
    "correct-biases": "transforms.quantization.accuracy:CorrectBiases",
    "decompose-activations": "transforms.decompose:DecomposeActivations",
    "decompose-attention": "transforms.decompose:DecomposeAttention",
    "decompose-blocks": "transforms.decompose:DecomposeBlocks",
    "decompose-integers": "transforms.decompose:DecomposeIntegers",
    "decompose-lrn": "transforms.layout:DecomposeLrn",
    "decompose-normalization": "transforms.decompose:DecomposeNormalization",
    "decompose-recurrent": "transforms.decompose:DecomposeRecurrent",
    "decompose-transformer-ops": "transforms.decompose:DecomposeTransformerOps",
    "deduplicate-constants": "transforms.deduplicate:DeduplicateConstants",
    "dequantize": "transforms.quantization.static:Dequantize",
    "eliminate-common-subexpressions": "transforms.cse:EliminateCommonSubexpressions",
    "eliminate-dead-code": "transforms.dead_code:EliminateDeadCode",
    "equalize-layers": "transforms.quantization.accuracy:EqualizeLayers",
    "expand-function-ops": "backends.onnx.function_bodies:ExpandFunctionOps",
    "fold-constants": "transforms.constant_folding:FoldConstants",
    "fold-shapes": "transforms.shape_folding:FoldShapes",
    "fuse-activations": "transforms.fusion.activations:FuseActivations",
    "fuse-affine-conv": "transforms.layout:FuseAffineConv",
    "fuse-attention": "transforms.fusion.attention:FuseAttention",
    "fuse-conv-activation": "transforms.fusion.conv_activation:FuseConvActivation",
    "fuse-conv-affine": "transforms.fusion.conv_affine:FuseConvAffine",
    "fuse-conv-batch-norm": "transforms.fusion.conv_batch_norm:FuseConvBatchNorm",
    "fuse-integer-products": "transforms.quantization.static:FuseIntegerProducts",
    "fuse-matmul-add": "transforms.fusion.matmul_add:FuseMatmulAdd",
    "fuse-microsoft-activations": "transforms.fusion.activations:FuseMicrosoftActivations",
    "fuse-microsoft-attention": "transforms.fusion.attention:FuseMicrosoftAttention",
    "fuse-normalization": "transforms.fusion.normalization:FuseNormalization",
    "fuse-pad": "transforms.fusion.pad:FusePad",
    "fuse-recurrent-cells": "transforms.strength.recurrent:FuseRecurrentCells",
    "fuse-skip-norms": "transforms.fusion.transformer:FuseSkipNorms",
    "fuse-transformer-ops": "transforms.fusion.transformer:FuseTransformerOps",
    "gptq-weights": "transforms.quantization.accuracy:GptqWeights",
    "hoist-loop-invariants": "transforms.loops:HoistLoopInvariants",
    "initializers-to-constants": "transforms.constants:InitializersToConstants",
    "inline-functions": "transforms.inlining:InlineFunctions",
    "insert-qdq": "transforms.quantization.static:InsertQdq",
    "keep-blocked-layout": "transforms.layout:KeepBlockedLayout",
    "keep-float-layers": "transforms.quantization.static:KeepFloatLayers",
    "keep-layer-norm": "transforms.fusion.transformer:KeepLayerNorm",
    "legalize-tensorrt": "backends.tensorrt.legalize:LegalizeTensorRt",
    "legalize-onnx": "backends.onnx.legalize:LegalizeOnnx",
    "legalize-onnxruntime": "backends.onnxruntime.legalize:LegalizeOnnxRuntime",
    "merge-linear": "transforms.layout:MergeLinear",
    "pack-parallel-products": "transforms.strength.parallel_products:PackParallelProducts",
    "pack-matmul-nbits": "transforms.quantization.weight_only:PackMatmulNbits",
    "prune-channels": "transforms.pruning.channels:PruneChannels",
    "prune-magnitude": "transforms.pruning.magnitude:PruneMagnitude",
    "prune-n-m": "transforms.pruning.patterns:PruneNM",
    "quantize-dynamic": "transforms.quantization.dynamic:QuantizeDynamic",
    "quantize-weights": "transforms.quantization.weight_only:QuantizeWeights",
    "qdq-to-qoperator": "transforms.quantization.static:QdqToQoperator",
    "raise-opset": "transforms.opset:RaiseOpset",
    "reconstruct-layers": "transforms.pruning.reconstruct:ReconstructLayers",
    "recover-masked": "transforms.pruning.masked:RecoverMasked",
    "reduce-strength": "transforms.strength:ReduceStrength",
    "reestimate-batch-norm": "transforms.pruning.batch_norm:ReestimateBatchNorm",
    "remove-unused-functions": "transforms.dead_code:RemoveUnusedFunctions",
    "remove-unused-opsets": "transforms.opset_imports:RemoveUnusedOpsets",
    "simplify-channels": "transforms.layout:SimplifyChannels",
    "share-shape-values": "transforms.shape_sharing:ShareShapeValues",
    "round-weights": "transforms.quantization.weight_only:RoundWeights",
    "separate-constants": "transforms.pruning.separate:SeparateConstants",
    "set-input-shapes": "transforms.input_shapes:SetInputShapes",
    "simplify-if": "transforms.control_flow:SimplifyIf",
    "simplify-loop": "transforms.control_flow:SimplifyLoop",
    "smooth-activations": "transforms.quantization.accuracy:SmoothActivations",
    "split-outliers": "transforms.quantization.dynamic:SplitOutliers",
    "store-weights": "transforms.stored_weights:StoreWeights",
    "unroll-loops": "transforms.loops:UnrollLoops",
}

_FRONTENDS: Final[Mapping[str, str]] = {
    "onnx": "frontends.onnx:OnnxFrontend",
    "graphsurgeon": "frontends.graphsurgeon:GraphSurgeonFrontend",
}

_BACKENDS: Final[Mapping[str, str]] = {
    "onnx": "backends.onnx.backend:OnnxBackend",
    "onnxruntime": "backends.onnxruntime.backend:OnnxRuntimeBackend",
}

#: Backends whose libraries are optional: place, what is needed, how to install it.
_OPTIONAL_BACKENDS: Final[Mapping[str, tuple[str, tuple[str, ...], str]]] = {
    "tensorrt": (
        "backends.tensorrt.backend:TensorRtBackend",
        ("tensorrt|tensorrt_rtx|tensorrt_rtx_bindings",),
        "pip install graphopt[tensorrt-rtx]",
    ),
}

_TARGETS: Final[Mapping[str, str]] = {
    "onnx": "backends.targets:ONNX",
    "onnxruntime-arm64": "backends.onnxruntime.targets:ARM",
    "onnxruntime-cpu": "backends.onnxruntime.targets:CPU",
    "onnxruntime-cuda": "backends.onnxruntime.targets:CUDA",
    "tensorrt": "backends.targets:TENSORRT",
    "tensorrt-rtx": "backends.targets:TENSORRT_RTX",
}

#: Runtimes that need an optional package, which is the one of the backend of that name.
_OPTIONAL_RUNTIMES: Final[Mapping[str, str]] = {"tensorrt": "runtime.tensorrt.runtime:TensorRtRuntime"}

#: ONNX Runtime runs plain ONNX too: the check of a model for any runtime runs there.
_RUNTIMES: Final[Mapping[str, str]] = {
    "onnx": "runtime.onnxruntime_runtime:OrtRuntime",
    "onnxruntime": "runtime.onnxruntime_runtime:OrtRuntime",
}

_CALIBRATORS: Final[Mapping[str, str]] = {
    "auto": "transforms.quantization.calibrators:Auto",
    "entropy": "transforms.quantization.calibrators:Entropy",
    "min-max": "transforms.quantization.calibrators:MinMax",
    "moving-average": "transforms.quantization.calibrators:MovingAverage",
    "mse": "transforms.quantization.calibrators:MeanSquaredError",
    "percentile": "transforms.quantization.calibrators:Percentile",
}

#: ``O0`` does nothing, ``O1`` what is exact, ``O2`` also what rounds in another order, ``O3`` also operators of the target's own.
_PIPELINES: Final[Mapping[str, str]] = {
    "O0": "",
    "O1": "prepare,exact,tidy",
    "O2": "inline-functions,prepare,exact,recognize,improve,fuse-attention,pack-parallel-products,exact,"
    "keep-blocked-layout,keep-layer-norm,tidy",
    "O3": "inline-functions,prepare,unroll-loops,exact,recognize,spell-out,fuse-microsoft-activations,improve,"
    "fuse-attention,exact,fuse-domain,pack-parallel-products,exact,keep-blocked-layout,keep-layer-norm,decompose-lrn,"
    "fuse-conv-activation,eliminate-dead-code,tidy",
    "prepare": "constants-to-initializers,eliminate-dead-code,deduplicate-constants,hoist-loop-invariants",
    "tidy": "deduplicate-constants,remove-unused-functions,remove-unused-opsets",
    "exact": "fixpoint{max_rounds=8}(fold-shapes,canonicalize,fold-constants,simplify-if,simplify-loop,eliminate-common-subexpressions,"
    "share-shape-values,eliminate-dead-code)",
    "recognize": "fuse-activations,fuse-normalization,fuse-recurrent-cells",
    "spell-out": "decompose-activations{ops=[Swish],lacking=true},decompose-normalization{lacking=true}",
    "fuse": "fixpoint{max_rounds=4}(canonicalize-algebra,reduce-strength,fuse-conv-batch-norm,fuse-conv-affine,fuse-pad,fuse-matmul-add)",
    "improve": "fixpoint{max_rounds=4}(fuse,layout,exact)",
    "fuse-domain": "fuse-microsoft-attention,exact,fuse-transformer-ops,exact",
    "layout": "fixpoint{max_rounds=4}(fuse-affine-conv,fuse-conv-affine,merge-linear,convolve-before-resize,simplify-channels)",
    "quantize-prepare": "inline-functions,prepare,exact,recognize,fuse-microsoft-activations,improve,fuse-attention,"
    "pack-parallel-products,exact,keep-layer-norm,tidy",
    "quantize-static": "raise-opset{to=13,strict=false},quantize-prepare,assign-quantization,round-weights,correct-biases,insert-qdq,"
    "eliminate-dead-code,tidy",
    "quantize-dynamic-int8": "quantize-prepare,quantize-dynamic,eliminate-dead-code,tidy",
    "quantize-weights-int4": "raise-opset{to=21,strict=false},quantize-prepare,quantize-weights{dtype=int4},pack-matmul-nbits,"
    "eliminate-dead-code,tidy",
    "quantize-weights-int8": "raise-opset{to=13,strict=false},quantize-prepare,quantize-weights,pack-matmul-nbits,"
    "eliminate-dead-code,tidy",
}


def _lazy(table: Mapping[str, str], *, make: bool) -> dict[str, Lazy]:
    return {name: Lazy(f"graphopt.{path}", make=make) for name, path in table.items()}


def _optional(table: Mapping[str, str]) -> dict[str, Lazy]:
    """What belongs to backends that need a package."""
    needs = {name: (packages, line) for name, (_, packages, line) in _OPTIONAL_BACKENDS.items()}
    return {
        name: Lazy(f"graphopt.{path}", requires=needs[name][0], install=needs[name][1], make=True)
        for name, path in table.items()
    }


@hookimpl
def graphopt_passes() -> Mapping[str, Lazy]:
    """All passes of graphopt."""
    return _lazy(_PASSES, make=False)


@hookimpl
def graphopt_frontends() -> Mapping[str, Lazy]:
    """Readers of models."""
    return _lazy(_FRONTENDS, make=True)


@hookimpl
def graphopt_backends() -> Mapping[str, Lazy]:
    """Runtimes that models are made for."""
    return _lazy(_BACKENDS, make=True) | _optional({name: path for name, (path, _, _) in _OPTIONAL_BACKENDS.items()})


@hookimpl
def graphopt_lowerings(backend: str) -> Sequence[Converter]:
    """Converters of TensorRT's networks."""
    if backend != "tensorrt":
        return ()
    from graphopt.backends.tensorrt.registry import builtin_converters  # lazily: few models are made for it

    return builtin_converters()


@hookimpl
def graphopt_runtimes() -> Mapping[str, Lazy]:
    """What runs their models."""
    return _lazy(_RUNTIMES, make=True) | _optional(_OPTIONAL_RUNTIMES)


@hookimpl
def graphopt_targets() -> Mapping[str, Lazy]:
    """What models can be made for."""
    return _lazy(_TARGETS, make=False)


@hookimpl
def graphopt_calibrators() -> Mapping[str, Lazy]:
    """Ways to find the range of a tensor."""
    return _lazy(_CALIBRATORS, make=False)


@hookimpl
def graphopt_pipelines() -> Mapping[str, str]:
    """The levels."""
    return _PIPELINES


def builtin_plugins(blocked: Sequence[str] = (), *, discover: bool = True) -> PluginManager:
    """Plugins with the built-in ones among them; installed ones are looked for when something is asked of them.

    Args:
        blocked: names of plugins that are not to be used.
        discover: whether installed plugins are used at all.

    Example:
        >>> "O2" in builtin_plugins(discover=False).passes.pipelines
        True
    """
    plugins = PluginManager(blocked, discover=discover)
    plugins.register(sys.modules[__name__], name=BUILTIN, package=f"graphopt {_version()}")
    return plugins


@cache
def _version() -> str:
    try:
        return metadata.version("graphopt")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
