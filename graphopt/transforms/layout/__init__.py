"""Rewrites for the blocked layout that runtimes run convolutions in: what stands between two of them goes into them, or stays in the layout.

Each was chosen by what ``graphopt profile`` shows: an operator that the layout does not know costs a reorder on either side.
"""

from __future__ import annotations

from graphopt.transforms.layout.affine import FuseAffineConv

__all__ = ["FuseAffineConv"]
