"""How the axes of a weight in ONNX are those of a parameter in PyTorch: the same, transposed, or with axes of size 1 more or less."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Arrangement", "arrangements"]


@dataclass(frozen=True)
class Arrangement:
    """A weight as a transposed parameter.

    Attributes:
        axes: for each axis of the weight the axis of the parameter that it is, -1 for one of size 1 that the parameter does not have.
            Axes of the parameter that are not among them have size 1.
        rank: how many axes the parameter has.

    Example:
        >>> flipped = Arrangement((1, 0), 2)
        >>> flipped.weight(np.ones((3, 5))).shape, flipped.parameter(np.ones((5, 3))).shape
        ((5, 3), (3, 5))
    """

    axes: tuple[int, ...]
    rank: int

    def __post_init__(self):
        used = [axis for axis in self.axes if axis != -1]
        if len(set(used)) < len(used) or not all(0 <= axis < self.rank for axis in used):
            raise ValueError(f"axes {list(self.axes)} are not those of a parameter of {self.rank}, each once")

    @property
    def _order(self):
        """The axes of the parameter, those that the weight lacks first."""
        used = [axis for axis in self.axes if axis >= 0]
        return [axis for axis in range(self.rank) if axis not in used] + used

    def weight(self, parameter):
        """The array as ONNX has it."""
        moved = parameter.transpose(self._order)
        lacking = self.rank - sum(axis >= 0 for axis in self.axes)
        sizes = iter(moved.shape[lacking:])
        return np.ascontiguousarray(moved).reshape([1 if axis < 0 else next(sizes) for axis in self.axes])

    def parameter(self, weight):
        """The array as PyTorch has it."""
        lacking = self.rank - sum(axis >= 0 for axis in self.axes)
        sizes = [size for size, axis in zip(weight.shape, self.axes, strict=True) if axis >= 0]
        moved = weight.reshape([1] * lacking + sizes)
        return np.ascontiguousarray(moved.transpose(np.argsort(self._order)))


def arrangements(weight, parameter):
    """The ways in which a weight of one shape may be a parameter of another; a matrix may be transposed.

    Args:
        weight: shape of the weight.
        parameter: shape of the parameter.

    Example:
        >>> [found.axes for found in arrangements((4, 4), (4, 4))], [found.axes for found in arrangements((8, 1, 1), (8,))]
        ([(0, 1), (1, 0)], [(0, -1, -1)])
    """
    rank = len(parameter)
    if weight == parameter:
        found = [tuple(range(rank))]
    else:
        sizes = [size for size in weight if size != 1]
        axes = [axis for axis, size in enumerate(parameter) if size != 1]
        if sizes != [parameter[axis] for axis in axes]:
            found = []
        else:
            places = iter(axes)
            found = [tuple(-1 if size == 1 else next(places) for size in weight)]
    if rank == 2 and weight == parameter[::-1]:
        found.append((1, 0))
    return [Arrangement(axes, rank) for axes in found]
