"""Strategies of pipelines and of quantization parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.builtin_plugin import builtin_plugins
from graphopt.ir import Constant, DType, Quantization
from graphopt.numerics import Lossy
from graphopt.passes import Fixpoint, Pass, PassRegistry, Pipeline
from graphopt.testing.strategies.choices import Choices

__all__ = ["pipelines", "quant_params"]

_LOW_HIGH: Final = {
    DType.UINT8: (0, 255),
    DType.INT8: (-128, 127),
    DType.INT16: (-32768, 32767),
    DType.UINT16: (0, 65535),
}
_SCALES: Final = (0.125, 1.0, 0.25, 0.1, 0.0078125, 1e-6, 100.0)


def _passes(registry: PassRegistry, names: Collection[str] | None) -> dict[str, Pass]:
    """Passes that run without being told more: those with a default for each option, none of them lossy unless asked for."""
    found: dict[str, Pass] = {}
    for name in sorted(registry if names is None else names):
        try:
            made = registry.find(name)()
        except TypeError as err:
            if names is not None:
                raise InvalidArgument(f"pass {name!r} has options without a default: {err}") from err
            continue
        if names is not None or not isinstance(made.declared_numerics, Lossy):
            found[name] = made
    return found


@st.composite
def _pipelines(draw: DrawFn, passes: Collection[str] | None, low: int, high: int) -> Pipeline:
    if not 1 <= low <= high:
        raise InvalidArgument(f"expected 1 <= min_passes <= max_passes, found min_passes={low!r}, max_passes={high!r}")
    known = list(_passes(builtin_plugins().passes, passes).values())
    choices = Choices(draw)
    items: list[Pass | Fixpoint] = [choices.of(known) for _ in range(choices.integer(low, high))]
    if len(items) > 1 and choices.chance(0.3):
        first = choices.integer(0, len(items) - 2)
        last = choices.integer(first + 1, len(items) - 1)
        items[first : last + 1] = [Fixpoint(tuple(items[first : last + 1]))]
    return Pipeline(tuple(items))


def pipelines(
    *, passes: Collection[str] | None = None, min_passes: int = 1, max_passes: int = 5
) -> SearchStrategy[Pipeline]:
    """Pipelines of registered passes in any order, with a group that is repeated now and then.

    Args:
        passes: names of passes to choose from; all that are registered and not lossy when ``None``.
        min_passes: fewest passes.
        max_passes: most passes.

    Raises:
        InvalidArgument: when drawn from, if the numbers are none, or a pass can't be made without options.
        PipelineError: when drawn from, if a pass is unknown.

    Example:
        >>> from hypothesis import find
        >>> find(pipelines(passes=["canonicalize"]), lambda pipeline: True).to_text()
        'canonicalize'
    """
    return _pipelines(passes, min_passes, max_passes)


@st.composite
def _quant_params(draw: DrawFn, dtypes: Collection[DType] | None, channels: int | None, axis: int) -> Quantization:
    choices = Choices(draw)
    options = [dtype for dtype in _LOW_HIGH if dtypes is None or dtype in dtypes]
    if not options:
        raise InvalidArgument(f"dtypes={dtypes!r} has none of {', '.join(map(str, _LOW_HIGH))}")
    dtype = choices.of(options)
    low, high = _LOW_HIGH[dtype]
    shape = () if channels is None else (channels,)
    count = int(np.prod(shape))
    scale = np.array([choices.of(_SCALES) for _ in range(count)], np.float32).reshape(shape)
    zero = np.array([choices.of((0, max(low, 0), 3, low, high)) for _ in range(count)], dtype.numpy).reshape(shape)
    return Quantization(dtype, Constant(scale), Constant(zero), None if channels is None else axis)


def quant_params(
    *, dtypes: Collection[DType] | None = None, channels: int | None = None, axis: int = 0
) -> SearchStrategy[Quantization]:
    """How the numbers of a value are stored as integers: scale, zero point, and the axis of the channels.

    Args:
        dtypes: stored element types, of uint8, int8, int16 and uint16.
        channels: how many scales there are; one for all numbers when ``None``.
        axis: of the channels.

    Raises:
        InvalidArgument: when drawn from, if no element type is left.

    Example:
        >>> from hypothesis import find
        >>> found = find(quant_params(channels=3), lambda params: True)
        >>> found.dtype, found.scale.numpy().tolist(), found.axis
        (<DType.UINT8: 2>, [0.125, 0.125, 0.125], 0)
    """
    return _quant_params(dtypes, channels, axis)
