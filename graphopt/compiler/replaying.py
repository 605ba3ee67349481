"""Runs again what a reproducer folder holds, and says whether the failure shows again."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from graphopt.builtin_plugin import builtin_plugins
from graphopt.compiler.arguments import check_disabled
from graphopt.compiler.checker import Checker
from graphopt.compiler.compilation import Compilation
from graphopt.compiler.environment import Environment
from graphopt.compiler.judging import judge
from graphopt.compiler.reproducing import noted_plugins
from graphopt.compiler.request import CheckRequest
from graphopt.errors import ExecutionError, ModelError, PipelineError
from graphopt.hookspecs import hookimpl
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.passes import Pass, RewritePass
from graphopt.plugin_manager import PluginManager
from graphopt.rewriting import EVERYWHERE, Applications, Rule
from graphopt.runtime.isolation import ChildEndedError, cause_of, run_isolated
from graphopt.verify.reproducer import current_versions
from graphopt.verify.reproducer_record import ReproducerRecord, read_record
from graphopt.verify.verdict import FAILURE_KINDS

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a failure.

    Attributes:
        again: whether it fails again, in any way.
        recorded: kind of the failure that the folder is about.
        kind: how it fails now, ``None`` when it does not.
        reason: in a line.
        pipeline: what was run.
        warnings: what is not as it was, one text each.
    """

    again: bool
    recorded: str
    kind: str | None
    reason: str
    pipeline: str
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return asdict(self)


def replay(
    folder: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    trust: bool = False,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
    no_plugin: Sequence[str] = (),
) -> Replayed:
    """Run again what a reproducer folder holds. What is about a crash runs in a child process.

    Args:
        folder: as :func:`graphopt.verify.write_reproducer` wrote it.
        model: the model, when it is not in the folder.
        trust: import passes and rules that the folder names by module; that runs their code.
        progress: told what is going on, in a few words.
        plugins: where passes come from; built-in and installed ones by default. With them all runs in this process.
        no_plugin: installed plugins to leave out.

    Raises:
        ModelError: if that is no reproducer folder, or its model is broken.
        PipelineError: if passes of its pipeline are not there.
        ExecutionError: if its original does not run here, so that nothing can be told.
    """
    record = read_record(folder)
    if record.kind != "crash" or plugins is not None:
        return _replay(
            record, folder, model, trust, progress, builtin_plugins(no_plugin) if plugins is None else plugins
        )
    try:
        return run_isolated(
            replay_here,
            os.path.abspath(folder),
            None if model is None else os.path.abspath(model),
            trust,
            tuple(no_plugin),
        )
    except ChildEndedError as err:
        changes = tuple(_changes(record, builtin_plugins(no_plugin)))
        return Replayed(True, record.kind, "crash", f"it ends the process: {cause_of(err)}", record.pipeline, changes)


def replay_here(folder: str, model: str | None, trust: bool, no_plugin: tuple[str, ...]) -> Replayed:
    """The same in the process that this is called in: the child's."""
    return _replay(read_record(folder), folder, model, trust, None, builtin_plugins(no_plugin))


def _replay(
    record: ReproducerRecord,
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str] | None,
    trust: bool,
    progress: Callable[[str], None] | None,
    found: PluginManager,
) -> Replayed:
    if record.kind not in FAILURE_KINDS:
        raise ModelError(
            f"reproducer {os.fspath(folder)!r}: is about {record.kind!r}, which can't be replayed; there are: {', '.join(FAILURE_KINDS)}"
        )
    if record.imports:
        _register(found, record.imports, trust=trust)
    place = Path(folder)
    source = Path(model) if model is not None else place / record.original if record.original else None
    if source is None:
        raise ModelError(
            f"reproducer {os.fspath(folder)!r}: the model stayed at {record.original_path!r}; give its path with --model"
        )
    try:
        outcome_kind, reason = _run(record, source, place, found, progress or (lambda text: None))
    except PipelineError as err:
        missing = _missing(record, found)
        if not missing:
            raise
        raise PipelineError(f"{err}; {'; '.join(missing)}") from err
    return Replayed(
        outcome_kind is not None, record.kind, outcome_kind, reason, record.pipeline, tuple(_changes(record, found))
    )


def _run(
    record: ReproducerRecord, source: Path, folder: Path, plugins: PluginManager, progress: Callable[[str], None]
) -> tuple[str | None, str]:
    """How the pipeline fails, and why."""
    environment = Environment(plugins)
    refused = check_disabled(environment.plugins, record.disabled)
    others = [name for name in record.disabled if name not in refused]
    pipeline = environment.pipeline(record.pipeline, "", disabled=others)
    skip = frozenset((name, EVERYWHERE) for name in refused)
    work = Compilation(source, environment, pipeline, record.target, progress=progress, seed=record.seed, skip=skip)
    inputs = None if record.inputs is None else folder / record.inputs
    attempt = work.attempt(Applications())
    stated: Numerics = attempt.numerics
    if record.rtol is not None:
        stated = Reassociates(record.rtol) if record.rtol else Exact()
    with Checker(work, CheckRequest(inputs, record.seed, samples=record.samples)) as checker:
        outcome = judge(attempt, checker, stated, strict=record.kind == "invalid-model")
    if outcome.kind is None and not outcome.seen:
        raise ExecutionError(f"nothing can be told: {outcome.reason}")
    return outcome.kind, outcome.reason


def _missing(record: ReproducerRecord, plugins: PluginManager) -> list[str]:
    """What to do about plugins that were in use when the folder was written, and are not now."""
    have = {item.name for item in noted_plugins(plugins)}
    return [
        f"plugin {noted.name!r} is not in use here, as it was when the folder was written: "
        + (f"install {noted.package}" if noted.package else "a program brought it, run graphopt.replay there")
        for noted in record.plugins
        if noted.name not in have
    ]


def _changes(record: ReproducerRecord, plugins: PluginManager) -> Iterator[str]:
    """What is not as it was when the folder was written."""
    now = current_versions()
    for name, version in record.versions.items():
        if name not in ("platform", "system") and now.get(name) != version:
            yield f"{name} is {now.get(name, 'not installed')}, was {version}"
    if not record.plugins:
        return
    have = {item.name: item for item in noted_plugins(plugins)}
    for noted in record.plugins:
        found = have.pop(noted.name, None)
        if found is None:
            yield f"plugin {noted.name!r} ({noted.package or 'of a program'}) is not there"
        elif (found.package, found.api) != (noted.package, noted.api):
            is_now, was = f"{found.package}, hook API {found.api}", f"{noted.package}, hook API {noted.api}"
            yield f"plugin {noted.name!r} is {is_now}; was {was}"
    for name in have:
        yield f"plugin {name!r} was not there"


def _register(plugins: PluginManager, places: Sequence[str], *, trust: bool) -> None:
    """Let passes and rules be known that no plugin registers.

    Raises:
        PipelineError: if they are not trusted, or not there.
    """
    if not trust:
        raise PipelineError(
            f"the folder names code to import ({', '.join(places)}), which was not done; run it with --trust if you know what it does"
        )
    found = [_import(place) for place in places]
    passes = [item for item in found if isinstance(item, type) and issubclass(item, Pass)]
    rules = tuple(item for item in found if isinstance(item, Rule))
    if len(passes) + len(rules) != len(found):
        strange = next(
            place for place, item in zip(places, found, strict=True) if item not in passes and item not in rules
        )
        raise PipelineError(f"{strange!r} is neither a pass class nor a rule, so it can't be replayed")
    if rules:
        name = "+".join(rule.name for rule in rules)
        passes.append(
            type("Rules", (RewritePass,), {"name": name, "rules": rules, "__doc__": "Rules of a reproducer."})
        )

    @hookimpl
    def graphopt_passes() -> list[type[Pass]]:
        return passes

    plugins.register(SimpleNamespace(graphopt_passes=graphopt_passes), name="(reproducer)")


def _import(place: str) -> Any:  # noqa: ANN401 - whatever a module has
    """What stands at ``module:name`` or ``path/to/file.py:name``; a rule class is made a rule."""
    where, _, name = place.rpartition(":")
    try:
        with _current_folder():
            module = _module(where)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as err:
        raise PipelineError(f"{place!r} can't be imported: {type(err).__name__}: {err}") from err
    return found() if isinstance(found, type) and not issubclass(found, Pass) else found


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(f"graphopt_replayed_{Path(where).stem}", where)
    if spec is None or spec.loader is None:
        raise ImportError(f"{where} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _current_folder() -> Iterator[None]:
    """Modules are found in the current folder, too."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
