"""Models run and compared from Python: a session-like runner, and two models side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from graphopt.backends.onnx.files import save
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.environment import Environment
from graphopt.compiler.result import Optimized
from graphopt.errors import ExecutionError
from graphopt.ir import Model
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.verify import CheckOptions, Verdict, check_equivalence

if TYPE_CHECKING:
    from graphopt.runtime.base import Datum, Feeds, Outputs, ValueSpec

__all__ = ["Session", "compare"]


class _OnDisk:
    """A model as a file that a runtime can load; made in a temporary folder unless it is one already."""

    def __init__(self, source: object, plugins: PluginManager | None) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == ".onnx":
            self.path = os.fspath(source)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-", ignore_cleanup_errors=True)
        self.path = os.path.join(self._folder.name, "model.onnx")
        try:
            self._write(source, plugins)
        except BaseException:
            self.close()
            raise

    def _write(self, source: object, plugins: PluginManager | None) -> None:
        if isinstance(source, Optimized):
            source.save(self.path)
        else:
            environment = Environment(plugins)
            model = source if isinstance(source, Model) else environment.lift(source)
            save(environment.legalized(model, "onnxruntime"), self.path)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Session:
    """A model that is ready to run in ONNX Runtime, whatever it came from.

    Args:
        source: path, bytes, ``ModelProto``, IR, :class:`Optimized`, or what a plugin's frontend accepts.
        optimize: whether ONNX Runtime may optimize it further; off gives the results that checks compare with.
        threads: within an operator, ``None`` for all cores.
        plugins: where frontends come from.

    Raises:
        ModelError: if the model is broken.
        ExecutionError: if ONNX Runtime does not load it.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, labels = digits_test()
        >>> with Session(digits_model()) as session:
        ...     logits = session.run({"image": images})["logits"]
        >>> logits.shape
        (360, 10)
    """

    def __init__(
        self, source: object, *, optimize: bool = True, threads: int | None = None, plugins: PluginManager | None = None
    ) -> None:
        self._file = _OnDisk(source, plugins)
        try:
            self._runner = OrtRunner(self._file.path, optimize=optimize, threads=threads, low_memory=False)
        except BaseException:
            self._file.close()
            raise

    @property
    def inputs(self) -> Sequence[ValueSpec]:
        """What must be fed: name and type each."""
        return self._runner.inputs

    @property
    def outputs(self) -> Sequence[ValueSpec]:
        """What comes back: name and type each."""
        return self._runner.outputs

    def run(self, feeds: Mapping[str, Datum]) -> Outputs:
        """Outputs by name.

        Args:
            feeds: an array (list for a sequence, ``None`` for an empty optional) for each input, by name.

        Raises:
            ExecutionError: if an input is missing, unknown or of another type, or ONNX Runtime fails.
        """
        return self._runner.run(feeds)

    def close(self) -> None:
        """Release the model and its memory."""
        self._runner.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def compare(
    a: object,
    b: object,
    *,
    inputs: str | os.PathLike[str] | Feeds | None = None,
    rtol: float = 1e-4,
    seed: int = 0,
    samples: int = 4,
    plugins: PluginManager | None = None,
) -> Verdict:
    """Whether model ``b`` computes what model ``a`` computes, on the same inputs, with ONNX Runtime's optimizer off.

    Args:
        a: the model to compare with; whatever :class:`Session` takes.
        b: the other one.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        rtol: allowed difference in float32, relative to the largest numbers of an output; 0 allows none.
        seed: of drawn inputs.
        samples: how many sets of inputs are drawn.
        plugins: where frontends come from.

    Raises:
        ModelError: if a model is broken.
        ExecutionError: if ``inputs`` are not what ``a`` takes, or a number is too small.

    Example:
        >>> from graphopt.data import digits_model
        >>> compare(digits_model(), digits_model()).bit_exact
        True
    """
    for name, number, least in (("seed", seed, 0), ("samples", samples, 1), ("rtol", rtol, 0)):
        expect_type(name, number, (int, float), "a number")
        if not number >= least:
            raise ExecutionError(f"{name} is {number}, expected {least} or more")
    numerics: Numerics = Reassociates(rtol) if rtol else Exact()
    options = CheckOptions(seed=seed, samples=samples)
    with _OnDisk(a, plugins) as first, _OnDisk(b, plugins) as second:
        return check_equivalence(first.path, second.path, numerics=numerics, inputs=inputs, options=options)
