"""The parts of a model run one after the other, each in the runtime of its backend; values that nobody reads any more go at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from graphopt.errors import ExecutionError, GraphoptError
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Lazy
from graphopt.runtime.base import Datum, Feeds, LoadedModel, Outputs, Runner, check_feeds
from graphopt.runtime.hybrid.manifest import MANIFEST, HybridManifest, HybridPart, check_files, read_manifest, specs_of
from graphopt.runtime.runtimes import RunOptions, Runtime, open_file, why_unavailable

__all__ = ["HybridRunner", "HybridRuntime"]


class HybridRunner(LoadedModel):
    """A model in parts.

    Args:
        manifest: what the parts are.
        opened: gives a runner for a part.

    Raises:
        ExecutionError: if a part does not load; those before are closed again.
    """

    def __init__(self, manifest: HybridManifest, opened: Callable[[HybridPart], Runner]) -> None:
        self._inputs = specs_of(manifest.inputs)
        self._outputs = specs_of(manifest.outputs)
        self._parts = manifest.parts
        self._done = _last_readers(manifest)
        read = {*manifest.outputs, *(name for part in manifest.parts for name in part.inputs)}
        self._read_later = [[name for name in part.outputs if name in read] for part in manifest.parts]
        with ExitStack() as stack:
            self._runners = [stack.enter_context(opened(part)) for part in manifest.parts]
            self._stack = stack.pop_all()

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name.

        Raises:
            ExecutionError: if a part fails; names it.
        """
        check_feeds(self, feeds)
        values: dict[str, Datum] = dict(feeds)
        for place, (part, runner) in enumerate(zip(self._parts, self._runners, strict=True)):
            try:
                values |= runner.run({name: values[name] for name in part.inputs})
            except GraphoptError as err:
                raise ExecutionError(f"part {place} of {len(self._parts)} ({part.backend}): {err}") from err
            for name in self._read_later[place]:
                if name not in values:
                    raise ExecutionError(f"part {place} of {len(self._parts)} ({part.backend}) gave no {name!r}")
            for name in self._done[place]:
                values.pop(name, None)
        return {spec.name: values[spec.name] for spec in self._outputs}

    def close(self) -> None:
        """Close all parts."""
        self._stack.close()


def _last_readers(manifest: HybridManifest) -> list[list[str]]:
    """By part, the values that nothing reads after it."""
    last: dict[str, int] = {}
    for place, part in enumerate(manifest.parts):
        last |= dict.fromkeys((*part.inputs, *part.outputs), place)
    return [
        [name for name, reader in last.items() if reader == place and name not in manifest.outputs]
        for place in range(len(manifest.parts))
    ]


@dataclass(frozen=True)
class HybridRuntime:
    """Opens folders of parts.

    Attributes:
        runtimes: what runs the models of each backend.
    """

    runtimes: Mapping[str, Runtime | Lazy]

    suffix: ClassVar[str] = MANIFEST
    numerics: ClassVar[Numerics] = Reassociates(1e-3)

    @property
    def travels(self) -> bool:
        """Whether all of it can be opened in a child process."""
        return all(isinstance(item, Lazy) for item in self.runtimes.values())

    def manifest(self, path: Path) -> HybridManifest:
        """The manifest of a folder whose parts run here.

        Args:
            path: the manifest.

        Raises:
            ExecutionError: if it does not make sense, or a part does not run here.
        """
        folder = path.parent
        found = read_manifest(folder)
        for name in dict.fromkeys(part.backend for part in found.parts):
            if name not in self.runtimes:
                raise ExecutionError(
                    f"{str(path)!r} has parts for backend {name[:40]!r}, which nothing here runs; install its plugin"
                )
            reason = why_unavailable(name, self.runtimes[name])
            if reason is not None:
                raise ExecutionError(
                    f"{str(folder)!r} has parts for backend {name!r}, which does not run here: {reason}"
                )
        return found

    def open(self, path: Path, options: RunOptions) -> Runner:
        """A runner for a folder.

        Args:
            path: its manifest.
            options: threads and the like, for each part.

        Raises:
            ExecutionError: if the manifest does not make sense, files are not those that were written, or a part does not run here.
        """
        folder, manifest = path.parent, self.manifest(path)
        check_files(folder, manifest)
        return HybridRunner(
            manifest, lambda part: open_file(part.backend, self.runtimes[part.backend], folder / part.file, options)
        )
