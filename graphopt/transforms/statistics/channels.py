"""What the channels of a tensor are like, from batches that stream by: ends, means and spreads.

Observers of :class:`graphopt.passes.Observer`. Each keeps a few float64 numbers for each channel. Two that are merged are what one is
that has seen the data of both.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from graphopt.ir import Array

__all__ = ["ChannelExtremes", "ChannelMoments"]

_Float64 = npt.NDArray[np.float64]


class ChannelExtremes:
    """The smallest and the largest number of each channel.

    Args:
        axis: of the channels; negative ones count from the end.

    Example:
        >>> seen = ChannelExtremes(axis=1)
        >>> seen.observe(np.array([[1.0, -3.0], [2.0, 0.5]]))
        >>> seen.low.tolist(), seen.high.tolist(), seen.magnitude.tolist()
        ([1.0, -3.0], [2.0, 0.5], [2.0, 3.0])
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._low: _Float64 | None = None
        self._high: _Float64 | None = None

    def observe(self, array: Array) -> None:
        """Take a batch into account; all batches have as many channels."""
        axis = self._axis % array.ndim
        others = tuple(at for at in range(array.ndim) if at != axis)
        self._take(array.min(axis=others).astype(np.float64), array.max(axis=others).astype(np.float64))

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        if other._low is not None and other._high is not None:
            self._take(other._low, other._high)

    def _take(self, low: _Float64, high: _Float64) -> None:
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)

    @property
    def seen(self) -> bool:
        """Whether there was any data."""
        return self._low is not None

    @property
    def low(self) -> _Float64:
        """float64 [channels]. Asked for only after something was seen."""
        assert self._low is not None, "nothing was seen"
        return self._low

    @property
    def high(self) -> _Float64:
        """float64 [channels]. Asked for only after something was seen."""
        assert self._high is not None, "nothing was seen"
        return self._high

    @property
    def magnitude(self) -> _Float64:
        """The largest absolute value of each channel, float64 [channels]."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


class ChannelMoments:
    """Mean and variance of each channel, by the pairwise formula of Chan, Golub and LeVeque (1979).

    Args:
        axis: of the channels; negative ones count from the end.

    Example:
        >>> seen = ChannelMoments(axis=-1)
        >>> seen.observe(np.array([[1.0, 4.0], [3.0, 4.0]]))
        >>> seen.mean.tolist(), seen.variance.tolist(), seen.energy.tolist()
        ([2.0, 4.0], [1.0, 0.0], [5.0, 16.0])
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.count = 0
        self._mean: _Float64 = np.zeros(0)
        self._squares: _Float64 = np.zeros(0)  # of the distances from the mean

    def observe(self, array: Array) -> None:
        """Take a batch into account; all batches have as many channels."""
        axis = self._axis % array.ndim
        others = tuple(at for at in range(array.ndim) if at != axis)
        mean = array.mean(axis=others, dtype=np.float64)
        shape = [-1 if at == axis else 1 for at in range(array.ndim)]
        squares = np.square(array - mean.reshape(shape)).sum(axis=others, dtype=np.float64)
        self._take(array.size // mean.size, mean, squares)

    def merge(self, other: Self) -> None:
        """Take into account what another one has seen."""
        if other.count:
            self._take(other.count, other._mean, other._squares)

    def _take(self, count: int, mean: _Float64, squares: _Float64) -> None:
        if not self.count:
            self.count, self._mean, self._squares = count, mean, squares
            return
        total = self.count + count
        step = mean - self._mean
        self._mean = self._mean + step * (count / total)
        self._squares = self._squares + squares + np.square(step) * (self.count * count / total)
        self.count = total

    @property
    def mean(self) -> _Float64:
        """float64 [channels]. Asked for only after something was seen."""
        assert self.count, "nothing was seen"
        return self._mean

    @property
    def variance(self) -> _Float64:
        """Mean square of the distance from the mean, float64 [channels]."""
        assert self.count, "nothing was seen"
        return self._squares / self.count

    @property
    def energy(self) -> _Float64:
        """Mean square, float64 [channels]."""
        return self.variance + np.square(self.mean)
