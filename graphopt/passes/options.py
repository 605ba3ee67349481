"""Options of passes: fields of a dataclass, their types and ranges, and the way to and from text.

A field that ``repr`` leaves out is no option. Types are those that msgspec converts to: numbers, text, booleans, literals, enums, lists,
tuples, tables, and unions with ``None``; ``Annotated[float, msgspec.Meta(ge=0, lt=1)]`` states a range.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from graphopt.errors import PipelineError
from graphopt.passes.base import Pass
from graphopt.passes.literals import plain, render, words
from graphopt.passes.registry import suggestion

__all__ = ["OptionSpec", "build_pass", "option_specs", "options_text", "pass_text", "with_options"]


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option of a pass.

    Attributes:
        name: as in text and Python.
        type: what it takes, for people: ``"float >= 0, < 1"``.
        default: its text, ``None`` when it must be stated.
        doc: what the docstring says about it.
        hint: its type.
    """

    name: str
    type: str
    default: str | None
    doc: str
    hint: object

    def __str__(self) -> str:
        return f"{self.name}: {self.type}" + (f" = {self.default}" if self.default is not None else "")


@lru_cache(maxsize=1024)
def option_specs(pass_type: type[Pass]) -> Mapping[str, OptionSpec]:
    """The options of a pass, by name, in order.

    Args:
        pass_type: a pass class.
    """
    hints = get_type_hints(pass_type, include_extras=True)
    docs = _attribute_docs(pass_type)
    found: dict[str, OptionSpec] = {}
    for field in dataclasses.fields(pass_type):
        if field.repr and field.init:
            default = None
            if field.default is not dataclasses.MISSING:
                default = _text(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                default = _text(field.default_factory())
            hint = hints[field.name]
            found[field.name] = OptionSpec(field.name, _type_text(hint), default, docs.get(field.name, ""), hint)
    return found


def build_pass(pass_type: type[Pass], options: Mapping[str, object]) -> Pass:
    """A pass with options as they were scanned from text or read from TOML.

    Args:
        pass_type: a pass class.
        options: plain values; bare words of pipeline text may stand for numbers.

    Raises:
        PipelineError: if an option is unknown, missing, of another type or out of range.
    """
    specs = option_specs(pass_type)
    given = _convert_all(pass_type, options)
    absent = [str(spec) for spec in specs.values() if spec.default is None and spec.name not in given]
    if absent:
        raise PipelineError(
            f"pass {pass_type.name!r} needs {', '.join(absent)}; write {pass_type.name}{{option=value}}"
        )
    try:
        return pass_type(**given)
    except (TypeError, ValueError) as err:  # __post_init__ may check what no annotation can say
        raise PipelineError(f"pass {pass_type.name!r}: {err}") from err


def _convert_all(pass_type: type[Pass], options: Mapping[str, object]) -> dict[str, Any]:
    specs = option_specs(pass_type)
    given: dict[str, Any] = {}
    for name, value in options.items():
        spec = specs.get(name)
        if spec is None:
            raise PipelineError(f"pass {pass_type.name!r} has no option {name!r}{_known(name, specs)}")
        given[name] = _convert(pass_type, spec, value)
    return given


def _known(name: str, specs: Mapping[str, OptionSpec]) -> str:
    if not specs:
        return "; it has no options"
    return f"{suggestion(name, specs) or ';'} it has: {', '.join(map(str, specs.values()))}"


def _convert(pass_type: type[Pass], spec: OptionSpec, value: object) -> object:
    first: msgspec.ValidationError | None = None
    for attempt, strict in ((plain(value), True), (plain(value), False), (words(value), False)):
        try:
            return msgspec.convert(attempt, spec.hint, strict=strict)
        except msgspec.ValidationError as err:
            first = first or err
    expected = f"expected {spec.type}"
    reason = _reason(str(first))
    more = "" if reason == expected else f" ({reason})"
    where = f"option {spec.name!r} of pass {pass_type.name!r}"
    raise PipelineError(f"{where} is {_shown(value)}, {expected}{more}") from first


def _shown(value: object) -> str:
    try:
        return render(plain(value))
    except TypeError:
        return repr(value)


def _reason(message: str) -> str:
    """What msgspec says, with a small first letter."""
    return message[:1].lower() + message[1:].replace("`", "")


def with_options(item: Pass, options: Mapping[str, object]) -> Pass:
    """A pass like ``item`` with some options changed.

    Raises:
        PipelineError: as :func:`build_pass`.
    """
    changed = _convert_all(type(item), options)
    try:
        return dataclasses.replace(item, **changed)
    except (TypeError, ValueError) as err:
        raise PipelineError(f"pass {item.name!r}: {err}") from err


def _text(value: object) -> str:
    return render(_ordered(value))


def _ordered(value: object) -> object:
    """Plain values, sets in order."""
    if isinstance(value, set | frozenset):
        return sorted((_ordered(item) for item in value), key=repr)
    if isinstance(value, tuple | list):
        return [_ordered(item) for item in value]
    return msgspec.to_builtins(value)


def options_text(item: Pass) -> str:
    """The options of a pass that are not the default: ``"sparsity=0.5,axes=[0,1]"``.

    Raises:
        PipelineError: if an option has no text form.
    """
    parts: list[str] = []
    for name, spec in option_specs(type(item)).items():
        try:
            text = _text(getattr(item, name))
        except TypeError as err:
            raise PipelineError(f"option {name!r} of pass {item.name!r} can't be written as text: {err}") from err
        if text != spec.default:
            parts.append(f"{name}={text}")
    return ",".join(parts)


def pass_text(item: Pass) -> str:
    """A pass as it stands in pipeline text.

    Raises:
        PipelineError: if an option has no text form.
    """
    options = options_text(item)
    return f"{item.name}{{{options}}}" if options else item.name


_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of", "pattern": "like"}


def _type_text(hint: object) -> str:
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        bounds: list[str] = []
        for extra in extras:
            if isinstance(extra, msgspec.Meta):
                bounds.extend(
                    f"{sign} {getattr(extra, name)}"
                    for name, sign in _BOUNDS.items()
                    if getattr(extra, name) is not None
                )
                bounds.extend(
                    f"{word} {limit} long"
                    for limit, word in ((extra.min_length, "at least"), (extra.max_length, "at most"))
                    if limit is not None
                )
        return " ".join([_type_text(base), ", ".join(bounds)]).strip()
    if get_origin(hint) is Literal:
        return " | ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(_type_text, get_args(hint)))
    if isinstance(hint, type) and get_origin(hint) is None:
        return "null" if hint is type(None) else hint.__name__
    text = str(hint).replace("typing.", "").replace("NoneType", "null").replace("None", "null")
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", text)


_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n      .*)*)", re.MULTILINE)


def _attribute_docs(pass_type: type[Pass]) -> dict[str, str]:
    """What docstrings say under ``Attributes:``, of the class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(pass_type.__mro__):
        doc = inspect.cleandoc(base.__doc__ or "")
        _, _, section = doc.partition("Attributes:\n")
        section = section.split("\n\n")[0]
        found.update({name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(section)})
    return found
