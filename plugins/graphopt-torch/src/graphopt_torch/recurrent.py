"""The weights of LSTM, GRU and RNN: ONNX has the gates of a layer in another order, all directions in one weight, both biases in one.

PyTorch has gates ``i f g o`` of an LSTM and ``r z n`` of a GRU, ONNX ``i o f c`` and ``z r h``; parameters are named ``weight_ih_l0``,
``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, with ``_reverse`` for the second direction.

Source: https://onnx.ai/onnx/operators/onnx__LSTM.html and onnx__GRU.html, section Inputs.
"""

import re
from dataclasses import dataclass

import numpy as np

__all__ = ["Stack", "stacks_of"]

#: For each number of gates, which of PyTorch's each of ONNX's is.
_ORDERS = {4: (0, 3, 1, 2), 3: (1, 0, 2), 1: (0,)}
_LAYER = re.compile(r"(.*)weight_ih_l(\d+)")


@dataclass(frozen=True)
class Stack:
    """A weight ``[directions, gates * size, ...]`` that several parameters ``[gates * size, ...]`` make.

    Attributes:
        names: of the parameters: for each direction one, or two biases.
        gates: which of the parameter's gates each of the weight's is.
        each: how many parameters make one direction.

    Example:
        >>> stack = Stack(("w",), (1, 0, 2))
        >>> stack.weight([np.arange(6).reshape(6, 1)]).ravel().tolist()
        [2, 3, 0, 1, 4, 5]
        >>> stack.parameters(stack.weight([np.arange(6).reshape(6, 1)]))[0].ravel().tolist()
        [0, 1, 2, 3, 4, 5]
    """

    names: tuple[str, ...]
    gates: tuple[int, ...]
    each: int = 1

    def __post_init__(self):
        if (
            sorted(self.gates) != list(range(len(self.gates)))
            or self.each < 1
            or not self.names
            or len(self.names) % self.each
        ):
            raise ValueError(
                f"gates {list(self.gates)} of {len(self.names)} parameters, {self.each} for a direction, make no weight"
            )

    def weight(self, parameters):
        """The array as ONNX has it."""
        ordered = [_reordered(array, self.gates) for array in parameters]
        directions = [np.concatenate(ordered[at : at + self.each]) for at in range(0, len(ordered), self.each)]
        return np.stack(directions)

    def parameters(self, weight):
        """The arrays as PyTorch has them."""
        back = tuple(np.argsort(self.gates).tolist())
        return [_reordered(part, back) for direction in weight for part in np.split(direction, self.each)]

    def cuts(self, axis, kept):
        """For each parameter, the axis that an axis of the weight is, and what is kept of it; none for that of directions."""
        if axis == 0:
            return []
        if axis > 1:
            return [(name, axis - 1, kept) for name in self.names]
        parts = self.parameters(np.stack([kept] * (len(self.names) // self.each)))
        return [(name, 0, part) for name, part in zip(self.names, parts, strict=True)]


def _reordered(array, gates):
    blocks = array.reshape(len(gates), array.shape[0] // len(gates), *array.shape[1:])
    return blocks[list(gates)].reshape(array.shape)


def stacks_of(state):
    """What weights in ONNX the recurrent layers among the parameters have."""
    for name in state:
        found = _LAYER.fullmatch(name)
        if found is None or name.replace("weight_ih", "weight_hh") not in state:
            continue
        prefix, layer = found[1], found[2]
        count = len(state[name]) // max(1, np.shape(state[f"{prefix}weight_hh_l{layer}"])[1])
        if count not in _ORDERS:
            continue
        ends = [f"l{layer}{end}" for end in ("", "_reverse") if f"{prefix}weight_ih_l{layer}{end}" in state]
        for kind in ("weight_ih", "weight_hh"):
            yield Stack(tuple(f"{prefix}{kind}_{end}" for end in ends), _ORDERS[count])
        biases = tuple(f"{prefix}bias_{kind}_{end}" for end in ends for kind in ("ih", "hh"))
        if all(bias in state for bias in biases):
            yield Stack(biases, _ORDERS[count], 2)
