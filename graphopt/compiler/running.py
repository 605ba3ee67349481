"""Models run and compared from Python: a session-like runner, and two models side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, opener_for
from graphopt.compiler.environment import Environment
from graphopt.compiler.result import Optimized
from graphopt.errors import ExecutionError
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.plugin_manager import PluginManager
from graphopt.runtime import RunOptions
from graphopt.verify import CheckOptions, Verdict, check_equivalence

if TYPE_CHECKING:
    from graphopt.runtime.base import Datum, Feeds, Outputs, ValueSpec

__all__ = ["Session", "compare"]


def _file(source: object, backend: str | None, environment: Environment) -> RunnableFile:
    """A model as a file of a backend; of an optimized one, of the backend that it was made for."""
    if not isinstance(source, Optimized):
        return RunnableFile(source, backend or DEFAULT_BACKEND, environment)
    return RunnableFile(source.model, backend or source.report.target, environment)


class Session:
    """A model that is ready to run, whatever it came from, in ONNX Runtime or in the runtime of another backend.

    Args:
        source: path, bytes, ``ModelProto``, IR, :class:`Optimized`, or what a plugin's frontend accepts. A file whose name ends as those of
            the backend do is opened as it is.
        optimize: whether the runtime may optimize it further; off gives the results that checks compare with.
        threads: within an operator, ``None`` for all cores.
        backend: name of the backend; by default ONNX Runtime, or what an :class:`Optimized` was made for.
        plugins: where frontends and backends come from.

    Raises:
        ModelError: if the model is broken.
        ExecutionError: if the runtime does not load it, or the backend has none.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, labels = digits_test()
        >>> with Session(digits_model()) as session:
        ...     logits = session.run({"image": images})["logits"]
        >>> logits.shape
        (360, 10)
    """

    def __init__(
        self,
        source: object,
        *,
        optimize: bool = True,
        threads: int | None = None,
        backend: str | None = None,
        plugins: PluginManager | None = None,
    ) -> None:
        self._file = _file(source, backend, Environment(plugins))
        try:
            self._runner = self._file.open(RunOptions(threads, optimize=optimize))
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
            ExecutionError: if an input is missing, unknown or of another type, or the runtime fails.
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
    backend: str | None = None,
    plugins: PluginManager | None = None,
) -> Verdict:
    """Whether model ``b`` computes what model ``a`` computes, on the same inputs, with ONNX Runtime's optimizer off.

    Model ``a`` runs in ONNX Runtime, and so does ``b`` unless another backend is named, or it was made for one.

    Args:
        a: the model to compare with; whatever :class:`Session` takes.
        b: the other one.
        inputs: an ``.npz`` file or arrays by name, drawn when ``None``.
        rtol: allowed difference in float32, relative to the largest numbers of an output; 0 allows none.
        seed: of drawn inputs.
        samples: how many sets of inputs are drawn.
        backend: name of the backend that runs ``b``.
        plugins: where frontends and backends come from.

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
    environment = Environment(plugins)
    with _file(a, DEFAULT_BACKEND, environment) as first, _file(b, backend, environment) as second:
        return check_equivalence(
            first.path,
            second.path,
            numerics=numerics,
            inputs=inputs,
            options=options,
            opener=opener_for(second, options),
        )
