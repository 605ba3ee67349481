"""What a backend is: it makes a model one that a runtime loads, and writes it in the form that the runtime reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from graphopt.ir import Model, Node
from graphopt.passes import Converter, PassContext
from graphopt.target import Target

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Artifact", "Backend", "ConvertingBackend", "SavingBackend"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a runtime loads: in memory (``proto``, ``data``, or ``files``) or in a file (``path``).

    Attributes:
        kind: what it is, ``"onnx"`` for a model, or the name of another format.
        proto: an ONNX model in memory.
        data: any other format in memory.
        path: a file.
        files: several files in memory, bytes by how their names end, ``{".xml": ..., ".bin": ...}``; the first is the one that is opened.
        names: name in the artifact by name in the model, for inputs and outputs that had to be renamed.
    """

    kind: str
    proto: ModelProto | None = None
    data: bytes | None = None
    path: Path | None = None
    files: Mapping[str, bytes | memoryview] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [item is not None for item in (self.proto, self.data, self.path, self.files)]
        if sum(given) != 1:
            raise ValueError(f"an artifact is one of proto, data, path and files, found {sum(given)} of them")
        if self.files is not None and not self.files:
            raise ValueError("an artifact of files has no file; state at least the one that is opened")


class Backend(Protocol):
    """Turns a model into what one runtime loads.

    Attributes:
        name: kebab-case, unique among all plugins, what ``--target`` takes.
        target: what the runtime can do.
    """

    @property
    def name(self) -> str:
        """Name of the backend."""

    @property
    def target(self) -> Target:
        """What the runtime can do."""

    def legalize(self, model: Model, ctx: PassContext) -> str:
        """Pipeline text that makes a model one that :meth:`emit` accepts; empty when nothing is to do.

        Shared transforms are named in the text, never imported. The caller runs it.
        """

    def emit(self, model: Model) -> Artifact:
        """The artifact for a legalized model, which is not changed.

        Raises:
            UnsupportedOpError: if a node cannot be expressed; names it and says why.
        """

    def supports(self, node: Node) -> str | None:
        """Why the runtime cannot run a node, ``None`` when it can (or when nobody knows)."""


@runtime_checkable
class SavingBackend(Protocol):
    """A backend that writes files itself, so that weights are never in memory together. Of any other one, what it emits is written."""

    def save(self, model: Model, path: Path, *, external_data: bool | None, force: bool) -> list[Path]:
        """Write a legalized model.

        Args:
            model: it; not changed.
            path: the main file.
            external_data: whether weights go to a file beside it; ``None`` lets the size decide.
            force: whether files that are there may be replaced.

        Returns:
            The files written.

        Raises:
            OutputError: if the files exist, or cannot be written.
        """


@runtime_checkable
class ConvertingBackend(Protocol):
    """A backend that builds networks layer by layer, with a converter for each operator."""

    def with_converters(self, converters: Sequence[Converter]) -> Backend:
        """The same backend with the converters that plugins bring, built-in ones among them."""
