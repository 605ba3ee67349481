"""From what profiles say to what TensorRT wants: a range for each input that is not fixed, or one line that says what lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.backends.tensorrt.protocols import Network
from graphopt.errors import ExecutionError
from graphopt.ir import Model, TensorType

__all__ = ["Ranges", "check_profiles", "ranges_of"]


@dataclass(frozen=True, slots=True)
class _Input:
    """An input.

    Attributes:
        shape: sizes, -1 where one is not fixed.
        dims: names of sizes, ``""`` where one has none.
        holds_shape: whether shapes are computed from its numbers, ``None`` if nobody knows yet.
    """

    shape: tuple[int, ...]
    dims: tuple[str, ...]
    holds_shape: bool | None

    def open_dims(self) -> list[str]:
        """Names of the sizes that are not fixed."""
        return [dim for dim, size in zip(self.dims, self.shape, strict=True) if size == -1]


@dataclass(frozen=True)
class Ranges:
    """What one profile of TensorRT gets.

    Attributes:
        shapes: of inputs with sizes that are not fixed.
        values: of inputs whose numbers are a shape.
    """

    shapes: Mapping[str, InputRange]
    values: Mapping[str, InputRange]

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON: three shapes by input."""
        return {
            name: {key: [list(item.least), list(item.usual), list(item.most)] for key, item in found.items()}
            for name, found in (("shapes", self.shapes), ("values", self.values))
            if found
        }


def ranges_of(network: Network, profiles: Sequence[Profile]) -> list[Ranges]:
    """The ranges of each profile; none where a network needs none.

    Args:
        network: it.
        profiles: what is stated.

    Raises:
        ExecutionError: if an input has a size that nobody states, a shape does not fit, or there is no such input or dimension.
    """
    inputs = {}
    for tensor in (network.get_input(place) for place in range(network.num_inputs)):
        shape = tuple(tensor.shape)
        dims = tuple(str(tensor.get_dimension_name(axis) or "") for axis in range(len(shape)))
        inputs[tensor.name] = _Input(shape, dims, tensor.is_shape_tensor)
    return _resolved(inputs, profiles)


def check_profiles(model: Model, profiles: Sequence[Profile]) -> None:
    """See that all sizes are stated that an engine of a model needs, before it is optimized and lowered.

    Raises:
        ExecutionError: as :func:`ranges_of`, but for values of inputs, which only the network tells.
    """
    inputs = {}
    for value in model.graph.inputs:
        shape = value.type.shape if isinstance(value.type, TensorType) else None
        if value.is_constant or shape is None:
            continue  # lowering says what it thinks of that
        sizes = tuple(size if isinstance(size, int) else -1 for size in shape)
        dims = tuple("" if size is None or isinstance(size, int) else str(size) for size in shape)
        inputs[value.name] = _Input(sizes, dims, None)
    _resolved(inputs, profiles)


def _resolved(inputs: Mapping[str, _Input], profiles: Sequence[Profile]) -> list[Ranges]:
    for profile in profiles:
        _check_names(inputs, profile)
    found = [_of_profile(inputs, profile) for profile in profiles or (Profile(),)]
    return [item for item in found if item.shapes or item.values]


def _check_names(inputs: Mapping[str, _Input], profile: Profile) -> None:
    for name in (*profile.shapes, *profile.values):
        if name not in inputs:
            raise ExecutionError(f"the model has no input {name!r}; it takes: {', '.join(inputs)}")
    for name in profile.values:
        if inputs[name].holds_shape is False and not profile.is_seen:
            raise ExecutionError(
                f"the values of input {name!r} decide no shape, only its sizes can be stated: --profile {name}:MIN,USUAL,MAX"
            )
    known = list(dict.fromkeys(dim for item in inputs.values() for dim in item.open_dims() if dim))
    for name in profile.sizes:
        if name not in known:
            has = f"it has: {', '.join(known)}" if known else "all of its sizes are fixed, or have no name"
            raise ExecutionError(f"the model has no dimension {name!r} to state sizes of; {has}")


def _of_profile(inputs: Mapping[str, _Input], profile: Profile) -> Ranges:
    shapes: dict[str, InputRange] = {}
    lacking: dict[str, list[str]] = {}
    for name, item in inputs.items():
        shape, dims = item.shape, item.dims
        if name in profile.shapes:
            _check_fit(name, shape, profile.shapes[name])
        if -1 not in shape:
            continue
        if name in profile.shapes:
            given = profile.shapes[name]
            shapes[name] = _resized(given, dims, profile.sizes) if profile.is_seen else given
            continue
        open_dims = [dim or f"axis {axis}" for axis, dim in enumerate(dims) if shape[axis] == -1]
        if unknown := [dim for dim in open_dims if dim not in profile.sizes]:
            lacking[name] = unknown
            continue
        each = [
            [profile.sizes[dim][place] if size == -1 else size for dim, size in zip(dims, shape, strict=True)]
            for place in range(3)
        ]
        shapes[name] = InputRange(*(tuple(item) for item in each))
    if lacking:
        raise ExecutionError(_lacking(lacking))
    without = [name for name, item in inputs.items() if item.holds_shape and name not in profile.values]
    if without:
        raise ExecutionError(
            f"{_listed(without)} what shapes are computed from; state values: "
            + " ".join(f"--values {name}:MIN,USUAL,MAX" for name in without)
        )
    return Ranges(shapes, {name: item for name, item in profile.values.items() if inputs[name].holds_shape})


def _resized(seen: InputRange, dims: Sequence[str], sizes: Mapping[str, Sequence[int]]) -> InputRange:
    """Shapes that were seen, with what is stated of some dimensions instead."""
    each = [
        tuple(sizes[dim][place] if dim in sizes else size for dim, size in zip(dims, shape, strict=True))
        for place, shape in enumerate((seen.least, seen.usual, seen.most))
    ]
    return InputRange(*each)


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"input {names[0]!r} is"
    return f"inputs {', '.join(repr(name) for name in names)} are"


def _lacking(found: Mapping[str, Sequence[str]]) -> str:
    """One line about inputs whose sizes nobody states, with the options that state them."""
    named = [f"{name!r} ({', '.join(dims)})" for name, dims in found.items()]
    one = len(found) == 1
    dims = list(dict.fromkeys(dim for each in found.values() for dim in each if not dim.startswith("axis ")))
    options = [f"--dim {dim}=MIN,USUAL,MAX" for dim in dims]
    options += [
        f"--profile {name}:MIN,USUAL,MAX"
        for name, each in found.items()
        if any(dim.startswith("axis ") for dim in each)
    ]
    what = f"input {named[0]} has" if one else f"inputs {', '.join(named)} have"
    return f"{what} sizes that are not fixed; state them: {' '.join(options)}, or --profile-data feeds.npz"


def _check_fit(name: str, shape: tuple[int, ...], stated: InputRange) -> None:
    for given in (stated.least, stated.usual, stated.most):
        if len(given) != len(shape) or any(size not in (-1, other) for size, other in zip(shape, given, strict=True)):
            told, wanted = ("x".join(str(size) for size in item) for item in (given, shape))
            raise ExecutionError(
                f"input {name!r} has the shape {wanted.replace('-1', '?')}, which {told} of the profile does not fit"
            )
        if any(size < 0 for size in given):
            raise ExecutionError(
                f"the profile of input {name!r} has a negative size, expected 0 or more in each of its shapes"
            )
