"""A place in a text: what a parser of the text form moves along, with errors that give line and column."""

from __future__ import annotations

import re
from collections.abc import Callable

from graphopt.errors import ModelError

__all__ = ["Cursor"]

_SPACE = re.compile(r"(?:\s+|#[^\n]*)*")
_QUOTED = re.compile(r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"')
_WORD_END = re.compile(r"(?![\w.-])", re.ASCII)


class Cursor:
    """A text and a place in it; space and comments (``#`` to the end of the line) are skipped.

    Args:
        text: what is parsed.
        source: its name in errors.
    """

    __slots__ = ("_source", "_text", "pos")

    def __init__(self, text: str, source: str) -> None:
        self._text = text
        self._source = source
        self.pos = 0
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self.pos)
        self.pos = self.pos if found is None else found.end()

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.pos == len(self._text)

    def at(self, mark: str) -> bool:
        """Whether a mark stands here."""
        return self._text.startswith(mark, self.pos)

    def accept(self, mark: str) -> bool:
        """Go past a mark, if it stands here."""
        if not self._text.startswith(mark, self.pos):
            return False
        self.pos += len(mark)
        self._skip()
        return True

    def keyword(self, word: str) -> bool:
        """Go past a whole word, if it stands here."""
        end = self.pos + len(word)
        if not self._text.startswith(word, self.pos) or _WORD_END.match(self._text, end) is None:
            return False
        self.pos = end
        self._skip()
        return True

    def expect(self, mark: str) -> None:
        """Go past a mark that must stand here.

        Raises:
            ModelError: if it does not.
        """
        if not self.accept(mark):
            raise self.unexpected(repr(mark))

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Go past what a pattern finds here, and return it."""
        found = pattern.match(self._text, self.pos)
        if found is None:
            return None
        self.pos = found.end()
        self._skip()
        return found.group()

    def need(self, pattern: re.Pattern[str], what: str) -> str:
        """As :meth:`match`, for what must stand here.

        Raises:
            ModelError: if nothing is found.
        """
        found = self.match(pattern)
        if found is None:
            raise self.unexpected(what)
        return found

    def quoted(self) -> str | None:
        """Go past a quoted string and return it with its quotes."""
        return self.match(_QUOTED)

    def items(self, read: Callable[[], None], end: str) -> None:
        """Read things between commas until ``end``; a comma may stand after the last one."""
        while not self.accept(end):
            read()
            if not self.accept(","):
                self.expect(end)
                return

    def unexpected(self, expected: str) -> ModelError:
        """The error for something else than what must stand here."""
        rest = self._text[self.pos : self.pos + 30].split("\n")[0]
        return self.error(
            f"expected {expected}, found {rest!r}" if rest else f"expected {expected}, found the end of the text"
        )

    def error(self, problem: str, pos: int | None = None) -> ModelError:
        """An error at a place, this one if none is given."""
        pos = self.pos if pos is None else pos
        line = self._text.count("\n", 0, pos) + 1
        column = pos - self._text.rfind("\n", 0, pos)
        return ModelError(f"{self._source}, line {line}, column {column}: {problem}")
