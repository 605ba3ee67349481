"""Which parameter each weight of an ONNX model is: by name and numbers, then by numbers alone, then by numbers behind a BatchNormalization.

A name alone is not believed: the exporters keep the name of a convolution whose BatchNormalization they folded, and then it holds other
numbers. So match a model with the parameters that it was exported from, before anything is trained on; names are all that is needed later.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

import graphopt
from graphopt.errors import ModelError
from graphopt.ir import DType
from graphopt.passes import PruningPlan
from graphopt_torch.arrangement import Arrangement, arrangements
from graphopt_torch.files import write_whole
from graphopt_torch.folding import Norm, find_norm, norms_of
from graphopt_torch.recurrent import Stack, stacks_of
from graphopt_torch.weights import weights_of

__all__ = ["Source", "WeightNames", "match_weights"]

_FORMAT = 1
#: Relative difference that folding in another order of rounding may leave.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Source:
    """Where a weight comes from.

    Attributes:
        parameter: name of the parameter; ``""`` for a bias that a layer without one got from its BatchNormalization.
        arrangement: how its axes are those of the parameter.
        norm: the BatchNormalization that was folded into it.
        is_bias: whether it is the bias that came of folding.
        stack: the parameters of a recurrent layer that make it, in place of ``parameter``.
    """

    parameter: str
    arrangement: Arrangement
    norm: Norm | None = None
    is_bias: bool = False
    stack: Stack | None = None

    @property
    def parameters(self):
        """All parameters that it is made of."""
        own = (self.parameter,) if self.parameter else ()
        return (
            own
            + (self.norm.names if self.norm is not None else ())
            + (self.stack.names if self.stack is not None else ())
        )

    def cuts(self, axis, kept):
        """Each parameter that loses indices when an axis of the weight does, with its axis and what is kept of it."""
        if self.stack is not None:
            return self.stack.cuts(axis, kept)
        place = self.arrangement.axes[axis]
        found = [(self.parameter, place, kept)] if self.parameter and place >= 0 else []
        if self.norm is not None and axis == 0:
            found += [(name, 0, kept) for name in self.norm.names]
        return found


@dataclass(frozen=True)
class WeightNames:
    """The parameters that the weights of a model are.

    Attributes:
        sources: by name of the weight.
        unmatched: weights that are no parameter, with the reason; constants of the model's own are among them.
        unused: parameters of floats that no weight is.
        counters: what the module holds beside floats, such as numbers of batches.
        prepare: pipeline that the model went through before; the weights are those of the result.
    """

    sources: Mapping[str, Source]
    unmatched: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    prepare: str = ""

    def summary(self):
        """What is known in one line, and a line for each weight of floats and each parameter that is left."""
        folded = sum(source.norm is not None and not source.is_bias for source in self.sources.values())
        lines = [f"{len(self.sources)} weights are parameters, {folded} of them with a BatchNormalization folded in"]
        lines += [f"weight {name!r} is none: {why}" for name, why in self.unmatched.items()]
        lines += [f"parameter {name!r} is no weight" for name in self.unused]
        return "\n".join(lines)

    def save(self, path, *, force=False):
        """Write the names as JSON, whole or not at all; returns the path."""
        document = {"format": _FORMAT, **msgspec.to_builtins(self)}
        return write_whole(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n", force=force)

    @classmethod
    def load(cls, path):
        """Read names that :meth:`save` wrote.

        Raises:
            ModelError: if the file can't be read, or holds something else.
        """
        where = f"names {os.fspath(path)!r}"
        try:
            with open(path, "rb") as file:
                document = msgspec.json.decode(file.read())
            if not isinstance(document, dict) or document.pop("format", None) != _FORMAT:
                raise ModelError(
                    f"{where} is no file of names of format {_FORMAT}; write one with graphopt torch names"
                )
            return msgspec.convert(document, cls)
        except OSError as err:
            raise ModelError(f"{where} cannot be read: {err.strerror or err}; check the path") from err
        except (ValueError, RecursionError) as err:
            reason = " ".join(str(err).split())
            raise ModelError(f"{where} is not understood: {reason}; write it with graphopt torch names") from err


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
