"""Models as files of a backend, or as folders of parts for several, and these opened in the runtimes that they are for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from graphopt.backends.base import ConvertingBackend
from graphopt.backends.tensorrt.open_sizes import refuse_open_sizes
from graphopt.compiler.engines.sizes import fix_sizes
from graphopt.compiler.saving import save_for
from graphopt.compiler.targets import find_backend
from graphopt.errors import ExecutionError, GraphoptError, PipelineError

if TYPE_CHECKING:
    from graphopt.compiler.environment import Environment
    from graphopt.passes import Lazy
    from graphopt.runtime import Runner, RunOptions, Runtime
    from graphopt.transforms.input_sizes import InputSizes
    from graphopt.verify.opening import CheckOptions, RuntimeOpener

__all__ = [
    "DEFAULT_BACKEND",
    "HYBRID",
    "RunnableFile",
    "backends_for",
    "builds_engines",
    "find_runtime",
    "judged_as_onnx",
    "opener_for",
    "suffix_of",
]

#: What runs models when nobody says.
DEFAULT_BACKEND: Final = "onnxruntime"
#: What runs a folder of parts: the backend of each.
HYBRID: Final = "hybrid"
_ONNX: Final = ".onnx"
#: How names of models end that no runtime of a plugin claims.
_MODELS: Final = frozenset({_ONNX, ".ort", ".pb", ".pbtxt", ".textproto", ".model", ""})


def find_runtime(environment: Environment, name: str) -> Runtime | Lazy:
    """What runs the models of a backend, or of the backend for a target, as it was registered.

    Raises:
        PipelineError: if there is no such backend.
        ExecutionError: if nobody brings a runtime for it.
    """
    plugins = environment.plugins
    if name in plugins.targets:
        name = find_backend(plugins, name).name
    if name not in plugins.backends:
        raise PipelineError(plugins.backends.unknown(name))
    if name not in plugins.runtimes:
        runs = ", ".join(known for known in plugins.runtimes if known in plugins.backends)
        raise ExecutionError(
            f"backend {name!r} of plugin {plugins.backends.owner(name)!r} has no runtime: its models can be saved, not run; "
            f"backends that run: {runs}"
        )
    return cast("Runtime | Lazy", plugins.runtimes.stated(name))


def _suffix(environment: Environment, name: str) -> str:
    """What the names of a backend's files end in."""
    from graphopt.runtime.runtimes import load_runtime  # lazily: the check of a model for ONNX Runtime does without

    return load_runtime(name, find_runtime(environment, name)).suffix


def suffix_of(environment: Environment, name: str) -> str:
    """What the names of files for a target end in; ``.onnx`` where nobody says."""
    try:
        return _suffix(environment, name)
    except GraphoptError:  # without a runtime, or something that it needs
        return _ONNX


def judged_as_onnx(environment: Environment, name: str) -> bool:
    """Whether models for a target are made and judged as ONNX: it runs them, or graphopt builds engines of them.

    Raises:
        PipelineError: if there is no such target.
    """
    return builds_engines(environment, name) or suffix_of(environment, name) == _ONNX


def builds_engines(environment: Environment, name: str) -> bool:
    """Whether models for a target become engines, which are for known sizes."""
    served = environment.backend(name).name
    return isinstance(environment.plugins.backends.find(served), ConvertingBackend)


def backends_for(path: str | os.PathLike[str], names: Sequence[str], environment: Environment) -> list[str]:
    """Which of some backends run a file: a model runs in all of them, a file in the form of one only there.

    A folder of parts runs in the backends of its parts, :data:`HYBRID`; a file in the form of another backend runs there when only the
    default one is named.

    Raises:
        PipelineError: if there is no such backend.
        ExecutionError: if nobody brings a runtime for one.
    """
    end = Path(path).suffix.lower()
    suffixes = {name: _suffix(environment, name) for name in names}
    if os.path.isdir(path):
        return [HYBRID]
    own = [name for name in names if end == suffixes[name] != _ONNX]
    if not own and list(names) == [DEFAULT_BACKEND] and end not in _MODELS:
        known = environment.plugins.runtimes
        own = [name for name in known if not known.missing(name) and _suffix(environment, name) == end]
    return own or list(names)


class RunnableFile:
    """A model as a file that the runtime of a backend opens. Use it in a ``with`` statement: it may lie in a temporary folder.

    A file whose name ends as those of the backend do is opened as it is, and so is a folder of parts; anything else is read, legalized and
    saved first.

    Args:
        source: path, bytes, message, IR, or what a plugin's frontend accepts.
        backend: name of the backend.
        environment: plugins.
        sizes: sizes of dynamic dimensions by name, which engines are built for; other models keep the names.
        inputs: an ``.npz`` file whose arrays say such sizes too.

    Attributes:
        source: path of the model, for people.
        backend: name of the backend.
        path: the file.
        runtime: what runs it, as it was registered.
        suffix: what the names of files of the backend end in.
        sizes: that its inputs were given, of a model whose form is for fixed sizes; ``None`` otherwise.

    Raises:
        ModelError: if the model is broken.
        UnsupportedOpError: if the backend has no form for a node.
        ExecutionError: if the backend has no runtime, or that does not run here.
    """

    def __init__(
        self,
        source: object,
        backend: str,
        environment: Environment,
        *,
        sizes: Mapping[str, int] | None = None,
        inputs: Path | None = None,
    ) -> None:
        self.source = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
        self.backend = backend
        self.sizes: InputSizes | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if isinstance(source, str | os.PathLike) and os.path.isdir(source):
            self._open_folder(source, environment)
            return
        self.runtime: Runtime | Lazy = find_runtime(environment, backend)
        self.suffix = suffix = _suffix(environment, backend)
        if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == suffix:
            self.path = os.fspath(source)
            if suffix != _ONNX and os.path.isfile(source):
                self._refuse_unavailable()
            return
        model = environment.lift(source)
        if suffix != _ONNX:
            self._refuse_unavailable()
            if builds_engines(environment, backend):
                self.sizes = fix_sizes(model, sizes or {}, inputs, environment)
                what = f"backend {backend!r} makes an engine for known sizes"
                refuse_open_sizes(model, what, "--dim", "--inputs FILE.npz")
        model = environment.legalized(model, backend)
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-", ignore_cleanup_errors=True)
        self.path = os.path.join(self._folder.name, f"model{suffix}")
        try:
            save_for(environment.backend(backend), model, Path(self.path))
        except BaseException:
            self.close()
            raise

    def _refuse_unavailable(self) -> None:
        """Say what lacks before a model is made that can't run."""
        from graphopt.runtime.runtimes import why_unavailable  # lazily, as above

        reason = why_unavailable(self.backend, self.runtime)
        if reason is not None:
            raise ExecutionError(f"backend {self.backend!r} does not run here: {reason}")

    def _open_folder(self, folder: str | os.PathLike[str], environment: Environment) -> None:
        from graphopt.runtime.hybrid.manifest import MANIFEST, is_hybrid  # lazily: few models are folders
        from graphopt.runtime.hybrid.runner import HybridRuntime

        if not is_hybrid(folder):
            raise ExecutionError(
                f"{os.fspath(folder)!r} is a folder without {MANIFEST!r}; pass a model, or a folder that graphopt build --hybrid made"
            )
        names = [name for name in environment.plugins.runtimes if name in environment.plugins.backends]
        self.backend, self.suffix = HYBRID, MANIFEST
        runtime = HybridRuntime({name: find_runtime(environment, name) for name in names})
        self.path = os.path.join(folder, MANIFEST)
        runtime.manifest(Path(self.path))  # says what is wrong before anything is loaded
        self.runtime = runtime

    @property
    def is_model(self) -> bool:
        """Whether the source was a model, and not a file in the form of the backend."""
        return self._folder is not None or self.suffix == _ONNX

    def open(self, options: RunOptions, *, isolate: bool = False) -> Runner:
        """A runner for the file.

        Args:
            options: threads and the like.
            isolate: whether a crash of the runtime must not end this process.

        Raises:
            ExecutionError: if the runtime does not load the file.
        """
        from graphopt.runtime.runtimes import open_file, open_file_isolated  # lazily, as above

        opening = open_file_isolated if isolate else open_file
        return opening(self.backend, self.runtime, self.path, options)

    def close(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def opener_for(file: RunnableFile, options: CheckOptions) -> RuntimeOpener | None:
    """How a check opens a file; ``None`` for an ONNX model, which runs where the original does."""
    from graphopt.verify.opening import RuntimeOpener  # lazily: imports ONNX Runtime

    return None if file.suffix == _ONNX else RuntimeOpener(file.backend, file.runtime, options)
