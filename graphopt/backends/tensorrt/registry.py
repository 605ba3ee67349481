"""What makes TensorRT's layers of one operator. Built-in converters and those of plugins are registered alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, cast

from graphopt.ir import Node
from graphopt.passes import Converter

if TYPE_CHECKING:
    from graphopt.backends.tensorrt.emitter import Emitter
    from graphopt.backends.tensorrt.protocols import Tensor

__all__ = ["Convert", "Converter", "Registered", "Registry", "Supports", "builtin_converters", "lower"]

#: Adds the layers of a node; the tensors of its outputs, ``None`` for those that are not used.
Convert = Callable[["Emitter", Node], "Sequence[Tensor | None]"]
#: Why a node can't be converted, ``None`` when it can.
Supports = Callable[[Node], "str | None"]

BACKEND: Final = "tensorrt"


class Registered(Protocol):
    """A function that was made a converter.

    Attributes:
        converters: of each operator that it is for.
    """

    converters: tuple[Converter, ...]

    def __call__(self, e: Emitter, node: Node) -> Sequence[Tensor | None]:
        """Add the layers of a node."""


def lower(
    *ops: str, backend: str = BACKEND, priority: int = 0, supports: Supports | None = None, dynamic: bool = True
) -> Callable[[Convert], Registered]:
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

    def register(function: Convert) -> Registered:
        made = tuple(Converter(op, backend, function, supports, priority, dynamic) for op in ops)
        registered = cast(Registered, function)
        registered.converters = (*getattr(function, "converters", ()), *made)
        return registered

    return register


def builtin_converters() -> tuple[Converter, ...]:
    """Graphopt's own converters."""
    from graphopt.backends.tensorrt import converters  # lazily: few models are made for TensorRT

    families = [item for _, item in sorted(vars(converters).items()) if isinstance(item, ModuleType)]
    functions = dict.fromkeys(item for family in families for item in vars(family).values() if callable(item))
    return tuple(each for function in functions for each in getattr(function, "converters", ()))


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
