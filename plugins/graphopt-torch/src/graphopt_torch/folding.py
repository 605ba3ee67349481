"""BatchNormalization that an exporter, or graphopt, folded into the layer before it: found by its numbers, and folded again.

``y = (conv(x) + b - mean) * s + beta`` with ``s = gamma / sqrt(var + eps)``, so the weight in ONNX is ``W * s`` by output channel and the
bias ``(b - mean) * s + beta``. Back from a folded weight ``W'`` and bias ``b'``: ``W = W' / s`` and ``mean = b - (b' - beta) / s``; gamma,
beta and var stay as they are.
"""

from dataclasses import dataclass

import numpy as np

from graphopt.errors import ModelError

__all__ = ["Norm", "find_norm", "norms_of"]

#: What PyTorch layers and the well-known models have; numbers tell which.
_EPSILONS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-2, 1e-7, 1e-8, 0.0)
_PARTS = ("weight", "bias", "running_mean", "running_var")
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Norm:
    """A BatchNormalization among the parameters.

    Attributes:
        prefix: of its names, with the dot.
        epsilon: what is added to the variance.
    """

    prefix: str
    epsilon: float

    @property
    def names(self):
        """Names of its four vectors."""
        return tuple(self.prefix + part for part in _PARTS)

    def scale(self, state):
        """``s``, by channel, in float64."""
        gamma, _beta, _mean, variance = self._vectors(state)
        return gamma / np.sqrt(variance + self.epsilon)

    def folded_bias(self, state, bias):
        """The bias in ONNX; ``bias`` is that of the layer or 0."""
        _gamma, beta, mean, _variance = self._vectors(state)
        return (bias - mean) * self.scale(state) + beta

    def mean_for(self, state, bias, folded):
        """The mean with which :meth:`folded_bias` gives ``folded``; where the scale is 0 it stays."""
        _gamma, beta, mean, _variance = self._vectors(state)
        scale = self.scale(state)
        return np.where(scale == 0, mean, bias - (folded - beta) / np.where(scale == 0, 1, scale))

    def _vectors(self, state):
        found = [np.asarray(state[name], np.float64) for name in self.names]
        if len({vector.shape for vector in found}) > 1:
            sizes = ", ".join(str(vector.size) for vector in found)
            raise ModelError(f"the vectors of {self.prefix[:-1]!r} have {sizes} numbers, expected one for each channel")
        return found


def norms_of(state):
    """Prefixes of all BatchNormalizations with four vectors of one size."""
    found = []
    for name in state:
        prefix = name.removesuffix("running_var")
        whole = prefix != name and all(prefix + part in state for part in _PARTS)
        if whole and len({np.shape(state[prefix + part]) for part in _PARTS}) == 1:
            found.append(prefix)
    return found


def find_norm(weight, parameter, state, prefixes):
    """The BatchNormalization that makes a parameter the weight, ``None`` if none does.

    Args:
        weight: floats [outputs, ...].
        parameter: of the same shape.
        state: arrays by name.
        prefixes: of those to look at.
    """
    before = np.asarray(parameter, np.float64).reshape(len(parameter), -1)
    after = np.asarray(weight, np.float64).reshape(len(weight), -1)
    norms = np.einsum("ij,ij->i", before, before)
    live = norms > 0
    scale = np.einsum("ij,ij->i", before, after) / np.where(live, norms, 1)
    if not live.any() or not _close(after, before * scale[:, None]):
        return None
    for prefix in prefixes:
        if np.shape(state[prefix + "weight"]) != (len(before),):
            continue
        for epsilon in _EPSILONS:
            norm = Norm(prefix, epsilon)
            with np.errstate(all="ignore"):  # a variance of 0 and no epsilon
                expected = norm.scale(state)
            if _close(expected[live], scale[live]):
                return norm
    return None


def _close(found, expected):
    largest = np.max(np.abs(expected), initial=0)
    return bool(np.all(np.abs(found - expected) <= _TOLERANCE * np.abs(expected) + 1e-6 * largest))
