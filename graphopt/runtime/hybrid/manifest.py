"""What a folder of parts says of itself: which files, made for which backends, with which inputs and outputs, in which order they run.

The folder may come from a stranger. Names of files are names in the folder and nothing else, no file is a link, and each has the digest
that is stated; parts read only what is fed or given before them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from graphopt.errors import ExecutionError, GraphoptError
from graphopt.ir import Dim, DType, TensorType, Type
from graphopt.ir.cursor import Cursor
from graphopt.ir.type_parser import parse_type
from graphopt.passes.json_files import read_json_file
from graphopt.runtime.base import ValueSpec

__all__ = [
    "FORMAT",
    "KIND",
    "MANIFEST",
    "HybridManifest",
    "HybridPart",
    "check_files",
    "digests_of",
    "is_hybrid",
    "read_manifest",
    "specs_of",
    "type_text",
    "write_manifest",
]

#: Name of the manifest in its folder.
MANIFEST: Final = "manifest.json"
#: What such a manifest calls itself, and the version of its form.
KIND: Final = "graphopt-hybrid"
FORMAT: Final = 1
_AGAIN: Final = "build the folder again: graphopt build --hybrid"


@dataclass(frozen=True)
class HybridPart:
    """A part of a model.

    Attributes:
        backend: what it was made for, and what runs it.
        file: the file that is opened.
        files: SHA-256 of each file that belongs to it, by name.
        inputs: names of the values that it reads, fed or given by parts before.
        outputs: names of the values that it gives.
        nodes: how many nodes it has.
        flops: operations, as far as they are known; sizes that are not fixed count as 1.
        built: how it was made, as its backend tells: library, version, profiles.
    """

    backend: str
    file: str
    files: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int = 0
    flops: int = 0
    built: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HybridManifest:
    """A model in parts.

    Attributes:
        kind: :data:`KIND`.
        format: :data:`FORMAT`.
        inputs: type of each input of the model, by name, in order.
        outputs: type of each output.
        parts: in the order in which they run.
        target: what takes as much as it can.
        share: which part of the operations that does, 0 to 1.
        source: the model that was built.
        source_sha256: of its file, ``""`` if it was none.
        pipeline: what it went through.
        precision: of its floats.
        versions: of graphopt and of the libraries.
    """

    kind: str
    format: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    parts: tuple[HybridPart, ...]
    target: str = ""
    share: float = 0.0
    source: str = ""
    source_sha256: str = ""
    pipeline: str = ""
    precision: str = ""
    versions: dict[str, str] = field(default_factory=dict)


def is_hybrid(path: str | os.PathLike[str]) -> bool:
    """Whether something is a folder with a manifest in it."""
    return os.path.isfile(os.path.join(path, MANIFEST))


def read_manifest(folder: Path) -> HybridManifest:
    """The manifest of a folder, seen to make sense.

    Raises:
        ExecutionError: if there is none, it is not understood, or parts do not fit together; in one line.
    """
    where = f"the manifest {str(folder / MANIFEST)!r}"
    found = read_json_file(folder / MANIFEST, HybridManifest, where, ExecutionError, _AGAIN)
    if found.kind != KIND:
        raise ExecutionError(f"{where} is of kind {found.kind[:40]!r}, expected {KIND!r}; {_AGAIN}")
    if found.format != FORMAT:
        raise ExecutionError(
            f"{where} has form {found.format}, expected {FORMAT}; use that version of graphopt, or {_AGAIN}"
        )
    known = set(found.inputs)
    for place, part in enumerate(found.parts):
        for name in {part.file, *part.files}:
            if not _is_plain(name):
                raise ExecutionError(
                    f"{where}: part {place} has the file {name[:80]!r}, expected a name in the folder; {_AGAIN}"
                )
        if part.file not in part.files:
            raise ExecutionError(f"{where}: part {place} states no digest of {part.file!r}; {_AGAIN}")
        _refuse_unknown(f"{where}: part {place} reads", part.inputs, known)
        for name in part.outputs:
            if name in known:
                raise ExecutionError(f"{where}: part {place} gives {name!r}, which is there before; {_AGAIN}")
            known.add(name)
    _refuse_unknown(f"{where}: the model gives", found.outputs, known)
    return found


def write_manifest(folder: Path, manifest: HybridManifest) -> None:
    """Write the manifest of a folder.

    Raises:
        OSError: if that fails.
    """
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def digests_of(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of some files by their names.

    Raises:
        OSError: if one can't be read.
    """
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _is_plain(name: str) -> bool:
    """Whether a text can only be the name of a file in a folder, on every system."""
    return name not in ("", ".", "..") and not any(mark in name for mark in "/\\:\0")


def _refuse_unknown(what: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise ExecutionError(f"{what} {name!r}, which nothing before gives; {_AGAIN}")


def check_files(folder: Path, manifest: HybridManifest) -> None:
    """See that all files are there, are files, and are those that were written.

    Raises:
        ExecutionError: naming the first that is not.
    """
    for part in manifest.parts:
        for name, digest in part.files.items():
            path = folder / name
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode):  # a link may lead anywhere
                    raise ExecutionError(f"{str(path)!r} is no regular file; {_AGAIN}")
                found = digests_of([path])[name]
            except OSError as err:
                raise ExecutionError(f"{str(path)!r} can't be read: {err.strerror or err}; {_AGAIN}") from err
            if found != digest:
                raise ExecutionError(
                    f"{str(path)!r} is not the file that the manifest names: its digest is another one; {_AGAIN}"
                )


def specs_of(types: dict[str, str]) -> tuple[ValueSpec, ...]:
    """Inputs or outputs of a model as runners declare them.

    Raises:
        ExecutionError: if a type is not understood.

    Example:
        >>> [str(spec) for spec in specs_of({"x": "float[batch, 3]"})]
        ['x: float[batch, 3]']
    """
    return tuple(ValueSpec(name, _type(name, text)) for name, text in types.items())


def type_text(kind: Type | None) -> str:
    """A type as manifests have it. Sizes whose names can't be read back are left open.

    Example:
        >>> from graphopt.ir import SymbolicDim
        >>> type_text(TensorType(DType.FLOAT, (SymbolicDim("n") * 2, SymbolicDim("past + new"), 3)))
        'float[n*2, ?, 3]'
    """
    if isinstance(kind, TensorType) and kind.shape is not None:
        kind = kind.with_shape(tuple(size if _reads_back(kind.dtype, size) else None for size in kind.shape))
    return "?" if kind is None else str(kind)


def _reads_back(dtype: DType, size: Dim) -> bool:
    alone = TensorType(dtype, (size,))
    try:
        return _type("", str(alone)) == alone
    except ExecutionError:
        return False


def _type(name: str, text: str) -> Type | None:
    try:
        cursor = Cursor(text, f"the type of {name!r} in the manifest")
        found = parse_type(cursor)
    except GraphoptError as err:
        raise ExecutionError(f"{' '.join(str(err).split())}; {_AGAIN}") from err
    except RecursionError as err:
        raise ExecutionError(f"the type {text[:80]!r} of {name!r} in the manifest is too deep; {_AGAIN}") from err
    if not cursor.at_end:
        raise ExecutionError(f"the type {text[:80]!r} of {name!r} in the manifest is not understood; {_AGAIN}")
    return found
