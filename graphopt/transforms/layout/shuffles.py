"""Plain forms of what stands between convolutions.

``Reshape[n, c, ...](Transpose(Reshape[n, g, c / g, ...](x))) -> Gather[axis=1](x, order)`` (a channel shuffle: rows are copied once instead
of elements moved), and ``Sum(a, b) -> Add(a, b)``, which runtimes fuse into the convolution before. Needs types. Numerics: exact. Source:
Zhang et al., ShuffleNet, 2017, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.passes import RewritePass
from graphopt.rewriting import Match, NoMatch, Replacement, Rewriter, Rule, any_, const, op, rewrite
from graphopt.transforms.layout.channels import channel_count

__all__ = ["SimplifyChannels"]


@rewrite(
    op.Reshape(op.Transpose(op.Reshape(any_("x"), const("split"), name="first"), name="transpose"), const("join")),
    min_opset=5,
)
def gather_shuffled_channels(m: Match, rw: Rewriter) -> Replacement:
    """Reshape(Transpose(Reshape(x))) -> Gather(x, order) along the channels."""
    x, split, made = m["x"], m.node("first").output.shape, m.root.output.shape
    channels = channel_count(x)
    if x.shape is None or split is None or made is None or channels is None or len(x.shape) < 3:
        return NoMatch("shapes are not known")
    if len(split) != len(x.shape) + 1 or len(made) != len(x.shape):
        return NoMatch("channels are not split in two")
    if None in x.shape or made != x.shape or (split[0], *split[3:]) != (x.shape[0], *x.shape[2:]):
        return NoMatch("more than channels change: %s, %s, %s", x.shape, split, made)
    groups, each = split[1], split[2]
    if not isinstance(groups, int) or not isinstance(each, int) or groups * each != channels:
        return NoMatch("groups of %s are not known", each)
    if m.node("transpose").ints_attr("perm") != (0, 2, 1, *range(3, len(split))):
        return NoMatch("perm is %s", m.node("transpose").attr("perm"))
    order = np.arange(channels, dtype=np.int64).reshape(groups, each).T.reshape(-1)
    return rw.new("Gather", x, rw.constant(order), axis=1, name=m.root.name)


@rewrite(op.Sum(any_("a"), any_("b")), min_opset=8)
def add_two(m: Match, rw: Rewriter) -> Replacement:
    """Sum(a, b) -> Add(a, b)."""
    return rw.new("Add", m["a"], m["b"], name=m.root.name)


@dataclass(frozen=True)
class SimplifyChannels(RewritePass):
    """Make a Gather of a channel shuffle and Add of a Sum of two. Exact; needs types; idempotent."""

    name: ClassVar[str] = "simplify-channels"
    rules: ClassVar[tuple[Rule, ...]] = (gather_shuffled_channels, add_two)
