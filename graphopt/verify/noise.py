"""Measures how much the outputs of a model move when only rounding changes."""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType
from graphopt.runtime.base import Outputs, Runner
from graphopt.runtime.onnxruntime_runner import ModelSource
from graphopt.verify.comparator import leaves
from graphopt.verify.feeds import Sample
from graphopt.verify.opening import Opener
from graphopt.verify.perturbation import nudge_constants, nudge_feeds
from graphopt.verify.tolerance import Noise, kind_of, widen

__all__ = ["Moves", "measure_noise", "moves_between"]

logger = logging.getLogger(__name__)

#: Movement by name of the tensor.
Moves = Mapping[str, Noise]
_LARGEST_NUDGED: Final = 256 << 20


def moves_between(one: Outputs, other: Outputs) -> dict[str, Noise]:
    """How much each tensor of the outputs differs between two runs; a list that changes its length moves as a whole."""
    found: dict[str, Noise] = {}
    for name, value in one.items():
        mine, theirs = dict(leaves(value, name)), dict(leaves(other[name], name))
        if list(mine) != list(theirs):
            found[name] = Noise(shape_changes=True)
            continue
        for leaf, array in mine.items():
            moved = theirs[leaf]
            if array is not None and moved is not None:
                found[leaf] = Noise.of(array, moved)
    return found


def measure_noise(
    original: ModelSource,
    opener: Opener,
    samples: Sequence[Sample],
    narrowest: DType | None,
    *,
    repeat: Moves,
    seed: int,
) -> list[dict[str, Noise]]:
    """For each sample, how much each tensor of the outputs moves.

    Args:
        original: the model.
        opener: the runtime that ran it.
        samples: inputs with its outputs.
        narrowest: coarsest floating-point type that it computes in.
        repeat: what differs from run to run anyway.
        seed: same seed, same nudges.
    """
    runs: list[list[Moves]] = [[repeat] for _ in samples]
    rng = np.random.default_rng(seed)
    for runner, nudge in _perturbed(original, opener, rng):
        for sample, moves in zip(samples, runs, strict=True):
            feeds = nudge_feeds(sample.feeds, narrowest, rng) if nudge else sample.feeds
            try:
                moves.append(moves_between(sample.outputs, runner.run(feeds)))
            except ExecutionError as err:
                logger.debug("a nudged run failed: %s", err)
    merged = [
        {name: Noise.most(item[name] for item in moves if name in item) for name in _names(moves)} for moves in runs
    ]
    return _pooled(samples, merged)


def _names(moves: Sequence[Moves]) -> list[str]:
    return list(dict.fromkeys(name for item in moves for name in item))


def _perturbed(original: ModelSource, opener: Opener, rng: np.random.Generator) -> Iterator[tuple[Runner, bool]]:
    """Runners that round differently, and whether to nudge their inputs; one is closed before the next is opened."""
    variants: list[tuple[ModelSource, bool]] = [(original, False)]
    if opener.has_optimizer:
        variants.append((original, True))
    small = _small_proto(original)
    if small is not None:
        variants.append((nudge_constants(small, rng), False))
    for index, (model, optimize) in enumerate(variants):
        try:
            runner = opener.open(model, optimize=optimize)
        except ExecutionError as err:
            logger.debug("a model with other rounding does not load: %s", err)
            continue
        with runner:
            yield runner, index == 0
            yield runner, True


def _small_proto(original: ModelSource) -> ModelProto | None:
    """The model as a message, if it is of a size to copy."""
    try:
        if isinstance(original, ModelProto):
            return original if original.ByteSize() < _LARGEST_NUDGED else None
        if isinstance(original, bytes):
            return onnx.load_from_string(original) if len(original) < _LARGEST_NUDGED else None
        if os.path.getsize(original) >= _LARGEST_NUDGED:
            return None
        proto = onnx.load(os.fspath(original), load_external_data=False)
    except (OSError, DecodeError, ValueError) as err:
        logger.debug("weights can't be nudged: %s", err)
        return None
    external = any(item.data_location == onnx.TensorProto.EXTERNAL for item in proto.graph.initializer)
    return None if external else proto


def _pooled(samples: Sequence[Sample], noise: Sequence[dict[str, Noise]]) -> list[dict[str, Noise]]:
    """Steps of a quantized graph are rare events, so a sample may borrow what is usual among the others, scaled to its size."""
    sizes = [_magnitudes(sample.outputs) for sample in samples]
    found: list[dict[str, Noise]] = []
    for own, mine in zip(noise, sizes, strict=True):
        pooled: dict[str, Noise] = {}
        for name, item in own.items():
            others = [
                other[name].scaled(mine.get(name, 0.0) / theirs[name])
                for other, theirs in zip(noise, sizes, strict=True)
                if name in other and theirs.get(name)
            ]
            usual = Noise(
                statistics.median([other.largest for other in others]),
                statistics.median([other.rms for other in others]),
                statistics.median([other.flipped for other in others]),
            ) if others else Noise()  # fmt: skip
            pooled[name] = Noise.most((item, usual))
        found.append(pooled)
    return found


def _magnitudes(outputs: Outputs) -> dict[str, float]:
    return {
        leaf: _magnitude(array)
        for name, value in outputs.items()
        for leaf, array in leaves(value, name)
        if array is not None
    }


def _magnitude(array: Array) -> float:
    if kind_of(array.dtype) == "text":
        return 1.0
    with np.errstate(all="ignore"):
        wide = np.abs(widen(array))
        return float(np.max(wide, where=np.isfinite(wide), initial=0.0))
