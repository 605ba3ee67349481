"""Nodes that make tensors of shapes and numbers, and shapes of tensors."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from graphopt.ir import DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.element_types import WEIGHTS
from graphopt.testing.strategies.sampler import SamplerTable

__all__ = ["TABLE"]

TABLE = SamplerTable()


@TABLE("Shape")
def shape(ask: Ask) -> None:
    """All sizes, or some since opset 15."""
    rank = ask.data(0).ndim
    if ask.choices.chance(0.4):
        ask.set(start=ask.choices.integer(-rank - 1, rank + 1))
    if ask.choices.chance(0.4):
        ask.set(end=ask.choices.integer(-rank - 1, rank + 1))


@TABLE("Size")
def size(ask: Ask) -> None:
    """The number of elements."""
    ask.data(0)


@TABLE("ConstantOfShape")
def constant_of_shape(ask: Ask) -> None:
    """Any number, or float 0 by default."""
    ask.ints(0, [ask.choices.of((1, 2, 3, 0)) for _ in range(ask.choices.integer(0, 3))])
    if ask.choices.chance(0.7):
        dtype = ask.choices.of([dtype for dtype in WEIGHTS if dtype not in (DType.STRING, DType.BFLOAT16)])
        number = np.full((1,), ask.choices.of((1, 0, 2))).astype(dtype.numpy)
        ask.set(value=numpy_helper.from_array(number))


@TABLE("Range")
def range_(ask: Ask) -> None:
    """Up, down, or nothing."""
    dtype = ask.dtype(0, {DType.INT64, DType.FLOAT, DType.INT32, DType.INT16, DType.DOUBLE})
    step = ask.choices.of((1, 2, -1))
    start = ask.choices.integer(-2, 2)
    for index, number in enumerate((start, start + step * ask.choices.integer(0, 4), step)):
        ask.need(index, np.array(number, dtype.numpy), "static")


@TABLE("EyeLike", keeps=True, ranks={0: (2, 2)})
def eye_like(ask: Ask) -> None:
    """Any diagonal."""
    ask.data(0, ranks=(2, 2), empty=False)
    ask.set(k=ask.choices.of((None, 1, -1)), dtype=ask.choices.of((None, int(DType.FLOAT), int(DType.INT64))))


@TABLE("OneHot")
def one_hot(ask: Ask) -> None:
    """Along the last axis or another."""
    number, value = ask.choices.of(((DType.INT64, DType.FLOAT), (DType.INT64, DType.INT64), (DType.FLOAT, DType.FLOAT)))
    indices = ask.data(0, ranks=(1, 3), dtypes={number}, empty=False)
    ask.need(1, np.array(ask.choices.of((3, 1, 5)), number.numpy), "static")
    ask.need(2, np.array([0, ask.choices.of((1, 2))], value.numpy), "weight")
    ask.set(axis=ask.choices.of((None, -1, 0, indices.ndim)))


@TABLE("HannWindow", "HammingWindow", "BlackmanWindow")
def window(ask: Ask) -> None:
    """Of a few samples."""
    ask.ints(0, ask.choices.integer(1, 6))
    ask.set(periodic=ask.choices.of((None, 0)))


@TABLE("StringNormalizer")
def string_normalizer(ask: Ask) -> None:
    """To upper or lower case."""
    ask.data(0, ranks=(1, 1), dtypes={DType.STRING}, fits=lambda a: a.size > 0, shape=lambda _rank: (2,))
    ask.set(case_change_action=ask.choices.of(("NONE", "LOWER", "UPPER")), is_case_sensitive=1)


@TABLE("StringConcat", keeps=True)
def string_concat(ask: Ask) -> None:
    """Of words and a word."""
    ask.data(0, dtypes={DType.STRING})
    ask.need(1, np.array("b", object), "weight")


@TABLE("RegexFullMatch", keeps=True)
def regex_full_match(ask: Ask) -> None:
    """Of words."""
    ask.data(0, dtypes={DType.STRING})
    ask.set(pattern=ask.choices.of(("a", "[ab]*")))
