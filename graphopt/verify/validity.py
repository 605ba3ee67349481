"""Whether a model file is a valid ONNX model, by the checker of the ``onnx`` package."""

from __future__ import annotations

import onnx

__all__ = ["invalidity"]


def invalidity(path: str) -> str:
    """What the checker has against a model file, ``""`` for nothing. Its types and shapes are not looked at.

    Args:
        path: the file; external data is looked for beside it.
    """
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as err:
        return " ".join(str(err).split())
    return ""
