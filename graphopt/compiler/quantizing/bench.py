"""What is asked of models in a child process: their outputs on batches, and their times in turns. Both crash there, if they must."""

from __future__ import annotations

import functools
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from graphopt.passes import SessionSettings
from graphopt.runtime.isolation import shared_worker
from graphopt.runtime.paired import PairedTimes, measure_pair

if TYPE_CHECKING:
    from graphopt.runtime.base import Feeds, Outputs, Runner

__all__ = ["keep_batches", "outputs_of", "times_of"]

#: Seconds that a clock may step by, for turns of a millisecond.
_FINE: Final = 1e-5


def keep_batches(batches: Sequence[Feeds], path: Path) -> str:
    """Write batches where a child process finds them again and again; returns the path."""
    path.write_bytes(pickle.dumps([dict(feeds) for feeds in batches], protocol=5))
    return str(path)


@functools.lru_cache(maxsize=2)
def _kept(path: str) -> list[dict[str, object]]:
    return pickle.loads(Path(path).read_bytes())  # type: ignore[no-any-return]  # written by this program a moment ago


def outputs_of(
    model: str, batches: str, *, optimize: bool, threads: int | None, first: int | None = None
) -> list[Outputs]:
    """What a model makes of each batch, computed in a child process.

    Args:
        model: path.
        batches: path, as :func:`keep_batches` gives it.
        optimize: whether ONNX Runtime may optimize the model.
        threads: within an operator, ``None`` for all cores.
        first: how many batches, all by default.

    Raises:
        ExecutionError: if the model does not load or run.
    """
    return shared_worker().call(_outputs, os.path.abspath(model), batches, optimize, threads, first)


def _outputs(model: str, batches: str, optimize: bool, threads: int | None, first: int | None) -> list[Outputs]:
    with _runner(model, threads, optimize=optimize, spinning=False) as runner:
        return [runner.run(feeds) for feeds in _kept(batches)[:first]]  # type: ignore[arg-type]  # feeds, as they were kept


def _runner(model: str, threads: int | None, *, optimize: bool, spinning: bool | None = None) -> Runner:
    from graphopt.runtime.onnxruntime_runner import OrtRunner  # lazily: runs in the child only

    settings = SessionSettings(spinning=spinning)
    return OrtRunner(model, optimize=optimize, threads=threads, low_memory=not optimize, settings=settings)


def times_of(
    first: str, second: str, feeds: Sequence[Mapping[str, object]], *, seconds: float, threads: int | None, drop: bool
) -> list[PairedTimes]:
    """Times of two models in turns, for each of some inputs, measured in a child process; with one thread, processor time.

    Args:
        first: path of what is compared with.
        second: path of the other one.
        feeds: inputs by name, of one size and of another.
        seconds: for all of them.
        threads: within an operator, ``None`` for all cores.
        drop: whether to stop as soon as the second is clearly slower.

    Raises:
        ExecutionError: if a model does not load or run.
    """
    paths = os.path.abspath(first), os.path.abspath(second)  # the child may have been started in another folder
    return shared_worker().call(_times, *paths, [dict(item) for item in feeds], seconds, threads, drop)


def _clock(threads: int | None) -> Callable[[], float]:
    """What times are read from: where all is done in one thread, its own time, which other programs do not add to."""
    fine = time.get_clock_info("thread_time").resolution <= _FINE
    return time.thread_time if threads == 1 and fine else time.perf_counter


def _times(
    first: str, second: str, feeds: Sequence[Feeds], seconds: float, threads: int | None, drop: bool
) -> list[PairedTimes]:
    found = []
    with _runner(first, threads, optimize=True) as one, _runner(second, threads, optimize=True) as other:
        for given in feeds:
            found.append(
                measure_pair(
                    functools.partial(one.run, given),
                    functools.partial(other.run, given),
                    seconds=seconds / len(feeds),
                    clock=_clock(threads),
                    drop=drop,
                )
            )
            if found[-1].dropped:
                break
    return found
