"""The role functions of all families in one table, keyed by operator as :attr:`graphopt.ir.Node.op` spells it."""

from __future__ import annotations

from collections.abc import Mapping

from graphopt.analysis.dim_groups import (
    attending,
    attending_microsoft,
    control_flow,
    elementwise,
    joining,
    matrices,
    movement,
    normalizing,
    quantized,
    recurrent,
    reducing,
    windows,
)
from graphopt.analysis.dim_groups.following import RoleFunction

__all__ = ["ROLE_FUNCTIONS"]

_FAMILIES = (
    attending, attending_microsoft, control_flow, elementwise, joining, matrices, movement, normalizing, quantized, recurrent, reducing,
    windows,
)  # fmt: skip


def _merged() -> dict[str, RoleFunction]:
    table: dict[str, RoleFunction] = {}
    for family in _FAMILIES:
        twice = table.keys() & family.FUNCTIONS.keys()
        assert not twice, f"two role functions for {sorted(twice)}"
        table |= family.FUNCTIONS
    return table


ROLE_FUNCTIONS: Mapping[str, RoleFunction] = _merged()
