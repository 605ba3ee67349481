"""Recurrent layers: RNN, GRU, LSTM, and ONNX Runtime's quantized LSTM."""

from __future__ import annotations

from collections.abc import Sequence

from graphopt.analysis.shape_inference.facts import Facts, ShapeFunction, dtype_at, shape_at, tensor
from graphopt.ir import Dim, Node, Shape, Type

__all__ = ["FUNCTIONS"]


def _recurrent(node: Node, facts: Facts) -> Sequence[Type | None]:
    """All hidden states, the last hidden state, and (LSTM) the last cell state."""
    x, dtype = shape_at(node, facts, 0), dtype_at(node, 0)
    hidden: Dim
    stated = node.attributes.get("hidden_size")
    if stated is not None and isinstance(stated.value, int):
        hidden = stated.value
    else:
        recurrence = shape_at(node, facts, 2)
        hidden = recurrence[-1] if recurrence is not None and len(recurrence) == 3 else None
    directions = 2 if node.str_attr("direction") == "bidirectional" else 1
    steps, batch = (x[0], x[1]) if x is not None and len(x) == 3 else (None, None)
    layout = node.attributes.get("layout")
    every: Shape = (steps, directions, batch, hidden)
    last: Shape = (directions, batch, hidden)
    if layout is not None and layout.value == 1:  # the first axis is the batch
        every, last = (steps, batch, directions, hidden), (steps, directions, hidden)
    return [tensor(dtype, every), tensor(dtype, last), tensor(dtype, last)][: len(node.outputs)]


def _quantized(node: Node, facts: Facts) -> Sequence[Type | None]:
    return _recurrent(node, facts) if "hidden_size" in node.attributes else [None] * len(node.outputs)


FUNCTIONS: dict[str, ShapeFunction] = {
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent),
    "com.microsoft::DynamicQuantizeLSTM": _quantized,
}
