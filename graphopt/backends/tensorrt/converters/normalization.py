"""Normalizations. Statistics are computed in float32 where ONNX says so (``stash_type``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.backends.tensorrt.converters.operands import all_of, floats_only
from graphopt.backends.tensorrt.emitter import Emitter
from graphopt.backends.tensorrt.protocols import Tensor
from graphopt.backends.tensorrt.registry import lower
from graphopt.ir import DType, Node

__all__ = [
    "batch_normalization",
    "group_normalization",
    "instance_normalization",
    "layer_normalization",
    "lp_normalization",
    "mean_variance_normalization",
    "normalized",
    "rms_normalization",
]


def _inference(node: Node) -> str | None:
    if node.int_attr("training_mode", 0):
        return "a BatchNormalization that is training"
    used = any(value.is_used or value.is_graph_output for value in node.outputs[1:])
    return "statistics that a BatchNormalization gives are used" if used else None


@lower("BatchNormalization", supports=all_of(floats_only, _inference))
def batch_normalization(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """A scale layer by channel where statistics are constant, else arithmetic."""
    x, epsilon = e.input(node, 0), node.float_attr("epsilon", 1e-5)
    arrays = [e.array(node, place) for place in range(1, 5)]
    rank, rest = e.rank(x), [None for _ in node.outputs[1:]]
    if rank >= 4 and all(item is not None for item in arrays):
        scale, bias, mean, var = (np.asarray(item, np.float64) for item in arrays)
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # a variance that makes no sense gives what it gives elsewhere
            factor = scale / np.sqrt(var + epsilon)
        dtype = e.api.ir_dtype(x.dtype)
        shift, factors = (e.weights(item.astype(dtype.numpy), dtype) for item in (bias - mean * factor, factor))
        power = e.weights(None, dtype)
        mode = e.api.enum("ScaleMode", "CHANNEL")
        return [e.out(e.network.add_scale_nd(x, mode, shift, factors, power, 1)), *rest]  # type: ignore[arg-type]
    axes = range(1, max(rank - 1, 1))
    scale_, bias_, mean_, var_ = (
        e.cast(e.unsqueeze(e.input(node, place), axes) if rank > 2 else e.input(node, place), x.dtype)
        for place in range(1, 5)
    )
    deviation = e.unary(e.elementwise(var_, e.scalar_like(epsilon, var_), "SUM"), "SQRT")
    factor_ = e.elementwise(scale_, deviation, "DIV")
    return [e.elementwise(e.elementwise(e.elementwise(x, mean_, "SUB"), factor_, "PROD"), bias_, "SUM"), *rest]


def normalized(e: Emitter, x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + epsilon), the mean, and one over the deviation."""
    mean = e.reduce(x, "AVG", axes, keep=True)
    centred = e.elementwise(x, mean, "SUB")
    variance = e.reduce(e.elementwise(centred, centred, "PROD"), "AVG", axes, keep=True)
    inverse = e.unary(e.unary(e.elementwise(variance, e.scalar_like(epsilon, variance), "SUM"), "SQRT"), "RECIP")
    return e.elementwise(centred, inverse, "PROD"), mean, inverse


@lower("LayerNormalization", supports=floats_only)
def layer_normalization(e: Emitter, node: Node) -> Sequence[Tensor | None]:
    """A normalization layer; arithmetic where mean and deviation are wanted too."""
    given = e.input(node, 0)
    x = e.cast(given, DType.FLOAT) if node.int_attr("stash_type", 1) == int(DType.FLOAT) else given
    axis = e.axis(node.int_attr("axis", -1), x)
    axes, epsilon = range(axis, e.rank(x)), node.float_attr("epsilon", 1e-5)
    scale = e.with_rank(e.cast(e.input(node, 1), x.dtype), e.rank(x))
    bias = e.optional(node, 2)
    shift = None if bias is None else e.with_rank(e.cast(bias, x.dtype), e.rank(x))
    wanted = [value.is_used or value.is_graph_output for value in node.outputs]
    if not any(wanted[1:]):
        zero = e.elementwise(scale, e.scalar_like(0, scale), "PROD") if shift is None else shift
        found = _layer(e, x, scale, zero, axes, epsilon)
        return [e.cast(found, given.dtype), *(None for _ in wanted[1:])]
    plain, mean, inverse = normalized(e, x, axes, epsilon)
    found = e.elementwise(plain, scale, "PROD")
    if shift is not None:
        found = e.elementwise(found, shift, "SUM")
    return [e.cast(found, given.dtype), mean, inverse][: len(wanted)]


def _layer(
    e: Emitter, x: Tensor, scale: Tensor, bias: Tensor, axes: Sequence[int], epsilon: float, groups: int = 1
) -> Tensor:
    alone = all(x.shape[axis] == 1 for axis in axes)
    if alone and groups == 1:  # the library builds no engine for the statistics of one number
        nothing = e.elementwise(e.elementwise(x, x, "SUB"), scale, "PROD")
        return e.elementwise(nothing, bias, "SUM")
    mask = sum(1 << axis for axis in axes)
    add = e.network.add_normalization_v2 if e.api.has_normalization_v2 else e.network.add_normalization
    layer = e.check(add(x, scale, bias, mask))
    layer.epsilon = epsilon
    if groups != 1:
        layer.num_groups = groups
    return e.out(layer)


@lower("InstanceNormalization", supports=floats_only)
def instance_normalization(e: Emitter, node: Node) -> Sequence[Tensor]:
    """A normalization layer over the spatial axes."""
    x = e.input(node, 0)
    scale, bias = (e.reshape(e.input(node, place), [1, -1, *(1,) * (e.rank(x) - 2)]) for place in (1, 2))
    return [_layer(e, x, scale, bias, range(2, e.rank(x)), node.float_attr("epsilon", 1e-5))]


def _channels_known(node: Node) -> str | None:
    value = node.input_at(0)
    shape = None if value is None else value.shape
    fixed = shape is not None and all(isinstance(size, int) for size in shape[1:])
    return None if fixed else "a GroupNormalization of sizes that are not fixed"


@lower("GroupNormalization", supports=all_of(floats_only, _channels_known))
def group_normalization(e: Emitter, node: Node) -> Sequence[Tensor]:
    """Arithmetic over [N, groups, rest]: scale and bias are by group up to opset 20, by channel afterwards."""
    given, groups = e.input(node, 0), node.int_attr("num_groups")
    x = e.cast(given, DType.FLOAT) if node.int_attr("stash_type", 1) == int(DType.FLOAT) else given
    shape, rank = tuple(x.shape), e.rank(x)
    if -1 in shape[1:]:
        raise e.fail("a GroupNormalization of sizes that are not known")
    split = e.reshape(x, [shape[0], groups, int(np.prod(shape[1:])) // groups])
    plain, _mean, _inverse = normalized(e, split, [2], node.float_attr("epsilon", 1e-5))
    scale, bias = (e.cast(e.input(node, place), x.dtype) for place in (1, 2))
    by_group = (node.opset or 21) < 21
    spread = [1, -1, 1] if by_group else [1, -1, *(1,) * (rank - 2)]
    plain = plain if by_group else e.reshape(plain, shape)
    found = e.elementwise(e.elementwise(plain, e.reshape(scale, spread), "PROD"), e.reshape(bias, spread), "SUM")
    return [e.cast(e.reshape(found, shape) if by_group else found, given.dtype)]


@lower("RMSNormalization", supports=floats_only)
def rms_normalization(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X / sqrt(mean(x^2) + epsilon) * scale."""
    given = e.input(node, 0)
    x = e.cast(given, DType.FLOAT) if node.int_attr("stash_type", 1) == int(DType.FLOAT) else given
    axes = range(e.axis(node.int_attr("axis", -1), x), e.rank(x))
    power = e.reduce(e.elementwise(x, x, "PROD"), "AVG", axes, keep=True)
    inverse = e.unary(
        e.unary(e.elementwise(power, e.scalar_like(node.float_attr("epsilon", 1e-5), power), "SUM"), "SQRT"), "RECIP"
    )
    found = e.cast(e.elementwise(x, inverse, "PROD"), given.dtype)
    return [e.elementwise(found, e.input(node, 1), "PROD")]


@lower("MeanVarianceNormalization", supports=floats_only)
def mean_variance_normalization(e: Emitter, node: Node) -> Sequence[Tensor]:
    """(x - mean) / (deviation + 1e-9)."""
    x, axes = e.input(node, 0), node.ints_attr("axes") or (0, 2, 3)
    centred = e.elementwise(x, e.reduce(x, "AVG", axes, keep=True), "SUB")
    deviation = e.unary(e.reduce(e.elementwise(centred, centred, "PROD"), "AVG", axes, keep=True), "SQRT")
    return [e.elementwise(centred, e.elementwise(deviation, e.scalar_like(1e-9, deviation), "SUM"), "DIV")]


@lower("LpNormalization", supports=floats_only)
def lp_normalization(e: Emitter, node: Node) -> Sequence[Tensor]:
    """X over its norm along an axis; where the norm is zero, zero."""
    x, axis = e.input(node, 0), node.int_attr("axis", -1)
    if node.int_attr("p", 2) == 1:
        norm = e.reduce(e.unary(x, "ABS"), "SUM", [axis], keep=True)
    else:
        norm = e.unary(e.reduce(e.elementwise(x, x, "PROD"), "SUM", [axis], keep=True), "SQRT")
    zero = e.elementwise(norm, e.scalar_like(0, norm), "EQUAL")
    return [e.elementwise(x, e.select(zero, e.scalar_like(1, norm), norm), "DIV")]
