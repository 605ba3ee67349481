"""Pipelines: passes in order, as values and as text.

``canonicalize,fixpoint{max_rounds=4}(fuse-conv-bn,cse),prune-magnitude{sparsity=0.5}``: names with options in braces, separated by
commas; ``fixpoint(...)`` repeats what is inside until nothing changes. The name of a pipeline (``O2``) stands for its passes. Space,
line ends and ``# comments`` may stand between words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec

from graphopt.errors import PipelineError
from graphopt.numerics import Numerics, weakest
from graphopt.passes.base import Pass
from graphopt.passes.literals import Scanner, Word, plain
from graphopt.passes.options import build_pass, pass_text, with_options
from graphopt.passes.registry import PassRegistry, suggestion

__all__ = ["Fixpoint", "Item", "Pipeline", "parse_overrides", "parse_pipeline"]

_FIXPOINT: Final = "fixpoint"
_DEFAULT_ROUNDS: Final = 16
_MAX_NESTING: Final = 32


@dataclass(frozen=True)
class Fixpoint:
    """Repeats passes until none of them changes anything.

    Attributes:
        items: what is repeated, in order.
        max_rounds: most rounds, the last one included that changes nothing.
    """

    items: tuple[Item, ...]
    max_rounds: int = _DEFAULT_ROUNDS


#: A member of a pipeline.
Item = Pass | Fixpoint


@dataclass(frozen=True)
class Pipeline:
    """Passes in order. Immutable.

    Attributes:
        items: passes and repeated groups.

    Example:
        >>> from graphopt.builtin_plugin import builtin_plugins
        >>> registry = builtin_plugins(discover=False).passes
        >>> pipeline = Pipeline.from_text("fold-constants,prune-magnitude{sparsity=0.9}", registry)
        >>> pipeline.without("fold-constants").to_text()
        'prune-magnitude{sparsity=0.9}'
        >>> print(pipeline.declared_numerics)
        lossy (sqnr)
    """

    items: tuple[Item, ...] = ()

    def __post_init__(self) -> None:
        members: tuple[object, ...] = self.items  # whoever does not check types may have put anything there
        for item in members:
            if not isinstance(item, Item):
                made = "; make one of it with ()" if isinstance(item, type) and issubclass(item, Pass) else ""
                raise TypeError(f"a member of a pipeline is {item!r:.80}, expected a pass or Fixpoint{made}")

    @classmethod
    def of(cls, *items: Item) -> Pipeline:
        """A pipeline of passes that were made in Python."""
        return cls(items)

    @classmethod
    def from_text(cls, text: str, registry: PassRegistry) -> Pipeline:
        """The pipeline that a text describes; see :func:`parse_pipeline`."""
        return parse_pipeline(text, registry)

    def to_text(self) -> str:
        """Its text; options that have their default are left out.

        Raises:
            PipelineError: if an option has no text form.
        """
        return ",".join(map(_item_text, self.items))

    def passes(self) -> Iterator[Pass]:
        """All passes, those inside of groups once each, in order."""
        return _flat(self.items)

    @property
    def declared_numerics(self) -> Numerics:
        """What the whole pipeline does to numbers: the weakest declaration of its passes."""
        return weakest(item.declared_numerics for item in self.passes())

    def without(self, *names: str) -> Pipeline:
        """The same without all passes of these names; groups that become empty go too."""
        return Pipeline(_without(self.items, frozenset(names)))

    def with_options(self, options: Mapping[str, Mapping[str, object]]) -> Pipeline:
        """The same with options of some passes changed, wherever these stand.

        Args:
            options: plain values by pass name and option name.

        Raises:
            PipelineError: if a pass is not in the pipeline, or an option is wrong.
        """
        names = dict.fromkeys(item.name for item in self.passes())
        for name in options:
            if name not in names:
                known = ", ".join(names) or "none"
                raise PipelineError(
                    f"options are given for pass {name!r}, which is not in the pipeline{suggestion(name, names) or ';'} it has: {known}"
                )
        return Pipeline(_changed(self.items, options))

    def __add__(self, other: Pipeline) -> Pipeline:
        return Pipeline(self.items + other.items)

    def __str__(self) -> str:
        return self.to_text()


def _flat(items: tuple[Item, ...]) -> Iterator[Pass]:
    for item in items:
        if isinstance(item, Fixpoint):
            yield from _flat(item.items)
        else:
            yield item


def _item_text(item: Item) -> str:
    if not isinstance(item, Fixpoint):
        return pass_text(item)
    rounds = f"{{max_rounds={item.max_rounds}}}" if item.max_rounds != _DEFAULT_ROUNDS else ""
    return f"{_FIXPOINT}{rounds}({','.join(map(_item_text, item.items))})"


def _without(items: tuple[Item, ...], names: frozenset[str]) -> tuple[Item, ...]:
    kept: list[Item] = []
    for item in items:
        if isinstance(item, Fixpoint):
            inside = _without(item.items, names)
            if inside:
                kept.append(replace(item, items=inside))
        elif item.name not in names:
            kept.append(item)
    return tuple(kept)


def _changed(items: tuple[Item, ...], options: Mapping[str, Mapping[str, object]]) -> tuple[Item, ...]:
    changed: list[Item] = []
    for item in items:
        if isinstance(item, Fixpoint):
            changed.append(replace(item, items=_changed(item.items, options)))
        else:
            changed.append(with_options(item, options[item.name]) if item.name in options else item)
    return tuple(changed)


def parse_pipeline(text: str, registry: PassRegistry, *, what: str = "pipeline") -> Pipeline:
    """The pipeline that a text describes.

    Args:
        text: see the head of this module.
        registry: the passes and named pipelines that there are.
        what: names the text in errors.

    Raises:
        PipelineError: with the place in the text: bad syntax, an unknown name, option or value, or pipelines that name each other.
        PluginError: if a pass can't be loaded.
    """
    return Pipeline(_Parser(text, registry, what, ()).parse())


class _Parser:
    """Reads one text; the names of pipelines around it tell when they go in a circle."""

    def __init__(self, text: str, registry: PassRegistry, what: str, around: tuple[str, ...]) -> None:
        self.scan = Scanner(text, what)
        self.registry = registry
        self.around = around

    def parse(self) -> tuple[Item, ...]:
        if self.scan.done:
            return ()
        items = self._items(0)
        if self.scan.peek():
            raise self.scan.fail(f"expected ',' or the end, found {self.scan.found()}")
        return items

    def _items(self, nesting: int) -> tuple[Item, ...]:
        items: list[Item] = []
        while True:
            items.extend(self._item(nesting))
            if not self.scan.take(","):
                return tuple(items)

    def _item(self, nesting: int) -> tuple[Item, ...]:
        at = self.scan.at
        name = self.scan.word("a pass name")
        options: dict[str, object] = {}
        stated = self.scan.peek() == "{"
        if stated:
            found = self.scan.value()
            assert isinstance(found, dict), "a table starts with a brace"
            options = found
        if name == _FIXPOINT:
            group = self._fixpoint(options, at, nesting)
            return (group,) if group.items else ()  # nothing to repeat: a named pipeline may be empty
        if self.scan.peek() == "(":
            raise self.scan.fail(f"{name!r} can't contain passes; only {_FIXPOINT}(...) can")
        if name in self.registry.pipelines and name not in self.registry:
            if stated:
                raise self.scan.fail(f"pipeline {name!r} has no options of its own; set those of its passes", at)
            return self._named(name, at)
        if name not in self.registry:
            raise self.scan.fail(self.registry.unknown(name), at)
        try:
            return (build_pass(self.registry[name], options),)
        except PipelineError as err:
            raise self.scan.fail(str(err), at) from err

    def _named(self, name: str, at: int) -> tuple[Item, ...]:
        name = self.registry.pipelines.resolve(name)
        if name in self.around:
            raise self.scan.fail(f"pipelines go in a circle: {' -> '.join((*self.around, name))}", at)
        owner = self.registry.pipelines.owner(name)
        what = f"pipeline {name!r}" + (f" of plugin {owner!r}" if owner else "")
        return _Parser(self.registry.pipelines[name], self.registry, what, (*self.around, name)).parse()

    def _fixpoint(self, options: dict[str, object], at: int, nesting: int) -> Fixpoint:
        if nesting >= _MAX_NESTING:
            raise self.scan.fail(f"more than {_MAX_NESTING} nested groups", at)
        self.scan.expect("(", f"{_FIXPOINT!r}")
        items = self._items(nesting + 1)
        self.scan.expect(")", "the last pass of the group")
        rounds = _DEFAULT_ROUNDS
        for option, value in options.items():
            if option != "max_rounds":
                raise self.scan.fail(f"{_FIXPOINT} has no option {option!r}; it has: max_rounds: int >= 1", at)
            try:
                rounds = msgspec.convert(plain(value), Annotated[int, msgspec.Meta(ge=1)])
            except msgspec.ValidationError as err:
                raise self.scan.fail(
                    f"option 'max_rounds' of {_FIXPOINT} is {plain(value)!r}, expected int >= 1", at
                ) from err
        return Fixpoint(items, rounds)


def parse_overrides(settings: list[str]) -> dict[str, dict[str, object]]:
    """Options by pass and name, from texts such as ``"prune-magnitude.sparsity=0.5"``.

    Args:
        settings: values are written as in pipeline text; anything that is not understood that way is taken as text.

    Raises:
        PipelineError: if one is not of the form ``pass.option=value``.

    Example:
        >>> parse_overrides(["prune-magnitude.sparsity=0.5"])
        {'prune-magnitude': {'sparsity': '0.5'}}
    """
    found: dict[str, dict[str, object]] = {}
    for setting in settings:
        place, equals, text = setting.partition("=")
        name, dot, option = (part.strip() for part in place.partition("."))
        if not (equals and dot and name and option):
            raise PipelineError(f"setting {setting!r} is not understood; expected pass.option=value")
        found.setdefault(name, {})[option] = _setting(text)
    return found


def _setting(text: str) -> object:
    scan = Scanner(text, "setting")
    try:
        value = scan.value()
    except PipelineError:
        return Word(text)
    return value if scan.done else Word(text)
