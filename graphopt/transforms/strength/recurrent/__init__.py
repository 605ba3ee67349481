"""Packs recurrent cells that are spelled out step by step into one LSTM or GRU.

One pass, ``fuse-recurrent-cells``. Frameworks unroll cells into products, gates and arithmetic for each step; ``affine`` reads the sums
that gates are made of, ``cells`` one step, ``chains`` steps of the same cell one after the other, and ``packing`` puts the operator there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import msgspec

from graphopt.ir import Node
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import RewritePass
from graphopt.rewriting import NoMatch, Replacement, RewritePattern, Rewriter, Rule
from graphopt.transforms.strength.recurrent.chains import chain_to, read_cell
from graphopt.transforms.strength.recurrent.packing import pack, plan_of

__all__ = ["FuseRecurrentCells", "PackRecurrentCells"]


@dataclass(frozen=True)
class PackRecurrentCells(RewritePattern):
    """Steps of Mul(Sigmoid(o), Tanh(f * c + i * g)) -> LSTM, steps of (1 - z) * n + z * h -> GRU, with the same weights in each.

    Attributes:
        min_steps: fewer steps stay.
        assume_filled: whether a batch of unknown size is taken to have an element.
    """

    name: ClassVar[str] = "pack-recurrent-cells"
    roots: ClassVar[tuple[str, ...]] = ("Mul", "Add")
    numerics: ClassVar[Numerics] = Reassociates()
    reach: ClassVar[int] = 6
    min_steps: int = 2
    assume_filled: bool = False

    def match_and_rewrite(self, node: Node, rw: Rewriter) -> Replacement:
        """The last step packs all before it."""
        cell = read_cell(node)
        if cell is None:
            return NoMatch("it gives no hidden state")
        if (node.opset or 0) < 7:
            return NoMatch("opset %s broadcasts otherwise", node.opset)
        chain = chain_to(cell)
        if isinstance(chain, NoMatch):
            return chain
        if len(chain.steps) < self.min_steps:
            return NoMatch("%d steps, expected %d", len(chain.steps), self.min_steps)
        plan = plan_of(chain, node, is_filled=self.assume_filled)
        return plan if isinstance(plan, NoMatch) else pack(plan, node, rw)


@dataclass(frozen=True)
class FuseRecurrentCells(RewritePass):
    """Pack LSTM and GRU cells that are spelled out step by step into one operator. Touches weights; re-associates; needs types; idempotent.

    Attributes:
        min_steps: chains of fewer steps stay.
        assume_filled: whether a batch of unknown size is taken to have an element; ONNX Runtime's kernels end the process without one.
    """

    name: ClassVar[str] = "fuse-recurrent-cells"
    rules: ClassVar[tuple[Rule, ...]] = (PackRecurrentCells(),)
    min_steps: Annotated[int, msgspec.Meta(ge=1)] = 2
    assume_filled: bool = False

    def active_rules(self) -> tuple[Rule, ...]:
        """The rule with the options of the pass."""
        return tuple(
            replace(rule, min_steps=self.min_steps, assume_filled=self.assume_filled)
            if isinstance(rule, PackRecurrentCells)
            else rule
            for rule in self.rules
        )
