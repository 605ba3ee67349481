"""What ``tune`` found, as the pipeline file that other commands take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from graphopt.passes import SessionSettings

__all__ = ["tuned_toml"]


def tuned_toml(
    head: Iterable[str],
    level: str,
    disabled: Sequence[str],
    target: str,
    settings: SessionSettings,
    inputs: str | None = None,
) -> str:
    """A pipeline file.

    Args:
        head: what it says of itself, a comment a line.
        level: how the model is optimized.
        disabled: passes that are left out.
        target: name of a backend.
        settings: of ONNX Runtime.
        inputs: path of a file with inputs, relative to where the file will be.

    Example:
        >>> print(tuned_toml(["made by hand"], "O2", ["fuse-pad"], "onnxruntime", SessionSettings(threads=2)))
        # made by hand
        level = "O2"
        disable = ["fuse-pad"]
        target = "onnxruntime"
        <BLANKLINE>
        [session]
        threads = 2
        <BLANKLINE>
    """
    lines = [f"# {' '.join(text.split())}" for text in head]
    lines.append(f"level = {_text(level)}")
    if disabled:
        lines.append(f"disable = [{', '.join(map(_text, disabled))}]")
    lines.append(f"target = {_text(target)}")
    if inputs is not None:
        lines += ["", "[inputs]", f"file = {_text(inputs)}"]
    stated = settings.to_dict()
    if stated:
        lines += ["", "[session]"]
        lines += [f"{name} = {_value(value)}" for name, value in stated.items()]
    return "\n".join(lines) + "\n"


def _value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    """A basic string; its escapes are those of JSON, except for the character DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
