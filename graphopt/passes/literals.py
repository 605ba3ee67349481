"""Values of options as text: numbers, ``true``, ``false``, ``null``, words, quoted text, lists and tables.

A bare word that looks like a number is one only if the option wants a number; :class:`Word` remembers that it was not quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from graphopt.errors import PipelineError

__all__ = ["Scanner", "Word", "plain", "render", "words"]

_WORD = re.compile(r"[^\s,(){}\[\]=\"#]+")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_./:*-]*\Z")
_CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "null": None}


class Word(str):
    """A word that was not quoted: text, unless something else is wanted that it can mean."""

    __slots__ = ()

    def typed(self) -> object:
        """The number, boolean or ``None`` that it looks like, else the text."""
        if self in _CONSTANTS:
            return _CONSTANTS[self]
        for make in (int, float):
            try:
                return make(self)
            except ValueError:
                continue
        return str(self)


class Scanner:
    """Reads a text from left to right.

    Args:
        text: what to read.
        what: names the text in errors.
    """

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.at = 0
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None, "the pattern matches the empty text too"
        self.at = found.end()

    def fail(self, message: str, at: int | None = None) -> PipelineError:
        """An error at a place in the text, the present one by default."""
        at = self.at if at is None else at
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        where = f"column {column}" if "\n" not in self.text.strip() else f"line {line}, column {column}"
        return PipelineError(f"{self.what}, {where}: {message}")

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.at >= len(self.text)

    def peek(self) -> str:
        """The next character, ``""`` at the end."""
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> bool:
        """Go past a character if it is next."""
        if self.done or self.text[self.at] != character:
            return False
        self.at += 1
        self._skip()
        return True

    def expect(self, character: str, after: str) -> None:
        """Go past a character that must be next."""
        if not self.take(character):
            raise self.fail(f"expected {character!r} after {after}, found {self.found()}")

    def found(self) -> str:
        """The next character, for errors."""
        return repr(self.peek()) if not self.done else "the end"

    def word(self, what: str) -> str:
        """A bare word."""
        match = _WORD.match(self.text, self.at)
        if match is None:
            raise self.fail(f"expected {what}, found {self.found()}")
        self.at = match.end()
        self._skip()
        return match.group()

    def value(self) -> object:
        """A value: a word, quoted text, a list or a table."""
        match self.peek():
            case '"':
                return self._quoted()
            case "[":
                self.take("[")
                items: list[object] = []
                self._items("]", lambda: items.append(self.value()))
                return items
            case "{":
                self.take("{")
                table: dict[str, object] = {}
                self._items("}", lambda: self._pair(table))
                return table
            case _:
                return Word(self.word("a value"))

    def _items(self, end: str, read: Callable[[], None]) -> None:
        while not self.take(end):
            read()
            if not self.take(",") and self.peek() != end:
                raise self.fail(f"expected ',' or {end!r}, found {self.found()}")

    def _pair(self, table: dict[str, object]) -> None:
        at = self.at
        key = self._quoted() if self.peek() == '"' else self.word("a key")
        self.expect("=", f"key {key!r}")
        if key in table:
            raise self.fail(f"key {key!r} is there twice", at)
        table[key] = self.value()

    def _quoted(self) -> str:
        match = _QUOTED.match(self.text, self.at)
        if match is None:
            raise self.fail("quoted text has no end; expected '\"'")
        try:
            text: str = json.loads(match.group())
        except ValueError as err:
            raise self.fail(f"quoted text {match.group()} is not understood: {err}") from err
        self.at = match.end()
        self._skip()
        return text


def plain(value: object) -> object:
    """A scanned value with bare words as what they look like."""
    return _convert(value, Word.typed)


def words(value: object) -> object:
    """A scanned value with bare words as text."""
    return _convert(value, str)


def _convert(value: object, convert: Callable[[Word], object]) -> object:
    if isinstance(value, Word):
        return convert(value)
    if isinstance(value, list):
        return [_convert(item, convert) for item in value]
    if isinstance(value, dict):
        return {key: _convert(item, convert) for key, item in value.items()}
    return value


def render(value: object) -> str:
    """The text of a plain value, which :class:`Scanner` reads back.

    Args:
        value: ``None``, booleans, numbers, text, sequences of these, mappings from text.

    Raises:
        TypeError: for anything else.

    Example:
        >>> render([1, 0.5, True, "relu", "two words"])
        '[1,0.5,true,relu,"two words"]'
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        bare = _BARE.match(value) is not None and Word(value).typed() == value
        return value if bare else json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{render(str(key))}={render(value[key])}" for key in sorted(value, key=str)) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(map(render, value)) + "]"
    raise TypeError(f"a {type(value).__name__} has no text form")
