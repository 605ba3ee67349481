"""Inputs for models that are run and measured: from a file, or generated to fit the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphopt.analysis.op_flops import bound_shape
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile
from graphopt.compiler.environment import Environment
from graphopt.errors import ExecutionError
from graphopt.ir import TensorType, Type, symbols_of
from graphopt.runtime import Runner, RunOptions
from graphopt.runtime.base import Feeds
from graphopt.verify.feeds import find_samples
from graphopt.verify.hints import InputHint, ModelHints, model_hints
from graphopt.verify.user_inputs import load_inputs

__all__ = ["feeds_for", "feeds_of_model"]


def feeds_for(
    file: RunnableFile,
    runner: Runner,
    *,
    environment: Environment,
    inputs: Path | None,
    seed: int,
    sizes: Mapping[str, int],
) -> Feeds:
    """Inputs on which a model runs.

    Args:
        file: the model.
        runner: it, to try inputs on.
        environment: reads the model.
        inputs: an ``.npz`` file to take them from.
        seed: of generated ones.
        sizes: sizes of dynamic dimensions, by name.

    Raises:
        ExecutionError: if the file does not fit the model, or nothing was found that the model accepts.
    """
    if inputs is not None:
        return load_inputs(inputs, runner.inputs, runner.overridable)
    search = find_samples(runner, _hints(file, runner, environment, sizes), count=1, seed=seed)
    if search.samples:
        return search.samples[0].feeds
    last = f"; the last one: {search.refusals[-1]}" if search.refusals else ""
    raise ExecutionError(
        f"{file.source!r} accepts none of {search.tried} generated inputs{last}; give some with --inputs"
    )


def feeds_of_model(
    model: Path, *, environment: Environment, inputs: Path | None, seed: int, sizes: Mapping[str, int]
) -> Feeds:
    """Inputs on which a model runs in ONNX Runtime; see :func:`feeds_for`."""
    with RunnableFile(model, DEFAULT_BACKEND, environment) as file, file.open(RunOptions(low_memory=True)) as runner:
        return feeds_for(file, runner, environment=environment, inputs=inputs, seed=seed, sizes=sizes)


def _hints(file: RunnableFile, runner: Runner, environment: Environment, sizes: Mapping[str, int]) -> ModelHints | None:
    if file.is_model:
        hints = model_hints(environment.lift(file.source))
    else:  # of which nothing is known but what its runtime declares
        hints = ModelHints(tuple(InputHint(spec.name, spec.type) for spec in runner.inputs))
    if not sizes:
        return hints if file.is_model else None
    known = {symbol for hint in hints.inputs for symbol in _symbols(hint.type)}
    if not file.is_model and not known:
        raise ExecutionError(
            f"sizes can't be chosen by name: {file.source!r} is a file of backend {file.backend!r}; give --inputs"
        )
    for name in sizes:
        if name not in known:
            raise ExecutionError(
                f"{file.source!r} has no dynamic size {name!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
    return replace(hints, inputs=tuple(replace(hint, type=_bound(hint.type, sizes)) for hint in hints.inputs))


def _symbols(kind: Type | None) -> frozenset[str]:
    return symbols_of(kind.shape) if isinstance(kind, TensorType) else frozenset()


def _bound(kind: Type | None, sizes: Mapping[str, int]) -> Type | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape(bound_shape(kind.shape, dict(sizes)))
