"""Nodes that slide or resample over images: pools, resizing, sampling at points."""

from __future__ import annotations

import numpy as np

from graphopt.ir import DType
from graphopt.testing.strategies.ask import Ask
from graphopt.testing.strategies.sampler import SamplerTable
from graphopt.testing.strategies.samplers.linear import say_window
from graphopt.testing.strategies.scope import dtype_of

__all__ = ["TABLE"]

TABLE = SamplerTable()


def _image(ask: Ask, rank: int) -> list[int]:
    return [1, ask.choices.of((2, 1, 3)), *(ask.choices.of((4, 3, 5, 2)) for _ in range(rank - 2))]


@TABLE("MaxPool", "AveragePool", "LpPool", keeps=True, ranks={0: (3, 5)})
def pool(ask: Ask) -> list[bool]:
    """All ways of padding and rounding; MaxPool with indices now and then."""
    x = ask.data(0, ranks=(3, 5), shape=lambda rank: _image(ask, rank), empty=False)
    kernel = say_window(ask, list(x.shape[2:]), dilations="dilations" in ask.schema.attributes)
    ask.set(kernel_shape=kernel, ceil_mode=1 if ask.choices.chance(0.2) else None)
    if ask.op == "AveragePool" and ask.choices.chance(0.4):
        ask.set(count_include_pad=1)
    if ask.op == "LpPool":
        ask.set(p=ask.choices.of((None, 1, 2)))
    return [True, ask.op == "MaxPool" and ask.choices.chance(0.15)]


@TABLE("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", keeps=True, ranks={0: (3, 5)})
def global_pool(ask: Ask) -> None:
    """Over all spatial axes."""
    ask.data(0, ranks=(3, 5), shape=lambda rank: _image(ask, rank), empty=False)


@TABLE("LRN", keeps=True, ranks={0: (4, 4)})
def lrn(ask: Ask) -> None:
    """Across channels."""
    ask.data(0, ranks=(4, 4), shape=lambda rank: _image(ask, rank), empty=False)
    ask.set(size=ask.choices.of((1, 3)), alpha=ask.choices.of((None, 0.5)), bias=ask.choices.of((None, 2.0)))


@TABLE("Resize", "Upsample", keeps=True, ranks={0: (3, 4)})
def resize(ask: Ask) -> None:
    """By scales or to sizes, often to the same; all modes of coordinates."""
    x = ask.data(0, ranks=(3, 4), shape=lambda rank: _image(ask, rank), empty=False)
    scales = [1.0, 1.0, *(ask.choices.of((1.0, 2.0, 1.0, 0.5)) for _ in range(x.ndim - 2))]
    if ask.op == "Upsample":
        scales = [max(1.0, scale) for scale in scales]
    ask.set(mode=ask.choices.of(("nearest", "linear" if x.ndim == 4 else "nearest")))
    if "scales" in ask.schema.attributes:
        ask.set(scales=scales)
    elif not ask.has_input(2):
        ask.need(1, np.array(scales, np.float32), "static")
    else:
        if ask.choices.chance(0.6):
            ask.set(coordinate_transformation_mode=ask.choices.of(("asymmetric", "half_pixel", "align_corners")))
        if ask.choices.chance(0.4):
            ask.set(nearest_mode=ask.choices.of(("floor", "round_prefer_floor", "ceil")))
        if ask.choices.chance(0.7):
            ask.need(2, np.array(scales, np.float32), "static")
        else:
            if ask.opset < 13:  # the input cannot be absent in between
                ask.need(1, np.zeros(0, np.float32), "constant")
                ask.need(2, np.zeros(0, np.float32), "constant")
            ask.ints(3, [max(1, int(size * scale)) for size, scale in zip(x.shape, scales, strict=True)])
        if ask.opset < 13 and 1 not in ask.inputs:
            ask.need(1, np.zeros(0, np.float32), "constant")


@TABLE("GridSample", keeps=True, ranks={0: (4, 4)})
def grid_sample(ask: Ask) -> None:
    """At points inside and outside."""
    x = ask.data(0, ranks=(4, 4), dtypes={DType.FLOAT}, shape=lambda rank: _image(ask, rank), empty=False)
    grid = np.linspace(-1.2, 1.1, 12).reshape(1, 2, 3, 2).repeat(x.shape[0], 0).astype(np.float32)
    ask.need(1, grid, "weight")
    ask.set(
        align_corners=ask.choices.of((None, 1)), padding_mode=ask.choices.of((None, "border", "zeros", "reflection"))
    )


@TABLE("AffineGrid")
def affine_grid(ask: Ask) -> None:
    """Of two spatial axes."""
    count = ask.choices.of((1, 2))
    theta = ask.data(
        0,
        ranks=(3, 3),
        dtypes={DType.FLOAT},
        fits=lambda a: a.shape[1:] == (2, 3) and a.shape[0] > 0,
        shape=lambda _: (count, 2, 3),
    )
    ask.ints(1, [theta.shape[0], 1, 2, 3])
    ask.set(align_corners=ask.choices.of((None, 1)))


@TABLE("Col2Im", ranks={0: (3, 3)})
def col2im(ask: Ask) -> None:
    """Blocks of an image, put together."""
    ask.data(0, ranks=(3, 3), dtypes={DType.FLOAT}, fits=lambda a: a.shape[1:] == (8, 2), shape=lambda _rank: (1, 8, 2))
    ask.ints(1, [2, 3])
    ask.ints(2, [2, 2])


@TABLE("MaxUnpool", ranks={0: (4, 4)})
def max_unpool(ask: Ask) -> None:
    """Of indices that are different."""
    x = ask.data(
        0, ranks=(4, 4), dtypes={DType.FLOAT}, fits=lambda a: a.shape == (1, 1, 2, 2), shape=lambda _rank: (1, 1, 2, 2)
    )
    ask.need(1, np.array([5, 7, 13, 15], np.int64).reshape(x.shape), "constant")
    ask.set(kernel_shape=[2, 2], strides=[2, 2])


@TABLE("NonMaxSuppression")
def non_max_suppression(ask: Ask) -> None:
    """Boxes and scores of one class."""
    boxes = ask.data(
        0, ranks=(3, 3), dtypes={DType.FLOAT}, fits=lambda a: a.shape == (1, 3, 4), shape=lambda _rank: (1, 3, 4)
    )
    ask.need(1, ask.drawn(dtype_of(boxes), (1, 1, 3)), "weight")
    if ask.wants_optional(2, 0.9):
        ask.ints(2, [2])
    if ask.wants_optional(3, 0.5):
        ask.need(3, np.array([0.5], np.float32), "constant")
