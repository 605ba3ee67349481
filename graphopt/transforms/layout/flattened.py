"""Folds a BatchNormalization into the product before it, where a Flatten or Reshape to a matrix stands between the two.

``BatchNormalization(Flatten(MatMul(x, w))) -> Gemm(Flatten(x), w * k, t)``: the last axis of the product is the channel axis of the matrix,
so factor and term of the normalization are one number for each column. Touches weights; needs types. Numerics: re-associates. Source:
Graham et al., LeViT, 2021, which normalizes behind each projection.
"""

from __future__ import annotations

from graphopt.ir import Node
from graphopt.rewriting import Match, NoMatch, Reassociates, Replacement, Rewriter, any_, const, op, rest, rewrite
from graphopt.transforms.fusion.linear import add_to_bias, is_dequantized, read_linear, scale_channels
from graphopt.transforms.layout.channels import FLOATS, norm_as_affine

__all__ = ["fold_batch_norm_into_flattened_product"]


def _keeps_columns(flat: Node, rank: int, columns: int) -> bool:
    """Whether the node makes a matrix of a tensor, with the same last axis."""
    if flat.op == "Flatten":
        return flat.int_attr("axis", 1) in (rank - 1, -1)
    shape = flat.output.shape
    return shape is not None and len(shape) == 2 and shape[1] == columns


@rewrite(
    op.BatchNormalization(
        op["Flatten", "Reshape"](op.MatMul(any_("x"), const("w"), name="product"), rest("how"), name="flat"),
        const("scale"),
        const("bias"),
        const("mean"),
        const("var"),
        name="norm",
    ),
    numerics=Reassociates(),
    min_opset=7,
)
def fold_batch_norm_into_flattened_product(m: Match, rw: Rewriter) -> Replacement:
    """BatchNormalization(Flatten(MatMul(x, w))) -> Gemm(Flatten(x), w', b')."""
    x, flat, linear = m["x"], m.node("flat"), read_linear(m.node("product"), scaled=True)
    if isinstance(linear, NoMatch):
        return linear
    shape = x.shape
    if shape is None or len(shape) < 2 or x.dtype not in FLOATS or is_dequantized(x):
        return NoMatch("%s is no float tensor of a known rank", x.type)
    if not _keeps_columns(flat, len(shape), linear.channels):
        return NoMatch("%s does not keep the last axis", flat.op)
    affine = norm_as_affine(m.root, [m[name] for name in ("scale", "bias", "mean", "var")], linear.channels)
    if isinstance(affine, NoMatch):
        return affine
    scaled = scale_channels(linear, affine[0])
    if isinstance(scaled, NoMatch):
        return scaled
    folded = add_to_bias(scaled, affine[1])
    if isinstance(folded, NoMatch):
        return folded
    matrix = x if len(shape) == 2 else rw.new("Flatten", x, axis=len(shape) - 1, name=flat.name)
    made = folded.rebuild(rw)
    assert made.producer is not None, "it was made just now"
    made.producer.replace_input(0, matrix)
    return made
