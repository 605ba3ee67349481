"""What runs a model: inputs by name in, outputs by name out, whatever the runtime."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeAlias, runtime_checkable

from graphopt.errors import ExecutionError
from graphopt.ir import Array, TensorType, Type

__all__ = ["Datum", "Feeds", "LoadedModel", "Outputs", "Runner", "ValueSpec", "check_feeds"]

#: One input or output: a tensor, a sequence (list), a map (dict), or an optional without a value (``None``).
Datum: TypeAlias = "Array | list[Datum] | dict[object, object] | None"
Feeds = Mapping[str, Datum]
Outputs = dict[str, Datum]


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """An input or output of a model as its runtime declares it.

    Attributes:
        name: as in the model.
        type: element type and shape as far as they are declared, ``None`` when nothing is.
    """

    name: str
    type: Type | None

    @property
    def tensor(self) -> TensorType | None:
        """The type when this is a tensor, else ``None``."""
        return self.type if isinstance(self.type, TensorType) else None

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@runtime_checkable
class Runner(Protocol):
    """A model that is ready to run. Close it, or use it in a ``with`` statement, to give its memory back."""

    @property
    def inputs(self) -> Sequence[ValueSpec]:
        """What must be fed, in the order of the model."""

    @property
    def outputs(self) -> Sequence[ValueSpec]:
        """What comes back, in the order of the model."""

    @property
    def overridable(self) -> Sequence[ValueSpec]:
        """Inputs that have a default and may be fed."""

    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name.

        Args:
            feeds: an array (list, dict, ``None``) for each input, by name.

        Raises:
            ExecutionError: if the runtime fails, or ``feeds`` are not what the model takes.
        """

    def close(self) -> None:
        """Release the model. Running it afterwards is an error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LoadedModel(abc.ABC):
    """What runners have in common: the interface of the model, which they state when it is loaded, and the ``with`` statement."""

    _inputs: Sequence[ValueSpec] = ()
    _outputs: Sequence[ValueSpec] = ()
    _overridable: Sequence[ValueSpec] = ()

    @property
    def inputs(self) -> Sequence[ValueSpec]:
        """What must be fed, in the order of the model."""
        return self._inputs

    @property
    def outputs(self) -> Sequence[ValueSpec]:
        """What comes back, in the order of the model."""
        return self._outputs

    @property
    def overridable(self) -> Sequence[ValueSpec]:
        """Inputs that have a default and may be fed."""
        return self._overridable

    @abc.abstractmethod
    def run(self, feeds: Feeds) -> Outputs:
        """Outputs by name; see :class:`Runner`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the model. Running it afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_feeds(runner: Runner, feeds: Feeds) -> None:
    """See that feeds have the names that a runner takes.

    Raises:
        ExecutionError: naming the first input that is missing, or that the model does not have.
    """
    known = [spec.name for spec in runner.inputs]
    allowed = {*known, *(spec.name for spec in runner.overridable)}
    for name in known:
        if name not in feeds:
            raise ExecutionError(f"input {name!r} is missing; the model takes: {', '.join(known)}")
    for name in feeds:
        if name not in allowed:
            raise ExecutionError(f"the model has no input {name!r}; it takes: {', '.join(known) or 'none'}")
