"""Whether a pruned model is what it says: zeros that a recovery kept, patterns that hold, sizes that were promised."""

from __future__ import annotations

from typing import Final

import numpy as np

from graphopt.compiler.pruning.amounts import Amount
from graphopt.compiler.pruning.trials import Trial, Trials
from graphopt.compiler.pruning.units import Prunable
from graphopt.errors import VerificationError
from graphopt.ir import constant_of
from graphopt.passes import weight_names
from graphopt.transforms.pruning.patterns import n_m_layers

__all__ = ["check_promises"]

#: Dynamic sizes are other ones when the pass counts operations.
_CLOSE: Final = 1.02


def check_promises(trials: Trials, amount: Amount, units: Prunable, pruned: Trial, result: Trial) -> list[str]:
    """See that a result is what it says; gives what people should know.

    Args:
        trials: count.
        amount: what went, as it was stated.
        units: what can be pruned.
        pruned: the model before it was recovered.
        result: the model afterwards.

    Raises:
        VerificationError: if zeros are gone again, or a layer does not follow the pattern.
    """
    assert result.model is not None, "what failed is not checked"
    before, after = trials.size(pruned), trials.size(result)
    for value, name in weight_names(result.model.graph).items():
        mask, constant = result.log.masks.get(name), constant_of(value)
        if mask is not None and constant is not None and np.any(constant.numpy()[~mask]):
            raise VerificationError(f"weight {name!r} has numbers where zeros were promised; nothing was written")
    if after.flops > before.flops or after.weights > before.weights:
        raise VerificationError("the recovered model is larger than it was pruned; nothing was written")
    if amount.measure == "n:m":
        wanted = {name for unit in units.units for name in unit.weights}
        for node, follows in n_m_layers(result.model.graph, amount.n, amount.m):
            weight = node.input_at(1)
            if not follows and weight is not None and weight.name in wanted and _is_cut(result, weight.name):
                raise VerificationError(
                    f"node {node.name or node.outputs[0].name!r}: its weights do not follow {amount.n}:{amount.m}; nothing was written"
                )
    whole = trials.whole
    if amount.measure == "flops" and after.flops > amount.value * whole.flops * _CLOSE:
        note = (
            f"{after.flops / whole.flops:.0%} of the operations are left with inputs of the sizes that were given, more than the "
            f"{amount.value:.0%} that were asked for: sizes that the model leaves open are taken to be others when the pass counts"
        )
        return [note]
    return []


def _is_cut(result: Trial, weight: str) -> bool:
    """Whether the pass zeroed a part of a weight."""
    return weight in result.log.masks
