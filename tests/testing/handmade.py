"""Models for rules whose graphs hang together by their shapes, so that nodes drawn one by one hardly ever come out that way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np
from onnx import ModelProto

from graphopt.rewriting import Rule
from graphopt.testing import GeneratedModel
from graphopt.testing.strategies.choices import Choices, SeededChoices
from graphopt.testing.strategies.editing import edited
from graphopt.testing.strategies.rules import applications_of
from tests.testing import (
    handmade_algebra,
    handmade_attention,
    handmade_blocks,
    handmade_caches,
    handmade_embeddings,
    handmade_filters,
    handmade_heads,
    handmade_indices,
    handmade_integers,
    handmade_made,
    handmade_middle,
    handmade_products,
    handmade_recurrent,
    handmade_spelled,
    handmade_stored,
    handmade_strength,
    handmade_weights,
)
from tests.testing.handmade_sequences import concat_from_sequence, optional, sequence_at, sequence_length
from tests.transforms.harness import model

__all__ = ["HAND_MADE", "made_by_hand"]

SIZES = {"n": 2, "b": 2, "s": 3, "l": 5, "p": 4}


def _normal(choices: Choices, *shape: int) -> np.ndarray:
    return np.random.default_rng(choices.integer(0, 1 << 30)).normal(size=shape).astype(np.float32)


def _shuffle(choices: Choices) -> ModelProto:
    groups, each, height = (choices.of((2, 3, 1)) for _ in range(3))
    batch, channels = choices.of((0, 2, 1)), groups * each
    split, join = [batch, groups, each, height, 2], [batch, channels, height, 2]
    if choices.chance(0.5):
        split[4] = -1
    first = choices.of(("x", "h"))
    return model(
        f"h = Neg(x) a = Reshape({first}, split) b = Transpose<perm = [0, 2, 1, 3, 4]>(a) c = Reshape(b, join) y = Neg(c)",
        f"float[{batch or 'n'},{channels},{height},2] x",
        opset=choices.of((8, 11, 13, 17, 21)),
        initializers={"split": np.array(split), "join": np.array(join)},
    )


def _projection(choices: Choices) -> ModelProto:
    batch, height, width, middle = choices.of((1, 2)), choices.of((1, 2, 3)), choices.of((2, 1)), choices.of((3, 4))
    inner, outer = choices.of((1, 2)), choices.of((1, 2, 3))
    bias = choices.chance(0.5)
    constants = {
        "w": _normal(choices, inner, middle),
        "k": _normal(choices, *choices.of(((middle,), (1, middle)))),
        "v": _normal(choices, outer, middle, 1, 1),
        "s": np.array([batch, choices.of((middle, -1)), height, width]),
        **({"e": _normal(choices, outer)} if bias else {}),
    }
    added = "b = Add(a, k)" if choices.chance(0.5) else "b = Add(k, a)"
    return model(
        f"a = MatMul(x, w) {added} c = Transpose<perm = [0, 2, 1]>(b) d = Reshape(c, s) y = Conv(d, v{', e' if bias else ''})",
        f"float[{batch},{height * width},{inner}] x",
        opset=choices.of((8, 11, 13, 17, 21)),
        initializers=constants,
    )


def _enlarged(choices: Choices) -> ModelProto:
    height, width = choices.of((1, 2, 3)), choices.of((2, 4))
    counts, outer = [choices.of((3, 4)), choices.of((2, 3))], choices.of((2, 1))
    mode = choices.of(("linear", "nearest"))
    how = choices.of(("half_pixel", "asymmetric", "align_corners"))
    constants = {
        "v": _normal(choices, outer, sum(counts), 1, 1),
        "e": _normal(choices, outer),
        "z": np.array([1, 1, 2, 2], np.float32),
        "r": np.zeros(0, np.float32),
    }
    second = f'Resize<mode = "{mode}">(u, r, z)' if choices.chance(0.5) else "Neg(u)"
    size = f"{height},{width}" if "Resize" in second else f"{2 * height},{2 * width}"
    batch = choices.of(("n", "2"))
    return model(
        f'a = Resize<mode = "{mode}", coordinate_transformation_mode = "{how}">(x, r, z) b = {second} '
        f"c = Concat<axis = 1>({'a, b' if choices.chance(0.5) else 'b, a'}) y = Conv(c, v{choices.of((', e', ''))})",
        f"float[{batch},{counts[0]},{height},{width}] x, float[{batch},{counts[1]},{size}] u",
        opset=choices.of((11, 13, 17)),
        initializers=constants,
    )


#: What makes a model for a rule, by the rule's name.
HAND_MADE: dict[str, Callable[[Choices], ModelProto]] = {
    "average-instead-of-conv": handmade_filters.averaging,
    "add-bias-to-nbits": handmade_weights.biased_nbits,
    "fold-uniform-affine": handmade_made.scaled_norm,
    "fold-uniform-batch-norm": handmade_made.made_convolution,
    "store-table": handmade_weights.looked_up_table,
    "quantize-attention": handmade_weights.projected_attention,
    "convolve-before-concat": _enlarged,
    "divide-by-root": handmade_strength.inverse_root,
    "depth-to-space-from-reshapes": handmade_blocks.pixel_shuffle,
    "eliminate-identity-conv": handmade_filters.picking,
    "gather-rearranged-parts": handmade_blocks.rolled,
    "space-to-depth-from-slices": handmade_blocks.strided_slices,
    "multiply-in-better-order": handmade_products.three_factors,
    "split-moved-heads": handmade_heads.heads_moved_apart,
    "split-packed-heads": handmade_heads.heads_moved_together,
    "fuse-embed-layer-norm": handmade_embeddings.embeddings,
    "drop-mask-of-nothing": handmade_caches.mask_of_nothing,
    "drop-softmax-guard": handmade_attention.spelled_attention,
    "give-attention-cache": handmade_caches.cached_attention,
    "give-multi-head-attention-cache": handmade_caches.cached_multi_head,
    "resolve-true-where": handmade_caches.true_mask,
    "rotate-joined-heads": handmade_caches.rotated_heads,
    "use-group-query-attention": handmade_caches.shared_heads,
    "join-attention-heads": handmade_attention.split_attention,
    "gather-repeated-heads": handmade_attention.grouped_attention,
    "share-attention-heads": handmade_attention.grouped_attention,
    "spell-out-attention": handmade_attention.standard_attention,
    "use-matmul-integer-to-float": handmade_integers.float_product,
    "decode-constant": handmade_stored.stored_constant,
    "decode-scaled-integers": handmade_stored.scaled_integers,
    "dequantize-earlier": handmade_stored.moved,
    "dequantize-later": handmade_stored.moved,
    "drop-islands": handmade_stored.island,
    "drop-requantization": handmade_stored.pair_after_pair,
    "drop-round-trip": handmade_stored.round_trip,
    "spell-out-dynamic-lstm": handmade_stored.dynamic_lstm,
    "spell-out-dynamic-product": handmade_stored.dynamic_product,
    "spell-out-dynamic-quantize": handmade_spelled.dynamic_quantize,
    "spell-out-integer-conv": handmade_spelled.integer_conv,
    "spell-out-integer-matmul": handmade_spelled.integer_matmul,
    "spell-out-integer-operator": handmade_stored.integer_operator,
    "spell-out-integer-product": handmade_stored.integer_product,
    "spell-out-nbits": handmade_spelled.packed_product,
    "spell-out-stored-concat": handmade_spelled.stored_concat,
    "spell-out-stored-operator": handmade_spelled.stored_operator,
    "spell-out-stored-product": handmade_stored.integer_product,
    "use-qgemm": handmade_integers.between("Gemm"),
    "use-qlinear-add": handmade_integers.between("Add"),
    "use-qlinear-conv": handmade_integers.between("Conv"),
    "use-qlinear-matmul": handmade_integers.between("MatMul"),
    "use-qlinear-mul": handmade_integers.between("Mul"),
    "use-attention": handmade_attention.spelled_standard_attention,
    "use-multi-head-attention": handmade_attention.spelled_attention,
    "split-packed-factors": handmade_attention.packed_attention,
    "use-rotary-embedding": handmade_attention.rotary_embedding,
    "gather-each-element": handmade_indices.each_element,
    "gather-each-position": handmade_indices.each_position,
    "gather-shuffled-channels": _shuffle,
    "look-up-one-hot": handmade_blocks.one_hot,
    "join-parts-of-split": handmade_algebra.joined_parts,
    "merge-matmul-and-conv": _projection,
    "multiply-the-other-way": handmade_algebra.turned_product,
    "pack-recurrent-cells": handmade_recurrent.cells,
    "reduce-before-transpose": handmade_algebra.reduced_transpose,
    "slice-instead-of-gather": handmade_algebra.neighbours,
    "slice-instead-of-split": handmade_algebra.one_part,
    "pool-instead-of-mean": handmade_filters.mean_of_image,
    "compute-before-split": handmade_algebra.parts_alike,
    "compute-function-before-split": handmade_algebra.parts_alike,
    "gather-of-part": handmade_algebra.looked_up_parts,
    "resolve-concat-from-sequence": concat_from_sequence,
    "resolve-optional": optional,
    "resolve-sequence-at": sequence_at,
    "resolve-sequence-length": sequence_length,
    "add-weights": handmade_strength.added_weights,
    "compute-in-table": handmade_strength.table,
    "join-convolutions": handmade_strength.joined_convs,
    "multiply-instead-of-convolve": handmade_strength.pointwise_convs,
    "multiply-once": handmade_strength.shared_factor,
    "sum-convolutions": handmade_strength.summed_convs,
    "keep-float-conv": handmade_middle.float_conv,
    "keep-float-gemm": handmade_middle.float_gemm,
    "store-recurrent-weights": handmade_weights.recurrent,
    "shift-quantized-pair": handmade_middle.middle_pair,
    "shift-quantized-weights": handmade_middle.middle_weights,
    "use-softmax": handmade_strength.spelled_softmax,
}


def _feeds(choices: Choices, proto: ModelProto) -> dict[str, np.ndarray]:
    known = {item.name for item in proto.graph.initializer}
    found = {}
    for info in proto.graph.input:
        if info.name not in known:
            dims = info.type.tensor_type.shape.dim
            found[info.name] = _normal(
                choices, *(SIZES[dim.dim_param] if dim.dim_param else dim.dim_value for dim in dims)
            )
    return found


def _made(rule: Rule, choices: Choices) -> GeneratedModel:
    proto = HAND_MADE[rule.name](choices)
    roots = {root.rpartition("::")[2] for root in rule.roots}
    outputs = tuple(node.output[0] for node in proto.graph.node if node.op_type in roots)
    return GeneratedModel(proto, tuple(_feeds(choices, proto) for _ in range(2)), sites=outputs[-1:])


def _matching(rule: Rule) -> Iterator[GeneratedModel]:
    for seed in count():
        made = _made(rule, SeededChoices(seed))
        if applications_of(rule, made.ir):
            yield made


def _refused(rule: Rule, most: int) -> Iterator[GeneratedModel]:
    """Models that are made by mistake: the rule applies to none of them."""
    for seed in range(most):
        choices = SeededChoices(seed)
        made = _made(rule, choices)
        if not applications_of(rule, made.ir):
            yield made


def _near_misses(rule: Rule, each: int) -> Iterator[GeneratedModel]:
    yield from _refused(rule, each)
    for seed, base in enumerate(_matching(rule)):
        found = edited(SeededChoices(seed), base, rule.reach)
        if found is not None:
            yield found


def made_by_hand(rule: Rule, each: int) -> list[GeneratedModel]:
    """So many models to which a rule applies, and as many to which it nearly does."""
    return [*islice(_matching(rule), each), *islice(_near_misses(rule, each), each)]
