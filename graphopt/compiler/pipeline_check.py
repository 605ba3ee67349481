"""How a pipeline fails on a model, in a few words: the check of ``graphopt.reduce``, here or in a child process.

The child is told the passes as they are: their classes and rules travel by the name of their module, so those of plugins and of a
user's own modules are the same there. Passes that can't travel (made in a script that runs as ``__main__``, or inside a function) run
in this process, where a crash is a crash.
"""

from __future__ import annotations

import importlib
import io
import logging
import pickle
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from graphopt.backends.onnx.files import save
from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.environment import Environment
from graphopt.errors import ExecutionError, PassError
from graphopt.ir import Model
from graphopt.passes import Pipeline, PipelineReport
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting.rule import RewriteRule
from graphopt.runtime.base import Feeds
from graphopt.runtime.isolation import ChildEndedError, Worker, cause_of
from graphopt.verify.comparator import ZERO_SIGNS
from graphopt.verify.reduction.validity import file_is_valid

if TYPE_CHECKING:
    from graphopt.verify.expectation import Expectation
    from graphopt.verify.opening import CheckOptions, Opener
    from graphopt.verify.verdict import Verdict

__all__ = ["Judge", "PipelineCheck"]

logger = logging.getLogger(__name__)

_SPARE: Final = 1


class PipelineCheck:
    """Runs a pipeline on candidates and tells how that fails.

    Kinds: ``wrong-numbers``, ``wrong-numbers: signs of zeros`` where nothing else is wrong, ``invalid-model`` (the ONNX checker or the
    runtime refuses the result, or it takes or gives something else), ``exception: CLASS in pass NAME``, ``crash: SIGNAL`` and
    ``timeout``.

    Args:
        pipeline: what to run.
        target: name of a backend.
        plugins: where backends come from; ``None`` for those that are installed.
        no_plugin: plugins to leave out.
        timeout: seconds that one candidate may take.
        isolate: run in a child process, so that a crash or an endless loop is a kind of failure.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        target: str = "onnxruntime",
        plugins: PluginManager | None = None,
        no_plugin: Sequence[str] = (),
        timeout: float | None = None,
        isolate: bool = True,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-reduce-", ignore_cleanup_errors=True)
        self._path = Path(self._folder.name) / "candidate.onnx"
        self._timeout = timeout
        self._spec = (target, tuple(no_plugin), self._folder.name)
        self._passes = _pickled(pipeline) if isolate and plugins is None else None
        self._here: Judge | None = None
        self._starter = ThreadPoolExecutor(max_workers=1 + _SPARE)
        self._children: deque[Future[tuple[Worker, int]]] = deque()
        if self._passes is None:
            self._here = Judge(pipeline, Environment(plugins or builtin_plugins(no_plugin)), target, self._folder.name)

    @property
    def isolated(self) -> bool:
        """Whether candidates run in a child process."""
        return self._here is None

    def __call__(self, model: Model, samples: Sequence[Feeds]) -> str | None:
        """The kind of failure, ``None`` when there is none."""
        save(model, self._path, force=True)
        if self._here is not None:
            return self._here.judge(str(self._path), tuple(samples))
        worker, handle = self._started()
        start = time.monotonic()
        try:
            found = worker.invoke(handle, "judge", str(self._path), tuple(samples), timeout=self._timeout)
        except ChildEndedError as err:
            self._start_another()
            return f"crash: {cause_of(err)}"
        except ExecutionError:
            if self._timeout is None or time.monotonic() - start < self._timeout:
                raise
            self._start_another()
            return "timeout"
        return None if found is None else str(found)

    def _started(self) -> tuple[Worker, int]:
        """The child and the judge in it."""
        if not self._children:
            self._start(1)
        return self._children[0].result()

    def _start_another(self) -> None:
        """Let a spare child take the place of one that is gone: what ended one will end more, and starting takes long."""
        self._children.popleft().result()[0].close()
        self._start(1 + _SPARE)

    def _start(self, count: int) -> None:
        assert self._passes is not None, "only what travels runs in a child"
        while len(self._children) < count:
            self._children.append(self._starter.submit(_new_child, self._passes, self._spec))

    def close(self) -> None:
        """End the child and remove temporary files."""
        try:
            for child in self._children:
                if not child.cancel():
                    child.result()[0].close()
        finally:
            self._starter.shutdown()
            self._folder.cleanup()


def _new_child(passes: bytes, spec: tuple[str, tuple[str, ...], str]) -> tuple[Worker, int]:
    worker = Worker()
    return worker, worker.create(make_judge, passes, *spec)


class Judge:
    """Tells how a pipeline fails on model files.

    Args:
        pipeline: what to run.
        environment: plugins.
        target: name of a backend.
        folder: for temporary files.
    """

    def __init__(self, pipeline: Pipeline, environment: Environment, target: str, folder: str) -> None:
        self._pipeline = pipeline
        self._environment = environment
        self._target = target
        self._result = Path(folder) / "result.onnx"

    def judge(self, path: str, samples: tuple[Feeds, ...]) -> str | None:
        """The kind of failure, ``None`` when there is none."""
        running = ["lift"]
        try:
            report = self._run(path, running)
        except Exception as err:  # noqa: BLE001 - whatever a pass raises is what is looked for
            cause: BaseException = err
            while isinstance(cause, PassError) and cause.__cause__ is not None:
                cause = cause.__cause__
            where = f"pass {running[-1]}" if running[-1] not in ("lift", "legalize", "emit") else running[-1]
            return f"exception: {type(cause).__name__} in {where}"
        if not file_is_valid(str(self._result)) and file_is_valid(path):
            return "invalid-model"
        return self._compare(path, samples, report) if samples else None

    def _run(self, path: str, running: list[str]) -> PipelineReport:
        environment = self._environment
        backend = environment.backend(self._target)
        model = environment.lift(path)
        ctx = environment.context(backend, progress=running.append)
        report = environment.run_pipeline(model, self._pipeline, ctx)
        running.append("legalize")
        environment.legalize(model, backend, ctx)
        running.append("emit")
        save(model, self._result, force=True)
        return report

    def _compare(self, path: str, samples: tuple[Feeds, ...], report: PipelineReport) -> str | None:
        """How the numbers fail; nothing is said of a model that does not run before the passes either."""
        from graphopt.verify.opening import CheckOptions, OrtOpener, ReferenceOpener  # lazily: imports ONNX Runtime

        options = CheckOptions(threads=1, kernels=self._environment.kernels)
        for opener in (OrtOpener(options), ReferenceOpener(options)):
            expectation = _expect(path, samples, options, opener)
            if expectation is not None:
                return _kind_of(expectation.check(str(self._result), report.numerics))
        return None


def _kind_of(verdict: Verdict) -> str | None:
    """How the numbers fail: zeros of the other sign are no smaller form of numbers that are far off."""
    wrong = [output for sample in verdict.samples for output in sample.outputs if output.status == "failed"]
    if verdict.failure == "wrong-numbers" and wrong and all(output.note == ZERO_SIGNS for output in wrong):
        return "wrong-numbers: signs of zeros"
    return verdict.failure or None


def _expect(path: str, samples: tuple[Feeds, ...], options: CheckOptions, opener: Opener) -> Expectation | None:
    """What a model does on all samples; ``None`` when this runtime does not run it."""
    from graphopt.verify.expectation import Expectation  # lazily: imports ONNX Runtime
    from graphopt.verify.feeds import Sample

    found = Expectation(path, options)
    try:
        with opener.open(path) as runner:
            found.ask(runner, opener, samples[0])
            found.samples += [Sample(feeds, runner.run(feeds), "user") for feeds in samples[1:]]
    except ExecutionError as err:
        logger.debug("%s does not run the candidate: %s", opener.name, err)
        return None
    return found


def make_judge(passes: bytes, target: str, no_plugin: tuple[str, ...], folder: str) -> Judge:
    """A judge in the child process."""
    environment = Environment(builtin_plugins(no_plugin))
    environment.plugins.load()
    return Judge(pickle.loads(passes), environment, target, folder)  # both sides are this program


# -- passes on their way to a child -----------------------------------------------------------------------------------------------


class _ByName(pickle.Pickler):
    """Writes rules as the name of the variable that holds them: their functions are nowhere else."""

    def reducer_override(self, item: Any) -> Any:  # noqa: ANN401 - as pickle has it
        """How to make an object again, ``NotImplemented`` for what pickle knows itself."""
        if isinstance(item, RewriteRule):
            module, name = item.body.__module__, item.body.__qualname__
            if find_by_name(module, name) is not item:
                raise pickle.PicklingError(f"rule {item.name!r} is no variable of module {module!r}")
            return find_by_name, (module, name)
        return NotImplemented


def find_by_name(module: str, name: str) -> object:
    """What a module calls so, ``None`` when it has nothing of that name."""
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _pickled(pipeline: Pipeline) -> bytes | None:
    """A pipeline as bytes that mean the same in another process, ``None`` if there are none."""
    stream = io.BytesIO()
    try:
        _ByName(stream, protocol=5).dump(pipeline)
    except (pickle.PicklingError, TypeError, AttributeError, ImportError) as err:
        logger.debug("the passes can't be handed to a child process: %s", err)
        return None
    data = stream.getvalue()
    return None if b"__main__" in data else data
