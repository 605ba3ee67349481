"""Makes a model that fails as small as possible: finds how it fails, then takes away what the failure does not need."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from graphopt.backends.onnx.files import save
from graphopt.compiler.arguments import check_draws, expect_type
from graphopt.compiler.environment import Environment
from graphopt.compiler.pipeline_check import PipelineCheck
from graphopt.errors import ExecutionError, GraphoptError, PipelineError
from graphopt.ir import Model
from graphopt.passes import Pipeline
from graphopt.plugin_manager import PluginManager
from graphopt.report.units import counted
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import LONGEST_TIMEOUT, shared_worker
from graphopt.verify import model_hints
from graphopt.verify.hints import ModelHints
from graphopt.verify.reduction.case import Case
from graphopt.verify.reduction.command import CommandCheck
from graphopt.verify.reduction.recorder import Recorder
from graphopt.verify.reduction.result import Reduction
from graphopt.verify.reduction.search import Check, Search, Shrinker, run_shrinkers
from graphopt.verify.reduction.shrinkers import default_shrinkers

if TYPE_CHECKING:
    from graphopt.verify.feeds import Sample

__all__ = ["reduce"]

_REPEATS: Final = 2
_PER_SEED: Final = 4
#: What running a model may take at least: a check that is to time out soon says nothing of that.
_RUN_SECONDS: Final = 120.0

#: Inputs by name, or an ``.npz`` file with them.
Inputs = str | os.PathLike[str] | Mapping[str, object]


def reduce(
    source: object,
    *,
    pipeline: Pipeline | str | None = None,
    level: str = "O2",
    target: str = "onnxruntime",
    check: Check | str | None = None,
    inputs: Inputs | Sequence[Inputs] | None = None,
    seeds: int = 1,
    timeout: float | None = 60.0,
    progress: Callable[[str], None] | None = None,
    shrinkers: Sequence[Shrinker] | None = None,
    isolate: bool = True,
    plugins: PluginManager | None = None,
    no_plugin: Sequence[str] = (),
) -> Reduction:
    """The smallest model found that fails as a given one does. What fails in another way on the way down is not accepted.

    Stopping it with Ctrl-C gives the smallest one so far.

    Args:
        source: path, bytes, ``onnx.ModelProto``, IR, or what a plugin's frontend accepts.
        pipeline: what fails on the model, as text or as a :class:`Pipeline`; by default that of the level.
        level: ``"O0"`` to ``"O3"``, or the name of a pipeline.
        target: name of a backend.
        check: what tells how a model fails, instead of a pipeline: a function of a model and its samples that says of what kind the
            failure is (``None`` for none), or a command (:class:`~graphopt.verify.reduction.CommandCheck`).
        inputs: sets of inputs: ``.npz`` files, or arrays by name; drawn by seeds when ``None``.
        seeds: how many seeds inputs are drawn by, four sets each, 1000 at most.
        timeout: seconds that one check may take.
        progress: told how far it is.
        shrinkers: ways to make a model smaller, instead of all that there are.
        isolate: run the pipeline in a child process, so that a crash or an endless loop is a kind of failure.
        plugins: where passes, frontends and backends come from; with them the pipeline runs in this process.
        no_plugin: installed plugins to leave out.

    Returns:
        The model, the inputs that show its failure, and how it was found.

    Raises:
        ModelError: if the model is broken.
        PipelineError: if a pass, option or level is unknown, or a number is too small.
        ExecutionError: if the model does not fail, fails now in this way and now in that, or ``inputs`` do not fit.

    Example:
        >>> from graphopt.data import digits_model
        >>> def has_softmax_like_end(model, samples):
        ...     return "has Relu" if any(node.op == "Relu" for node in model.graph.nodes) else None
        >>> found = reduce(digits_model(), check=has_softmax_like_end, inputs=None)
        >>> [node.op for node in found.model.graph.nodes], found.kind
        (['Relu'], 'has Relu')
    """
    _check_arguments(pipeline, check, seeds, timeout)
    start = time.perf_counter()
    environment = Environment(_chosen_plugins(plugins, no_plugin))
    tell = progress or (lambda text: None)
    tell("lift")
    model = environment.lift(source)
    with tempfile.TemporaryDirectory(prefix="graphopt-reduce-", ignore_cleanup_errors=True) as folder:
        patience = None if timeout is None else max(timeout, _RUN_SECONDS)
        recorder = Recorder(folder, timeout=patience)
        tell("find inputs")
        case = Case(model, _samples(model, inputs, seeds, os.path.join(folder, "model.onnx"), patience))
        with _opened(
            check, environment, pipeline, level, target, plugins, no_plugin, timeout, isolate=isolate
        ) as judge:
            tell("the first checks")
            kind = _first_kind(judge, case)
            search = Search(case, judge, kind, recorder, tell)
            interrupted = False
            try:
                run_shrinkers(search, default_shrinkers() if shrinkers is None else shrinkers)
            except KeyboardInterrupt:
                interrupted = True
    return Reduction(
        model=search.case.model,
        samples=search.case.samples,
        kind=kind,
        nodes_before=model.node_count,
        steps=tuple(search.steps),
        checks=search.checks + 1 + _REPEATS,
        seconds=time.perf_counter() - start,
        interrupted=interrupted,
    )


def _check_arguments(pipeline: object, check: object, seeds: object, timeout: object) -> None:
    check_draws("seeds", seeds)
    if timeout is not None:
        expect_type("timeout", timeout, (int, float), "seconds")
        if isinstance(timeout, int | float) and not 0 < timeout <= LONGEST_TIMEOUT:
            raise PipelineError(f"the timeout is {timeout:g} s, expected more than 0 and at most {LONGEST_TIMEOUT:g}")
    if pipeline is not None:
        expect_type("pipeline", pipeline, (Pipeline, str), "a Pipeline or its text")
    if check is not None:
        if pipeline is not None:
            raise PipelineError("pipeline and check each say what fails; state one of them")
        if not callable(check):
            expect_type("check", check, str, "a function of a model and its samples, or a command")


def _chosen_plugins(plugins: PluginManager | None, no_plugin: Sequence[str]) -> PluginManager | None:
    if plugins is not None or not no_plugin:
        return plugins
    from graphopt.builtin_plugin import builtin_plugins

    return builtin_plugins(no_plugin)


# -- inputs -------------------------------------------------------------------------------------------------------------------------


def _samples(
    model: Model, inputs: Inputs | Sequence[Inputs] | None, seeds: int, path: str, timeout: float | None
) -> tuple[Feeds, ...]:
    """Sets of inputs: those that were brought, or else drawn ones; none where the model runs on nothing.

    Raises:
        ExecutionError: if inputs that were brought don't fit.
    """
    given = [] if inputs is None else [inputs] if isinstance(inputs, str | os.PathLike | Mapping) else list(inputs)
    try:
        save(model, path, force=True)
        arguments = ([os.path.abspath(item) if isinstance(item, str | os.PathLike) else item for item in given], seeds)
        return shared_worker().call(find_feeds, path, model_hints(model), *arguments, timeout=timeout)
    except GraphoptError:
        if given:
            raise
        return ()


def find_feeds(path: str, hints: ModelHints, given: Sequence[Inputs], seeds: int) -> tuple[Feeds, ...]:
    """Sets of inputs for a model file; runs in a child process.

    Raises:
        ExecutionError: if no runtime loads the model, or inputs that were brought don't fit.
    """
    from graphopt.runtime.onnxruntime_runner import OrtRunner  # lazily: imports ONNX Runtime
    from graphopt.runtime.reference_runner import ReferenceRunner
    from graphopt.verify.feeds import find_samples
    from graphopt.verify.user_inputs import check_inputs, load_inputs

    try:
        runner: OrtRunner | ReferenceRunner = OrtRunner(path, threads=1)
    except ExecutionError as err:
        try:
            runner = ReferenceRunner(path)
        except ExecutionError:
            raise err from None
    with runner:
        if given:
            takes, may_take = runner.inputs, runner.overridable
            return tuple(
                check_inputs(item, takes, may_take) if isinstance(item, Mapping) else load_inputs(item, takes, may_take)  # type: ignore[arg-type]  # checked there
                for item in given
            )
        found: list[Sample] = []
        for seed in range(seeds):
            found += find_samples(runner, hints, count=_PER_SEED, seed=seed).samples
        return tuple(sample.feeds for sample in found)


# -- the check ----------------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(
    check: Check | str | None,
    environment: Environment,
    pipeline: Pipeline | str | None,
    level: str,
    target: str,
    plugins: PluginManager | None,
    no_plugin: Sequence[str],
    timeout: float | None,
    *,
    isolate: bool,
) -> Iterator[Check]:
    """The check that is asked for."""
    if callable(check):
        yield check
        return
    made: CommandCheck | PipelineCheck
    if isinstance(check, str):
        made = CommandCheck(check, timeout=timeout)
    else:
        built = environment.pipeline(pipeline, level)
        environment.backend(target)
        made = PipelineCheck(
            built, target=target, plugins=plugins, no_plugin=no_plugin, timeout=timeout, isolate=isolate
        )
    try:
        yield made
    finally:
        made.close()


def _first_kind(check: Check, case: Case) -> str:
    """How the original fails, the same each time it is asked.

    Raises:
        ExecutionError: if it does not fail, or now in this way and now in that.
    """
    kinds = [check(case.copy().model, case.samples)]
    if kinds[0] is not None:
        kinds += [check(case.copy().model, case.samples) for _ in range(_REPEATS)]
    first = kinds[0]
    if len(set(kinds)) > 1:
        seen = ", ".join(kind or "no failure" for kind in kinds)
        raise ExecutionError(
            f"the check is not steady on the original: {seen}; make it give one answer, with a fixed seed say"
        )
    if first is not None:
        return first
    if isinstance(check, CommandCheck):
        raise ExecutionError(
            f"the original does not fail: {check.last}; a model fails when the command {check.expected}"
        )
    some = counted(len(case.samples), "set of inputs", "sets of inputs")
    on = f"on {some}" if case.samples else "without inputs, since none were found"
    raise ExecutionError(f"the original does not fail {on}; give the inputs that show the failure, or try more seeds")
