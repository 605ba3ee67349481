"""What plugins answer, checked: a wrong answer is an error that names the plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from graphopt.errors import PluginError
from graphopt.hookspecs import HOOK_API_VERSION, OLDEST_HOOK_API_VERSION
from graphopt.passes import Lazy, Pass

__all__ = [
    "PluginInfo",
    "ReportSection",
    "answered_list",
    "answered_mapping",
    "answered_passes",
    "incompatibility",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A section of the report that a plugin adds.

    Attributes:
        title: its heading.
        make: its text from the plain values of the whole report (what ``--json`` prints); ``None`` leaves the section out.
    """

    title: str
    make: Callable[[Mapping[str, object]], str | None]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin that was found.

    Attributes:
        name: name of its entry point.
        package: distribution and version that it came with.
        status: ``"loaded"``, ``"blocked"``, ``"failed"``, ``"missing"`` or ``"incompatible"``.
        reason: why it is not used, and what to do.
        hooks: hooks that it implements.
        api_version: what it states as ``GRAPHOPT_API_VERSION``, ``None`` where it states nothing or was not imported.
    """

    name: str
    package: str
    status: str
    reason: str = ""
    hooks: tuple[str, ...] = ()
    api_version: object = None


def incompatibility(stated: object) -> str | None:
    """Why a plugin cannot be used with these hooks, and what to do; ``None`` when it can.

    Args:
        stated: the version of the hooks that the plugin was written for, ``None`` when it does not say.

    Example:
        >>> incompatibility(HOOK_API_VERSION) is None
        True
    """
    if stated is None:
        return None
    if not isinstance(stated, int) or isinstance(stated, bool):
        return f"states GRAPHOPT_API_VERSION = {stated!r:.40}, expected a whole number; ask its author"
    if stated > HOOK_API_VERSION:
        return f"written for hook API version {stated}, this graphopt has {HOOK_API_VERSION}; update graphopt"
    if stated < OLDEST_HOOK_API_VERSION:
        return (
            f"written for hook API version {stated}, the oldest that this graphopt supports is {OLDEST_HOOK_API_VERSION}; "
            "update the plugin"
        )
    return None


def answered_mapping(plugin: str, hook: str, answer: object) -> Mapping[str, object]:
    """A mapping from names.

    Raises:
        PluginError: if it is something else.
    """
    if not isinstance(answer, Mapping) or not all(isinstance(name, str) for name in answer):
        raise PluginError(f"plugin {plugin!r}: {hook} gave a {type(answer).__name__}, expected a mapping from names")
    return answer


def answered_list(plugin: str, hook: str, answer: object, *kinds: type[_T]) -> Sequence[_T]:
    """A list of things of some kinds.

    Raises:
        PluginError: if it is something else.
    """
    if isinstance(answer, Sequence) and all(isinstance(item, kinds) for item in answer):
        return cast("Sequence[_T]", answer)
    wrong = (
        next((item for item in answer if not isinstance(item, kinds)), None) if isinstance(answer, Sequence) else answer
    )
    expected = " or ".join(kind.__name__ for kind in kinds)
    raise PluginError(f"plugin {plugin!r}: {hook} gave a {type(wrong).__name__}, expected a list of {expected}")


def answered_passes(plugin: str, answer: object) -> dict[str, type[Pass] | Lazy]:
    """Pass classes by name.

    Raises:
        PluginError: if something else is among them, or a name stands for two.
    """
    hook = "graphopt_passes"
    if isinstance(answer, Mapping):
        return {name: _pass(plugin, name, item) for name, item in answered_mapping(plugin, hook, answer).items()}
    if not isinstance(answer, Sequence):
        raise PluginError(f"plugin {plugin!r}: {hook} gave a {type(answer).__name__}, expected a list of pass classes")
    found: dict[str, type[Pass] | Lazy] = {}
    for item in answer:
        made = _pass(plugin, getattr(item, "name", None), item)
        assert not isinstance(made, Lazy), "a lazy pass has no name of its own"
        if made.name in found:
            raise PluginError(f"pass {made.name!r} is registered twice by {plugin!r}; rename one")
        found[made.name] = made
    return found


def _pass(plugin: str, name: object, item: object) -> type[Pass] | Lazy:
    if isinstance(item, Lazy) and isinstance(name, str):
        return item
    if not (isinstance(item, type) and issubclass(item, Pass)):
        raise PluginError(f"plugin {plugin!r}: graphopt_passes gave {item!r}, expected a subclass of Pass")
    if not isinstance(name, str) or name != getattr(item, "name", None):
        raise PluginError(f"plugin {plugin!r}: pass class {item.__name__} needs name = {name or 'kebab-case-name'!r}")
    return item
