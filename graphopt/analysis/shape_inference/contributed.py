"""ONNX Runtime's own fused operators (domain ``com.microsoft``) that no other family has."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, same_as_first, shape_at, tensor
from graphopt.analysis.shape_inference.matrices import multiplied
from graphopt.ir import DType, Node, Shape, TensorType, Type

__all__ = ["FUNCTIONS"]


def _swapped(node: Node, shape: Shape | None, attribute: str) -> Shape | None:
    stated = node.attributes.get(attribute)
    if shape is None or stated is None or not stated.value:
        return shape
    return None if len(shape) < 2 else (*shape[:-2], shape[-1], shape[-2])


def _fused_matmul(node: Node, facts: Facts) -> Sequence[Type | None]:
    dtype = dtype_at(node, 0)
    batched = [node.attributes.get(name) for name in ("transBatchA", "transBatchB")]
    if any(item is not None and item.value for item in batched):
        return (tensor(dtype, None),)
    a = _swapped(node, shape_at(node, facts, 0), "transA")
    b = _swapped(node, shape_at(node, facts, 1), "transB")
    return (tensor(dtype, multiplied(a, b)),)


def _fused_gemm(node: Node, facts: Facts) -> Sequence[Type | None]:
    a = _swapped(node, shape_at(node, facts, 0), "transA")
    b = _swapped(node, shape_at(node, facts, 1), "transB")
    rows = a[0] if a is not None and len(a) == 2 else None
    return (tensor(dtype_at(node, 0), (rows, b[1] if b is not None and len(b) == 2 else None)),)


def _bias_split_gelu(node: Node, facts: Facts) -> Sequence[Type | None]:
    shape = shape_at(node, facts, 0)
    half = None if not shape or shape[-1] is None else shape[-1] // 2
    return (tensor(dtype_at(node, 0), None if not shape else (*shape[:-1], half)),)


def _bias_dropout(node: Node, facts: Facts) -> Sequence[Type | None]:
    first = same_as_first(node, facts)[0]
    return (first, TensorType(DType.BOOL, shape_at(node, facts, 0)))[: len(node.outputs)]


def _skip_group_norm(node: Node, facts: Facts) -> Sequence[Type | None]:
    first = same_as_first(node, facts)[0]
    return (first, first)[: len(node.outputs)]


_SAME = (
    "BiasAdd", "BiasGelu", "BiasSoftmax", "FastGelu", "Gelu", "GroupNorm", "QuickGelu", "Inverse", "Trilu",
)  # fmt: skip

FUNCTIONS: dict[str, ShapeFunction] = {
    **{f"com.microsoft::{name}": same_as_first for name in _SAME},
    **dict.fromkeys(("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul"), _fused_matmul),
    "com.microsoft::FusedGemm": _fused_gemm,
    "com.microsoft::BiasSplitGelu": _bias_split_gelu,
    "com.microsoft::BiasDropout": _bias_dropout,
    "com.microsoft::SkipGroupNorm": _skip_group_norm,
}
