"""How docstrings of graphopt read as Markdown: an extension of griffe, which mkdocstrings reads them with.

Docstrings say ``:class:`Name` `` where a class is meant, ``Example:`` where one example follows, and have tables between lines of ``=``.
"""

from __future__ import annotations

import re

import griffe

__all__ = ["DocstringSyntax", "markdown_of"]

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`[~!]?([^`]+)`")
_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
_TABLE = re.compile(r"^( *)=+(?: +=+)+\n(.*?)^ *=+(?: +=+)+$", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(r"::$", re.MULTILINE)


def markdown_of(docstring: str) -> str:
    """A docstring without roles, its examples under the heading that griffe knows, its tables as they are.

    Example:
        >>> markdown_of("See :class:`~graphopt.ir.Graph`::")
        'See `graphopt.ir.Graph`:'
    """
    text = _TABLE.sub(r"\1```text\n\2\1```", _ROLE.sub(r"`\1`", docstring))
    return _LITERAL.sub(":", _EXAMPLE.sub(r"\1Examples:", text))


class DocstringSyntax(griffe.Extension):
    """Puts each docstring into that form when its object was read."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = markdown_of(obj.docstring.value)
