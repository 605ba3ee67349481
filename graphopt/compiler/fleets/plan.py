"""Which models a fleet has, where each result goes, and what can be told to be wrong before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphopt.compiler.environment import Environment
from graphopt.compiler.fleets.job import versions_of
from graphopt.compiler.fleets.manifest import MANIFEST, Manifest, ManifestEntry, digest_of_model
from graphopt.errors import ModelError, OutputError

__all__ = ["FleetPlan", "PlannedModel", "find_models", "plan_fleet"]

_SUFFIX: Final = ".onnx"


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A model, and where its result goes.

    Attributes:
        source: the model.
        name: of the result, relative to the folder; of the model itself, without one.
        wanted: what the manifest will say, without the files; ``None`` when the model can't be read.
        done: whether the result is there already.
    """

    source: Path
    name: str
    wanted: ManifestEntry | None = None
    done: bool = False


@dataclass(frozen=True)
class FleetPlan:
    """What is to be done.

    Attributes:
        folder: where results go, ``None`` for nowhere.
        models: in the order they were named.
        manifest: of the folder.
    """

    folder: Path | None
    models: tuple[PlannedModel, ...]
    manifest: Manifest


def find_models(
    paths: Iterable[Path], *, suffix: str = _SUFFIX, apart_from: Path | None = None
) -> list[tuple[Path, str]]:
    """Models with the names of their results: of a file its own, of a folder those of all models in it, relative to the folder.

    Args:
        paths: files and folders.
        suffix: what names of results end in.
        apart_from: a folder inside of one that is not searched, for results are there.

    Raises:
        ModelError: if a folder has no model in it, or nothing is there.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if not path.is_dir():
            if not path.exists():
                raise ModelError(f"{str(path)!r} cannot be read: no such file or folder; check the path")
            found.append((path, path.with_suffix(suffix).name))
            continue
        here, results = path.resolve(), None if apart_from is None else apart_from.resolve()
        results = results if results is not None and here in results.parents else None
        inside = sorted(
            item
            for item in path.rglob(f"*{_SUFFIX}")
            if item.is_file() and (results is None or results not in item.resolve().parents)
        )
        if not inside:
            raise ModelError(f"folder {str(path)!r} has no {_SUFFIX} file in it; name models, or a folder with some")
        found += [(item, item.relative_to(path).with_suffix(suffix).as_posix()) for item in inside]
    return found


def plan_fleet(
    paths: Sequence[Path],
    folder: Path | None,
    environment: Environment,
    settings: Mapping[str, str],
    *,
    suffix: str = _SUFFIX,
    force: bool = False,
) -> FleetPlan:
    """What is to be done; nothing is written.

    Args:
        paths: models, and folders of models.
        folder: where results go, ``None`` for nowhere.
        environment: plugins.
        settings: how models are made, for the manifest.
        suffix: what names of results end in.
        force: whether files that are there may be replaced.

    Raises:
        ModelError: if there is no such model.
        OutputError: if names clash, a result would replace its original, or a file that is there, and may not.
    """
    found = find_models(paths, suffix=suffix, apart_from=folder)
    if folder is None:
        return FleetPlan(None, tuple(PlannedModel(source, str(source)) for source, _ in found), Manifest())
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{str(folder)!r} is a file; several models need a folder, choose another path")
    _refuse_clashes(found, folder)
    manifest = Manifest.read(folder)
    versions = versions_of(environment.plugins)
    models = [_planned(source, name, folder, manifest, environment, settings, versions) for source, name in found]
    if not force:
        _refuse_replacing(models, folder, manifest)
    return FleetPlan(folder, tuple(models), manifest)


def _planned(
    source: Path,
    name: str,
    folder: Path,
    manifest: Manifest,
    environment: Environment,
    settings: Mapping[str, str],
    versions: dict[str, str],
) -> PlannedModel:
    try:
        digest = digest_of_model(source, environment)
    except OSError:  # optimizing it will say what is wrong
        return PlannedModel(source, name)
    wanted = ManifestEntry(str(source), digest, dict(settings), versions, {})
    return PlannedModel(source, name, wanted, done=manifest.holds(folder, name, wanted))


def _refuse_clashes(found: Sequence[tuple[Path, str]], folder: Path) -> None:
    originals = {os.path.realpath(source) for source, _ in found}
    taken: dict[str, Path] = {}
    for source, name in found:
        place = os.path.normcase(name)
        if place in taken:
            raise OutputError(
                f"{str(taken[place])!r} and {str(source)!r} would both be saved as {name!r}; rename one, or give the folder "
                "that both are in"
            )
        taken[place] = source
        if os.path.realpath(folder / name) in originals:
            raise OutputError(f"{str(folder / name)!r} is a model that is to be optimized; choose another folder")
        if name == MANIFEST:
            raise OutputError(f"{str(source)!r} would take the place of the manifest; rename it")


def _refuse_replacing(models: Sequence[PlannedModel], folder: Path, manifest: Manifest) -> None:
    for model in models:
        place = folder / model.name
        if model.done or not (place.exists() or place.is_symlink()):
            continue
        why = "was made from another model, or in another way" if model.name in manifest.models else "exists already"
        raise OutputError(f"{str(place)!r} {why}; choose another folder, or allow it to be replaced (--force)")
