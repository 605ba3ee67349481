"""Text in protobufs. ONNX wants UTF-8; protobuf hands over as ``bytes`` what is not, which names must not be."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from graphopt.errors import ModelError

__all__ = ["checked_name", "find_broken_text", "readable"]


def checked_name(name: object, where: str) -> str:
    """A name as text.

    Args:
        name: what protobuf gave.
        where: what has this name, for the error.

    Raises:
        ModelError: if it is not UTF-8, or contains a NUL character.
    """
    if not isinstance(name, str):
        raise ModelError(f"{where}: the name {name!r} is not UTF-8; rename it")
    if "\0" in name:
        raise ModelError(f"{where}: the name {name!r} contains a NUL character; rename it")
    return name


def readable(text: object) -> str:
    """A doc string or other text for people, with the replacement character where it is not UTF-8."""
    return text if isinstance(text, str) else bytes(text).decode(errors="replace") if isinstance(text, bytes) else ""


def find_broken_text(message: Message, path: str = "model") -> Iterator[str]:
    """The places of all texts in a message that are not UTF-8."""
    for field, value in message.ListFields():
        place = f"{path}.{field.name}"
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        repeated = not isinstance(value, str | bytes | Message)
        items = value if repeated else (value,)
        if field.type == field.TYPE_STRING:
            if any(isinstance(item, bytes) for item in items):
                yield place
        else:
            for index, item in enumerate(items):
                yield from find_broken_text(item, f"{place}[{index}]" if repeated else place)
