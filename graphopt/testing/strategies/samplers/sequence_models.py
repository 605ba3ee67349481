"""Nodes of sequence models: recurrent cells, attention, rotary embedding."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE"]

TABLE = SamplerTable()
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@TABLE("LSTM", "GRU", "RNN", ranks={0: (3, 3)})
def recurrent(ask: Ask) -> list[bool]:
    """One or both directions, with or without bias, lengths and initial states."""
    x = ask.data(
        0,
        ranks=(3, 3),
        dtypes={DType.FLOAT},
        shape=lambda _rank: (ask.choices.integer(1, 3), ask.choices.of((1, 2)), 2),
        empty=False,
    )
    steps, batch, width = x.shape
    hidden = ask.choices.of((2, 1))
    directions = 2 if ask.choices.chance(0.3) else 1
    gates = _GATES[ask.op] * hidden
    ask.set(
        hidden_size=hidden,
        direction="bidirectional" if directions == 2 else ask.choices.of((None, "reverse", "forward")),
    )
    ask.need(1, ask.drawn(DType.FLOAT, (directions, gates, width)), "weight")
    ask.need(2, ask.drawn(DType.FLOAT, (directions, gates, hidden)), "weight")
    if ask.wants_optional(3, 0.5):
        ask.need(3, ask.drawn(DType.FLOAT, (directions, 2 * gates)), "weight")
    if ask.wants_optional(4, 0.15):
        ask.need(4, np.full(batch, steps, np.int32), "weight")
    if ask.wants_optional(5, 0.3):
        ask.need(5, ask.drawn(DType.FLOAT, (directions, batch, hidden)), "weight")
    if ask.op == "GRU" and ask.choices.chance(0.3):
        ask.set(linear_before_reset=1)
    outputs = [True, True, ask.op == "LSTM"]
    if ask.choices.chance(0.4):
        outputs[ask.choices.integer(0, 1)] = False
    return outputs


@TABLE("Attention", ranks={0: (4, 4)})
def attention(ask: Ask) -> list[bool]:
    """Four axes: batch, heads, length, width; causal or with a mask."""
    q = ask.data(
        0,
        ranks=(4, 4),
        dtypes={DType.FLOAT},
        shape=lambda _rank: (1, ask.choices.of((1, 2)), ask.choices.of((2, 3)), 2),
        empty=False,
    )
    length = ask.choices.of((2, 3))
    batch, heads, steps, width = q.shape
    for index in (1, 2):
        ask.need(index, ask.drawn(dtype_of(q), (batch, heads, length, width)), "input")
    if ask.wants_optional(3, 0.3):
        ask.need(3, ask.drawn(dtype_of(q), (steps, length)), "weight")
    ask.set(is_causal=ask.choices.of((None, 1)), scale=ask.choices.of((None, 0.5)))
    return [True]


@TABLE("RotaryEmbedding", keeps=True, ranks={0: (4, 4)})
def rotary_embedding(ask: Ask) -> None:
    """Four axes: batch, heads, length, an even width."""
    x = ask.data(
        0,
        ranks=(4, 4),
        dtypes={DType.FLOAT},
        fits=lambda a: a.shape[-1] % 2 == 0,
        shape=lambda _rank: (1, 2, 3, 4),
        empty=False,
    )
    for index in (1, 2):
        ask.need(index, _table(ask, x), "weight")
    positions = np.arange(x.shape[2], dtype=np.int64)[None].repeat(x.shape[0], 0)
    ask.need(3, positions, "static")
    ask.set(interleaved=ask.choices.of((None, 1)))


def _table(ask: Ask, x: Array) -> Array:
    return ask.drawn(dtype_of(x), (max(4, x.shape[2]), x.shape[3] // 2))
