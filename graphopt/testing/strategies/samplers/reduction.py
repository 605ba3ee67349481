"""Nodes that reduce along axes, and those that look along one: sums, extremes, softmax, sorting."""

from __future__ import annotations

import numpy as np

from graphopt.ir import DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.samplers.movement import say_axes

__all__ = ["TABLE"]

TABLE = SamplerTable()


@TABLE(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
)  # fmt: skip
def reduce_(ask: Ask) -> None:
    """Over some axes, all of them by default, or none where the opset has a way to say that."""
    array = ask.data(0, empty=False)
    if ask.choices.chance(0.5):
        ask.set(keepdims=ask.choices.of((0, 1)))
    if array.ndim and (1 in ask.forms or ask.choices.chance(0.8)):
        say_axes(ask, ask.axes(array.ndim, 1))
    elif ask.choices.chance(0.3):
        ask.set(noop_with_empty_axes=1)


@TABLE("ArgMax", "ArgMin", ranks={0: (1, 5)})
def arg(ask: Ask) -> None:
    """First or last of equals."""
    array = ask.data(0, ranks=(1, 5), empty=False)
    ask.set(axis=ask.axis(array.ndim), keepdims=ask.choices.of((None, 0, 1)))
    if ask.choices.chance(0.2):
        ask.set(select_last_index=1)


@TABLE("CumSum", "CumProd", keeps=True, ranks={0: (1, 4)})
def cumulate(ask: Ask) -> None:
    """Either direction, with or without the element itself."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    dtype = ask.dtype(1, {DType.INT64, DType.INT32})
    ask.need(1, np.array(ask.axis(array.ndim), dtype.numpy), "static")
    ask.set(exclusive=ask.choices.of((None, 1)), reverse=ask.choices.of((None, 1)))


@TABLE("Softmax", "LogSoftmax", "Hardmax", keeps=True, ranks={0: (1, 5)})
def softmax(ask: Ask) -> None:
    """Along any axis (from it on, before opset 13)."""
    array = ask.data(0, ranks=(1, 5), empty=False)
    if ask.choices.chance(0.7) or (ask.opset < 13 and array.ndim < 2):
        ask.set(axis=ask.axis(array.ndim))


@TABLE("TopK", keeps=True, ranks={0: (1, 4)})
def top_k(ask: Ask) -> int:
    """Values and indices."""
    array = ask.data(0, ranks=(1, 4), empty=False)
    axis = ask.axis(array.ndim)
    ask.set(axis=axis)
    count = ask.choices.integer(1, array.shape[axis])
    if ask.has_input(1):
        ask.ints(1, [count])
        ask.set(largest=ask.choices.of((None, 0, 1)))
    else:
        ask.set(k=count)
    return 2


@TABLE("NonZero")
def non_zero(ask: Ask) -> None:
    """Where elements are not zero: a size that depends on numbers."""
    ask.data(0, ranks=(1, 4), empty=False)


@TABLE("Unique")
def unique(ask: Ask) -> list[bool]:
    """Of all elements or along an axis, any of the further outputs."""
    array = ask.data(0, ranks=(1, 3), empty=False)
    ask.set(axis=ask.axis(array.ndim) if ask.choices.chance(0.5) else None)
    return [True, *(ask.choices.chance(0.3) for _ in range(3))]
