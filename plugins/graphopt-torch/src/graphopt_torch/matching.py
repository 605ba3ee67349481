"""Finds the parameter of each weight: by name and numbers, by numbers alone, through BatchNormalizations and gates of recurrent layers.

A name alone is not believed: the exporters keep the name of a convolution whose BatchNormalization they folded, and then it holds other
numbers. So match a model with the parameters that it was exported from, before anything is trained on; names are all that is needed later.
"""

import os

import numpy as np

import graphopt
from graphopt.ir import DType
from graphopt.passes import PruningPlan
from graphopt_torch.arrangement import Arrangement, arrangements
from graphopt_torch.folding import find_norm, norms_of
from graphopt_torch.names import Source, WeightNames
from graphopt_torch.recurrent import stacks_of
from graphopt_torch.weights import weights_of

__all__ = ["match_weights"]

#: Relative difference that folding in another order of rounding may leave.
_TOLERANCE = 1e-4


def match_weights(model, state, plan=None):
    """Find the parameter of each weight.

    Args:
        model: what :func:`graphopt.lift` takes: the model as it was exported.
        state: arrays by name of the parameter, as :func:`graphopt_torch.state_of` gives them: those that the model was exported from.
        plan: of a pruned model, or its path; then the weights are those of the model that the plan is for.

    Returns:
        The names, with what is left over on both sides.
    """
    found = PruningPlan.load(plan) if isinstance(plan, str | os.PathLike) else plan
    prepare = found.prepare if found is not None else ""
    lifted = graphopt.optimize(model, pipeline=prepare, check=False).model if prepare else graphopt.lift(model)
    matcher = _Matcher(weights_of(lifted), state)
    matcher.by_name()
    matcher.by_numbers()
    matcher.by_folding()
    matcher.by_stacking()
    return matcher.names(prepare)


class _Matcher:
    """One match: what is found so far."""

    def __init__(self, weights, state):
        self.weights = weights
        self.state = {name: np.asarray(array) for name, array in state.items()}
        self.sources = {}
        self.taken = set()
        self.reasons = {}

    def left(self):
        """Weights of floats that are no parameter yet."""
        return {name: array for name, array in self.weights.items() if name not in self.sources}

    def take(self, name, source):
        """Note what a weight is."""
        self.sources[name] = source
        self.taken.update(source.parameters)

    def by_name(self):
        """The same name, or one that ends with the other after a dot, and the same numbers."""
        for name, weight in self.left().items():
            ends = [other for other in self.state if name.endswith(f".{other}") or other.endswith(f".{name}")]
            for other in [name] if name in self.state else ends:
                arrangement = _same(weight, self.state[other])
                if arrangement is not None:
                    self.take(name, Source(other, arrangement))
                    break

    def by_numbers(self):
        """The same numbers as one parameter that no other weight is; several would be a guess. A matrix may be one that is taken: tied."""
        for name, weight in self.left().items():
            alike = {
                other: arrangement
                for other, array in self.state.items()
                if (arrangement := _same(weight, array)) is not None
            }
            found = {other: arrangement for other, arrangement in alike.items() if other not in self.taken}
            if not found and weight.ndim > 1 and weight.min(initial=np.inf) < weight.max(initial=-np.inf):
                found = alike
            if len(found) == 1:
                ((other, arrangement),) = found.items()
                self.take(name, Source(other, arrangement))
            elif found:
                listed = ", ".join(list(found)[:4])
                self.reasons[name] = f"{len(found)} parameters hold its numbers ({listed})"

    def by_folding(self):
        """A parameter times the scales of a BatchNormalization; and then the bias of that."""
        free = [prefix for prefix in norms_of(self.state) if prefix + "weight" not in self.taken]
        for name, weight in self.left().items():
            if weight.ndim < 2 or name in self.reasons:
                continue
            others = [
                other
                for other, array in self.state.items()
                if other not in self.taken and array.shape == weight.shape and array.dtype == weight.dtype
            ]
            for other in sorted(others, key=lambda other: other != name):
                norm = find_norm(weight, self.state[other], self.state, free)
                if norm is not None:
                    free.remove(norm.prefix)
                    self.take(name, Source(other, _plain(weight), norm))
                    self._take_bias(name, other, norm)
                    break

    def _take_bias(self, weight, parameter, norm):
        stated = parameter.removesuffix("weight") + "bias"
        stated = stated if stated != parameter and stated in self.state else ""
        expected = norm.folded_bias(self.state, self.state[stated] if stated else 0.0)
        limit = _TOLERANCE * max(1.0, float(np.max(np.abs(expected), initial=0)))
        for name, array in self.left().items():
            if array.shape == expected.shape and np.all(np.abs(array - expected) <= limit):
                self.take(name, Source(stated, _plain(array), norm, is_bias=True))
                return
        self.taken.difference_update(self.sources.pop(weight).parameters)
        self.reasons[weight] = f"{norm.prefix[:-1]!r} is folded into it, but no bias came of that"

    def by_stacking(self):
        """Gates of recurrent layers, in the order of ONNX."""
        for stack in stacks_of(self.state):
            made = stack.weight([self.state[name] for name in stack.names])
            for name, weight in self.left().items():
                if weight.dtype == made.dtype and np.array_equal(weight, made):
                    self.reasons.pop(name, None)
                    self.take(name, Source("", _plain(weight), stack=stack))
                    break

    def names(self, prepare):
        """All that was found."""
        unmatched = {name: self.reasons.get(name, "no parameter holds its numbers") for name in self.left()}
        floats = {name for name, array in self.state.items() if DType.from_numpy(array.dtype).is_float}
        unused = tuple(name for name in self.state if name in floats and name not in self.taken)
        counters = tuple(name for name in self.state if name not in floats)
        return WeightNames(self.sources, unmatched, unused, counters, prepare)


def _plain(array):
    return Arrangement(tuple(range(array.ndim)), array.ndim)


def _same(weight, array):
    """How an array is a weight, ``None`` if it is another one."""
    if weight.dtype != array.dtype:
        return None
    for arrangement in arrangements(weight.shape, array.shape):
        if np.array_equal(weight, arrangement.weight(array)):
            return arrangement
    return None
