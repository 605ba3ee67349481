"""Names and what they stand for, each with its owner; what is lazy is imported when somebody asks for it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from graphopt.errors import PipelineError, PluginError

if TYPE_CHECKING:
    from graphopt.passes.base import Pass

__all__ = ["Lazy", "PassRegistry", "Registry", "suggestion"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Lazy:
    """Something that is imported when it is first used.

    Attributes:
        path: ``"package.module:attribute"``.
        requires: modules of optional packages that it needs; of ``"one|other"`` either.
        install: command that installs them, for people.
        make: whether the attribute is called, without arguments, to make the thing.

    Example:
        >>> Lazy("collections:OrderedDict").load().__name__
        'OrderedDict'
        >>> Lazy("json:dumps", requires=("no_such_module",), install="pip install no-such").missing
        'no_such_module is not installed; pip install no-such'
    """

    path: str
    requires: tuple[str, ...] = ()
    install: str = ""
    make: bool = False

    def __post_init__(self) -> None:
        if isinstance(cast(object, self.requires), str):  # would be taken as a module for each letter
            raise TypeError(f"requires is the text {self.requires!r}, expected a tuple of module names")

    @property
    def missing(self) -> str | None:
        """What is not installed and how to install it; ``None`` when nothing is missing."""
        absent = [name.replace("|", " or ") for name in self.requires if not any(map(_is_installed, name.split("|")))]
        if not absent:
            return None
        verb = "is" if len(absent) == 1 else "are"
        return f"{', '.join(absent)} {verb} not installed; {self.install or 'pip install ' + ' '.join(absent)}"

    def load(self) -> object:
        """Import it.

        Raises:
            PluginError: if something that it requires is missing, or the import fails.
        """
        if self.missing is not None:
            raise PluginError(self.missing)
        module, _, attribute = self.path.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
            return found() if self.make else found
        except Exception as err:
            raise PluginError(f"{self.path!r} can't be imported: {type(err).__name__}: {err}") from err


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing, or a broken module of that name is loaded
        return False


def suggestion(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when a known word is close, else ``""``.

    Example:
        >>> suggestion("fold-constant", ["fold-constants", "cse"])
        "; did you mean 'fold-constants'?"
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    item: object


class Registry(Mapping[str, _T], Generic[_T]):
    """What plugins offer under names, in order of registration.

    Args:
        kind: what the names stand for, for errors: ``"pass"``.
        plural: the same for several, as ``graphopt list`` takes it.

    Example:
        >>> numbers = Registry("number", "numbers")
        >>> numbers.add("one", 1, owner="builtin")
        >>> numbers["one"], numbers.owner("one")
        (1, 'builtin')
    """

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        self.plural = plural
        self._entries: dict[str, _Entry] = {}
        self._aliases: dict[str, str] = {}
        self._loaded: dict[str, _T] = {}

    def add(self, name: str, item: _T | Lazy, *, owner: str) -> None:
        """Register a name.

        Raises:
            PluginError: if the name is taken; it names both owners.
        """
        self._refuse_taken(name, owner)
        self._entries[name] = _Entry(owner, item)

    def alias(self, name: str, target: str, *, owner: str) -> None:
        """Let another name stand for ``target``.

        Raises:
            PluginError: if the name is taken.
        """
        self._refuse_taken(name, owner)
        self._aliases[name] = target

    def _refuse_taken(self, name: str, owner: str) -> None:
        taken = self._entries.get(self._aliases.get(name, name))
        if taken is None:
            return
        first, second = sorted((taken.owner, owner))
        both = f"twice by {owner!r}" if first == second else f"by both {first!r} and {second!r}"
        raise PluginError(
            f"{self.kind} {name!r} is registered {both}; rename one, or leave a plugin out with --no-plugin"
        )

    def resolve(self, name: str) -> str:
        """The name that an alias stands for, else the name itself."""
        return self._aliases.get(name, name)

    def owner(self, name: str) -> str:
        """The plugin that registered a name."""
        return self._entries[self.resolve(name)].owner

    def stated(self, name: str) -> _T | Lazy:
        """What was registered under a name, not loaded if it is lazy."""
        return cast("_T | Lazy", self._entries[self.resolve(name)].item)

    def missing(self, name: str) -> str | None:
        """What a name needs that is not installed, with the command that installs it; ``None`` when it can be used."""
        item = self._entries[self.resolve(name)].item
        return item.missing if isinstance(item, Lazy) else None

    def __getitem__(self, name: str) -> _T:
        name = self.resolve(name)
        if name not in self._loaded:
            entry = self._entries[name]
            self._loaded[name] = self._load(name, entry)
        return self._loaded[name]

    def _load(self, name: str, entry: _Entry) -> _T:
        if not isinstance(entry.item, Lazy):
            return cast("_T", entry.item)
        try:
            return cast("_T", entry.item.load())
        except PluginError as err:
            raise PluginError(f"{self.kind} {name!r} of plugin {entry.owner!r}: {err}") from err

    def find(self, name: str) -> _T:
        """What a name stands for.

        Raises:
            PipelineError: if nobody registered it, with the nearest known name.
            PluginError: if it can't be loaded.
        """
        if self.resolve(name) not in self._entries:
            raise PipelineError(self.unknown(name))
        return self[name]

    def unknown(self, name: str) -> str:
        """What to say about a name that nobody registered."""
        return (
            f"unknown {self.kind} {name!r}{suggestion(name, [*self._entries, *self._aliases]) or ';'}"
            f" known {self.plural}: graphopt list {self.plural}"
        )

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.resolve(name) in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names, and what they stand for."""
        return self._aliases


class PassRegistry(Registry["type[Pass]"]):
    """Passes by name, and named pipelines (levels among them) as text.

    Example:
        >>> registry = PassRegistry()
        >>> registry.pipelines.add("O0", "", owner="builtin")
        >>> list(registry.pipelines)
        ['O0']
    """

    def __init__(self) -> None:
        super().__init__("pass", "passes")
        self.pipelines: Registry[str] = Registry("pipeline", "pipelines")

    @classmethod
    def of(cls, *passes: type[Pass], pipelines: Mapping[str, str] | None = None) -> PassRegistry:
        """A registry of a few passes, as tests and scripts need it."""
        registry = cls()
        for item in passes:
            registry.add(item.name, item, owner=item.__module__)
        for name, text in (pipelines or {}).items():
            registry.pipelines.add(name, text, owner="")
        return registry

    def unknown(self, name: str) -> str:
        """What to say about a name that is neither a pass nor a pipeline."""
        known = [*self, *self.aliases, *self.pipelines]
        return f"unknown pass {name!r}{suggestion(name, known) or ';'} known passes: graphopt list passes"
