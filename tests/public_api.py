"""What graphopt promises to keep: the public names with their signatures, as text that is committed beside this file.

``python -m tests.public_api --update`` writes it again. Public is what a module right under ``graphopt`` has in ``__all__``; deeper
modules may change at any time (``docs/explanation/stability.md``).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["INTERNAL", "PUBLIC", "SNAPSHOT", "api_lines", "public_names"]

SNAPSHOT: Final = Path(__file__).parent / "public_api.txt"

#: Modules whose names are kept.
PUBLIC: Final = (
    "graphopt",
    "graphopt.analysis",
    "graphopt.backends",
    "graphopt.builtin_plugin",
    "graphopt.cli",
    "graphopt.compiler",
    "graphopt.data",
    "graphopt.errors",
    "graphopt.frontends",
    "graphopt.hookspecs",
    "graphopt.ir",
    "graphopt.numerics",
    "graphopt.passes",
    "graphopt.plugin_manager",
    "graphopt.rewriting",
    "graphopt.runtime",
    "graphopt.serde",
    "graphopt.target",
    "graphopt.testing",
    "graphopt.verify",
)
#: Modules right under ``graphopt`` that nobody imports from: passes are named in pipeline text, views are for the command line.
INTERNAL: Final = ("graphopt.__main__", "graphopt.cache_folder", "graphopt.report", "graphopt.transforms")

_WIDE: Final = 140
_METHODS: Final = (
    "__call__",
    "__contains__",
    "__enter__",
    "__getitem__",
    "__iter__",
    "__len__",
    "__str__",
)


def public_names(module: str) -> dict[str, object]:
    """What a module has in ``__all__``, sorted by name."""
    found = importlib.import_module(module)
    return {name: getattr(found, name) for name in sorted(found.__all__)}


def api_lines() -> Iterator[str]:
    """A line for each public name, attribute and method; a name that several modules have is described once."""
    homes = _homes()
    for module in PUBLIC:
        yield f"# {module}"
        for name, item in public_names(module).items():
            place = f"{module}.{name}"
            home = homes.get(id(item), place)
            lines = _described(place, item) if home == place else [f"{place} = {home}"]
            for line in lines:
                yield from _wrapped(line)


def _homes() -> dict[int, str]:
    """Where each class and function is described: in the module that defines it, if that is public."""
    found: dict[int, str] = {}
    for module in sorted(PUBLIC, key=lambda name: (name == "graphopt", name)):
        for name, item in public_names(module).items():
            if isinstance(item, type | types.FunctionType):
                defined = item.__module__ == module or item.__module__.startswith(f"{module}.")
                if id(item) not in found or (defined and module != "graphopt"):
                    found[id(item)] = f"{module}.{name}"
    return found


def _wrapped(line: str) -> Iterator[str]:
    """A line, or one for each argument where it is long, so that a difference is easy to see."""
    head, bracket, rest = line.partition("(")
    if len(line) <= _WIDE or not bracket:
        yield line
        return
    arguments, _, result = rest.rpartition(")")
    yield f"{head}("
    for argument in _split(arguments):
        yield f"    {argument},"
    yield f"){result}"


def _split(arguments: str) -> Iterator[str]:
    """Arguments, apart at commas outside of brackets."""
    depth = start = 0
    for index, letter in enumerate(arguments):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield arguments[start:index].strip()
            start = index + 1
    yield arguments[start:].strip()


def _described(name: str, item: object) -> Iterator[str]:
    if isinstance(item, type):
        yield from _class(name, item)
    elif callable(item) and isinstance(item, types.FunctionType | functools.partial):
        yield f"{name}{_signature(item)}"
    elif isinstance(item, int | str) and name != "graphopt.__version__":
        yield f"{name} = {item!r}"
    else:
        yield f"{name}: {type(item).__name__}"


def _class(name: str, item: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in item.__bases__ if base is not object)
    yield f"class {name}({bases})"
    if issubclass(item, enum.Enum):
        yield f"{name}: {', '.join(member.name for member in item)}"
    made = _constructor(item)
    if made is not None:
        yield f"{name}.__init__{_signature(made)}"
    for member, text in sorted(_members(item).items()):
        yield f"{name}.{member}{text}"


def _constructor(item: type) -> Callable[..., object] | None:
    """The first ``__init__`` that graphopt wrote."""
    if getattr(item, "_is_protocol", False) or issubclass(item, enum.Enum):
        return None
    for kind in _own_bases(item):
        if isinstance(vars(kind).get("__init__"), types.FunctionType):
            return vars(kind)["__init__"]  # type: ignore[no-any-return]  # a function, as was seen
    return None


def _own_bases(item: type) -> list[type]:
    return [kind for kind in item.__mro__ if kind.__module__.partition(".")[0] == "graphopt"]


def _members(item: type) -> dict[str, str]:
    """Attributes and methods, those of bases too, as text."""
    found: dict[str, str] = {}
    for kind in _own_bases(item):
        annotations = inspect.get_annotations(kind)
        if not issubclass(kind, enum.Enum):
            for name, annotation in annotations.items():
                if not name.startswith("_"):
                    found.setdefault(name, f": {_annotation(annotation)}")
        for name, member in vars(kind).items():
            if (name.startswith("_") and name not in _METHODS) or name in found:
                continue
            text = _member(member)
            if text is not None:
                found[name] = text
    return found


def _member(member: object) -> str | None:
    if isinstance(member, property):
        return f": {_returned(member.fget)}"
    if isinstance(member, functools.cached_property):
        return f": {_returned(member.func)}"
    if isinstance(member, classmethod | staticmethod):
        return _signature(member.__func__)
    if isinstance(member, types.FunctionType):
        return _signature(member)
    if isinstance(member, types.MemberDescriptorType):
        return ": slot"
    return None


def _returned(getter: Any) -> str:
    return _annotation(inspect.signature(getter).return_annotation)


def _annotation(annotation: object) -> str:
    if annotation is inspect.Signature.empty:
        return "?"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace('"', "").replace("'", "")


def _signature(function: Any) -> str:
    """Arguments and result; defaults that print their address are cut."""
    signature = inspect.signature(function)
    parts: list[str] = []
    star = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        prefix = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else prefix
        star = star or prefix == "*"
        text = f"{prefix}{parameter.name}"
        if parameter.annotation is not inspect.Parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            text += f" = {_default(parameter.default)}"
        parts.append(text)
    result = (
        ""
        if signature.return_annotation is inspect.Signature.empty
        else f" -> {_annotation(signature.return_annotation)}"
    )
    return f"({', '.join(parts)}){result}"


def _default(value: object) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if repr(value) == "<factory>":
        return "<factory>"
    if dataclasses.is_dataclass(value) or isinstance(value, int | float | str | tuple | frozenset | types.NoneType):
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return getattr(value, "__name__", f"<{type(value).__name__}>")


def main() -> None:
    """Write the snapshot, or say that it is to be asked for."""
    if sys.argv[1:] != ["--update"]:
        sys.exit("usage: python -m tests.public_api --update")
    SNAPSHOT.write_text("\n".join(api_lines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
