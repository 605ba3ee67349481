"""Inputs that people bring and that reproducers keep: ``.npz`` files with an array for each input.

Elements of a sequence are ``name/0``, ``name/1`` and so on; element types that numpy does not have are stored as their bits.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import IO, Final

import numpy as np

from graphopt.errors import ExecutionError
from graphopt.ir import Array, DType, OptionalType, SequenceType, TensorType, Type
from graphopt.runtime.base import Datum, Feeds, ValueSpec
from graphopt.transforms.input_sizes import AXIS_NAME, Limits
from graphopt.verify.damaged_files import HEADERS, UNREADABLE

__all__ = ["check_inputs", "check_limits", "load_inputs", "save_inputs"]

_ARCHIVES: Final = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without
_ITEM: Final = re.compile(r"(.+)/(\d+)$")


def load_inputs(
    path: str | os.PathLike[str], inputs: Sequence[ValueSpec], overridable: Sequence[ValueSpec] = ()
) -> dict[str, Datum]:
    """Inputs from an ``.npz`` file, checked against what a model takes.

    Args:
        path: the file; an array is converted to the model's element type where that loses nothing.
        inputs: what must be there.
        overridable: what may be there.

    Raises:
        ExecutionError: if the file can't be read, an input is missing, or an array does not fit.
    """
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # reading a pipe or a device may never end
            raise ValueError("it is no regular file")
        arrays = _read_archive(name)
    except MemoryError as err:
        raise ExecutionError(f"inputs {name!r} do not fit into memory; give smaller ones") from err
    except UNREADABLE as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else " ".join(str(err).split())
        raise ExecutionError(
            f"inputs {name!r} cannot be read: {reason}; expected an .npz file as numpy.savez writes it, without objects"
        ) from err
    return check_inputs(_join(arrays), inputs, overridable, where=f"inputs {name!r}")


def _read_archive(name: str) -> dict[str, Array]:
    """The arrays of an ``.npz`` file. An array is read only if the archive holds as many bytes as its header asks memory for."""
    with open(name, "rb") as file:  # opened here, because numpy leaves a file open that is no archive
        if not file.read(len(np.lib.format.MAGIC_PREFIX)).startswith((*_ARCHIVES, np.lib.format.MAGIC_PREFIX)):
            raise ValueError("it is no archive of arrays")  # numpy takes it for a pickle and says how to load that
        file.seek(0)
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        with stored:
            archive = stored.zip
            assert archive is not None, "it was just opened"
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for key in stored.files:
                with archive.open(members[key]) as member:
                    size = _stated_bytes(member)
                    if size is not None and size > members[key].file_size:
                        raise ValueError(
                            f"array {key!r} is to have {size} bytes, the archive has {members[key].file_size} for it"
                        )
            return {key: stored[key] for key in stored.files}


def _stated_bytes(member: IO[bytes]) -> int | None:
    """How large the header of an array says that it is; ``None`` if that is not simply its shape and type."""
    version = np.lib.format.read_magic(member)
    read = HEADERS.get(version)
    if read is None:
        return None
    shape, _, dtype = read(member)
    return None if dtype.hasobject else math.prod(shape) * dtype.itemsize


def _join(arrays: Mapping[str, Array]) -> dict[str, Datum]:
    found: dict[str, Datum] = {}
    lists: dict[str, dict[int, Array]] = {}
    for key, array in arrays.items():
        item = _ITEM.match(key)
        if item is None:
            found[key] = array
        else:
            lists.setdefault(item[1], {})[int(item[2])] = array
    for key, items in lists.items():
        if key in found or sorted(items) != list(range(len(items))):  # a name that ends like an element of a list
            found |= {f"{key}/{index}": array for index, array in items.items()}
        else:
            found[key] = [items[index] for index in range(len(items))]
    return found


def check_inputs(
    given: Feeds, inputs: Sequence[ValueSpec], overridable: Sequence[ValueSpec] = (), *, where: str = "inputs"
) -> dict[str, Datum]:
    """Given inputs, with the element types of the model.

    Raises:
        ExecutionError: if one is missing, is not an input, or has another element type, rank or fixed size than the model states.
    """
    known = {spec.name: spec for spec in (*inputs, *overridable)}
    for spec in inputs:
        if spec.name not in given and not isinstance(spec.type, OptionalType):
            raise ExecutionError(f"{where}: input {spec.name!r} is missing; found {_names(given)}, add an array for it")
    for name in given:
        if name not in known:
            raise ExecutionError(f"{where}: the model has no input {name!r}; it takes {_names(known)}")
    found = {name: _fit(value, known[name].type, f"{where}: input {name!r}") for name, value in given.items()}
    return found | {spec.name: None for spec in inputs if spec.name not in given}


def check_limits(given: Feeds, inputs: Sequence[ValueSpec], limits: Limits, *, where: str = "inputs") -> None:
    """See that given inputs are within the sizes that are stated.

    Args:
        given: arrays by name, as :func:`check_inputs` gives them.
        inputs: of the model.
        limits: smallest and largest size by dimension; an axis without a name is called ``input.axis``.
        where: names them in errors.

    Raises:
        ExecutionError: if one is not.
    """
    for spec in inputs if limits else ():
        value = given.get(spec.name)
        shape = spec.type.shape if isinstance(spec.type, TensorType) else None
        if not isinstance(value, np.ndarray) or shape is None:
            continue
        for axis, (dim, size) in enumerate(zip(shape, value.shape, strict=False)):
            name = AXIS_NAME.format(spec.name, axis) if dim is None else str(dim)
            low, high = limits.get(name, (0, None))
            if size < low or (high is not None and size > high):
                raise ExecutionError(
                    f"{where}: input {spec.name!r} has size {size} along axis {axis}, "
                    f"outside of {low}..{'' if high is None else high} that is stated for {name!r}"
                )


def _names(names: Mapping[str, object]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _fit(value: Datum, declared: Type | None, where: str) -> Datum:
    if isinstance(declared, OptionalType):
        return None if value is None else _fit(value, declared.element, where)
    if isinstance(declared, SequenceType):
        if not isinstance(value, list):
            raise ExecutionError(f"{where} is one array, expected a sequence; name its elements NAME/0, NAME/1 ...")
        return [_fit(item, declared.element, f"{where}, element {index}") for index, item in enumerate(value)]
    if not isinstance(declared, TensorType) or isinstance(value, dict):
        return value
    if value is None or isinstance(value, list):
        raise ExecutionError(f"{where} is no single array, expected {declared}")
    return _fit_tensor(np.asarray(value), declared, where)


def _fit_tensor(array: Array, declared: TensorType, where: str) -> Array:
    array = _convert(array, declared, where)
    shape = declared.shape
    if not shape:  # ONNX Runtime says no axes of an unknown rank too; it refuses by itself what does not fit
        return array
    if len(shape) != array.ndim:
        raise ExecutionError(f"{where} has shape {list(array.shape)}, expected {declared}, which has {len(shape)} axes")
    for axis, (dim, size) in enumerate(zip(shape, array.shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise ExecutionError(f"{where} has size {size} along axis {axis}, expected {dim} as in {declared}")
    return array


def _convert(array: Array, declared: TensorType, where: str) -> Array:
    wanted = declared.dtype
    if wanted is DType.UNDEFINED or array.dtype == wanted.numpy:
        return array
    if wanted is DType.STRING and array.dtype.kind in "SUOT":
        return np.asarray(array.astype(str), object)
    if array.dtype.kind == "V" and array.dtype.itemsize == wanted.numpy.itemsize:
        return array.view(wanted.numpy)  # bits of a type that numpy has no name for
    if array.dtype.kind in "biuf" and wanted is not DType.STRING:
        with np.errstate(all="ignore"):
            converted = array.astype(wanted.numpy)
            back = converted.astype(array.dtype)
        if np.array_equal(back, array, equal_nan=array.dtype.kind == "f"):
            return converted
    raise ExecutionError(f"{where} has elements of {array.dtype}, expected {wanted}; convert them")


def save_inputs(path: str | os.PathLike[str], feeds: Feeds) -> None:
    """Write inputs so that :func:`load_inputs` reads them; absent optionals are left out.

    Raises:
        ExecutionError: for a map, which has no form in an ``.npz`` file.
    """
    arrays: dict[str, Array] = {}
    for name, value in feeds.items():
        if isinstance(value, dict):
            raise ExecutionError(f"input {name!r} is a map, which an .npz file cannot hold")
        items = (
            {f"{name}/{index}": item for index, item in enumerate(value)} if isinstance(value, list) else {name: value}
        )
        for key, item in items.items():
            if item is not None:
                arrays[key] = _storable(np.asarray(item))
    with open(path, "wb") as file:  # an open file keeps numpy from appending its own extension
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names of inputs are not allow_pickle


def _storable(array: Array) -> Array:
    if array.dtype.kind in "OT":
        return np.asarray(
            [item.decode() if isinstance(item, bytes) else str(item) for item in array.reshape(-1)] or [""]
        ).reshape(array.shape if array.size else (0,))
    if array.dtype.kind == "V" or array.dtype.name in ("bfloat16",):
        return array.view(f"V{array.dtype.itemsize}")
    return array
