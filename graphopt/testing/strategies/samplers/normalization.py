"""Nodes that normalize: by statistics that are given, of the sample, of the layer, of groups."""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array, DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.element_types import FLOATS
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE"]

TABLE = SamplerTable()
_EPSILONS = (1e-5, 1e-3, 0.1)


def _scale(ask: Ask, index: int, like: Array, channels: int) -> None:
    ask.need(index, ask.drawn(_dtype(ask, index, like), (channels,)), "weight")


def _dtype(ask: Ask, index: int, like: Array) -> DType:
    dtype = dtype_of(like)
    return dtype if dtype in ask.dtypes(index) else ask.dtype(index, FLOATS)


@TABLE("BatchNormalization", keeps=True, ranks={0: (2, 5)})
def batch_normalization(ask: Ask) -> list[bool]:
    """In its inference form mostly; epsilon of any size, statistics mostly constant."""
    x = ask.data(0, ranks=(2, 5), dtypes=FLOATS, empty=False)
    channels = x.shape[1]
    for index in (1, 2, 3):
        _scale(ask, index, x, channels)
    spread = np.random.default_rng(ask.choices.seed()).integers(1, 17, channels) / 8
    if ask.choices.chance(0.05):
        spread = spread * 0
    ask.need(4, spread.astype(_dtype(ask, 4, x).numpy), "weight")
    ask.set(epsilon=ask.choices.of(_EPSILONS) if ask.choices.chance(0.6) else None)
    ask.set(momentum=0.5 if ask.choices.chance(0.2) else None)
    if "training_mode" in ask.schema.attributes and ask.choices.chance(0.12):
        ask.set(training_mode=1)
        return [True, True, True]
    return [True]


@TABLE("InstanceNormalization", keeps=True, ranks={0: (3, 5)})
def instance_normalization(ask: Ask) -> None:
    """Of each channel of each image."""
    x = ask.data(0, ranks=(3, 5), dtypes=FLOATS, empty=False)
    _scale(ask, 1, x, x.shape[1])
    _scale(ask, 2, x, x.shape[1])
    ask.set(epsilon=ask.choices.of(_EPSILONS) if ask.choices.chance(0.5) else None)


@TABLE("LayerNormalization", "RMSNormalization", keeps=True, ranks={0: (1, 4)})
def layer_normalization(ask: Ask) -> list[bool]:
    """From any axis on; scales of the normalized axes."""
    x = ask.data(0, ranks=(1, 4), dtypes=FLOATS, empty=False)
    axis = ask.axis(x.ndim) if ask.choices.chance(0.5) else -1
    ask.set(axis=axis if axis != -1 or ask.choices.chance(0.5) else None)
    shape = x.shape[axis:]
    ask.need(1, ask.drawn(_dtype(ask, 1, x), shape), "weight")
    if ask.op == "LayerNormalization" and ask.wants_optional(2, 0.6):
        ask.need(2, ask.drawn(_dtype(ask, 2, x), shape), "weight")
    ask.set(epsilon=ask.choices.of(_EPSILONS) if ask.choices.chance(0.5) else None)
    further = ask.choices.chance(0.1)
    return [True, further, further]


@TABLE("GroupNormalization", keeps=True, ranks={0: (3, 5)})
def group_normalization(ask: Ask) -> None:
    """One or two groups; scales per group before opset 21, per channel since."""
    x = ask.data(0, ranks=(3, 5), dtypes=FLOATS, empty=False)
    groups = ask.choices.of([number for number in (1, 2) if x.shape[1] % number == 0])
    ask.set(num_groups=groups, epsilon=ask.choices.of(_EPSILONS))
    for index in (1, 2):
        _scale(ask, index, x, groups if ask.opset < 21 else x.shape[1])


@TABLE("MeanVarianceNormalization", keeps=True, ranks={0: (4, 4)})
def mean_variance_normalization(ask: Ask) -> None:
    """Over the axes that images have."""
    ask.data(0, ranks=(4, 4), dtypes={DType.FLOAT}, empty=False)
    ask.set(axes=ask.choices.of((None, [0, 2, 3], [2, 3])))


@TABLE("LpNormalization", keeps=True, ranks={0: (1, 4)})
def lp_normalization(ask: Ask) -> None:
    """Along an axis."""
    x = ask.data(0, ranks=(1, 4), dtypes={DType.FLOAT, DType.DOUBLE}, empty=False)
    ask.set(axis=ask.axis(x.ndim), p=ask.choices.of((None, 1, 2)))
