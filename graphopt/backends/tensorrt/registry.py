"""Converters: what makes TensorRT's layers of one operator. Built-in ones and those of plugins are registered alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from graphopt.ir import Node

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.emitter import Emitter
    from graphopt.backends.tensorrt.protocols import Tensor

__all__ = ["Convert", "Converter", "Registry", "Supports", "builtin_converters", "lower"]

#: Adds the layers of a node; the tensors of its outputs, ``None`` for those that are not used.
Convert = Callable[["Emitter", Node], "Sequence[Tensor | None]"]
#: Why a node can't be converted, ``None`` when it can.
Supports = Callable[[Node], "str | None"]

BACKEND: Final = "tensorrt"
_F = TypeVar("_F", bound=Convert)


@dataclass(frozen=True, slots=True)
class Converter:
    """How one operator becomes layers.

    Attributes:
        op: the operator, ``"Conv"`` or ``"domain::Name"``.
        backend: name of the backend.
        convert: adds the layers.
        supports: why a node is not taken, ``None`` when it is; it must agree with what builds.
        priority: of several that take a node, the one with the highest is used.
        dynamic: whether sizes that are known only when the engine runs are taken.
    """

    op: str
    backend: str
    convert: Convert = field(repr=False)
    supports: Supports | None = field(default=None, repr=False)
    priority: int = 0
    dynamic: bool = True

    def reason_against(self, node: Node) -> str | None:
        """Why this converter does not take a node."""
        if not self.dynamic:
            for value in (*node.inputs, *node.outputs):
                if value is not None and not _is_static(value):
                    return f"the sizes of {value.name!r} are not fixed"
        return None if self.supports is None else self.supports(node)


def _is_static(value: object) -> bool:
    shape = getattr(getattr(value, "type", None), "shape", None)
    return shape is not None and all(isinstance(size, int) for size in shape)


_BUILTIN: Final[list[Converter]] = []


def lower(
    *ops: str, backend: str = BACKEND, priority: int = 0, supports: Supports | None = None, dynamic: bool = True
) -> Callable[[_F], _F]:
    """Make a function the converter of some operators.

    The function has an attribute ``converters`` afterwards, a tuple of :class:`Converter`, which a plugin's hook
    ``graphopt_lowerings`` returns.

    Args:
        ops: operators, ``"Conv"``, ``"com.example::Twice"``.
        backend: name of the backend.
        priority: of several that take a node, the one with the highest is used; built-in ones have 0.
        supports: why a node is not taken.
        dynamic: whether sizes may be unknown until the engine runs.

    Example:
        >>> @lower("com.example::Same")
        ... def same(e, node):
        ...     return [e.input(node, 0)]
        >>> same.converters[0].op
        'com.example::Same'
    """

    def register(function: _F) -> _F:
        made = tuple(Converter(op, backend, function, supports, priority, dynamic) for op in ops)
        function.converters = (*getattr(function, "converters", ()), *made)  # type: ignore[attr-defined]
        if function.__module__.startswith("graphopt.backends.tensorrt."):
            _BUILTIN.extend(made)
        return function

    return register


def builtin_converters() -> tuple[Converter, ...]:
    """Graphopt's own converters."""
    import graphopt.backends.tensorrt.converters  # noqa: F401  they register themselves

    return tuple(_BUILTIN)


class Registry:
    """Converters by operator, the first to ask first.

    Args:
        converters: all of one backend.
    """

    def __init__(self, converters: Iterable[Converter]) -> None:
        found: dict[str, list[Converter]] = {}
        for item in converters:
            found.setdefault(item.op, []).append(item)
        self._found: Mapping[str, Sequence[Converter]] = {
            op: sorted(items, key=lambda item: -item.priority) for op, items in found.items()
        }

    @property
    def operators(self) -> frozenset[str]:
        """Operators that have a converter."""
        return frozenset(self._found)

    def find(self, node: Node) -> Converter | str:
        """The converter for a node, or why there is none."""
        reason = f"TensorRT has no layers for {node.op}"
        for item in self._found.get(node.op, ()):
            refusal = item.reason_against(node)
            if refusal is None:
                return item
            reason = refusal
        return reason
