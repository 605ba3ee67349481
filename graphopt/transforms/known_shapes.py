"""What is known of sizes and small integers while a pass of rules runs: worked out once for all rules, kept in the rewriter's memo."""

from __future__ import annotations

from typing import Final, cast

from graphopt.analysis import ShapeValues
from graphopt.rewriting import Rewriter

__all__ = ["shape_values"]

_MEMO: Final = "shape-values"


def shape_values(rw: Rewriter) -> ShapeValues:
    """The answers of this run, those that better types may improve worked out again."""
    kept = rw.memo.get(_MEMO)
    if kept is None:
        kept = rw.memo[_MEMO] = ShapeValues()
    return cast(ShapeValues, kept).at(rw.type_epoch)
