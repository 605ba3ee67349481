"""Sizes of inputs that nobody fixed, of models that become an engine for one set of sizes."""

from __future__ import annotations

from graphopt.errors import ExecutionError
from graphopt.ir import Model, SymbolicDim, TensorType

__all__ = ["refuse_open_sizes"]


def refuse_open_sizes(model: Model, what: str, option: str, otherwise: str) -> None:
    """See that all sizes of inputs are fixed.

    Args:
        model: it.
        what: says for what they must be.
        option: that states a size, ``"--dim"``.
        otherwise: what can be done instead.

    Raises:
        ExecutionError: naming the first input with another size, and the option that states it.
    """
    for value in model.graph.inputs:
        shape = value.type.shape if isinstance(value.type, TensorType) else None
        lacking = [str(size) for size in shape or () if isinstance(size, SymbolicDim)]
        if value.is_constant or (not lacking and None not in (shape or ())):
            continue
        stated = " ".join(f"{option} {name}=SIZE" for name in lacking)
        raise ExecutionError(
            f"{what}, and input {value.name!r} is {value.type}; state its sizes: {f'{stated}, or ' if stated else ''}{otherwise}"
        )
