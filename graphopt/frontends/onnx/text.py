"""Text forms of ONNX models: protobuf's own text format, its JSON, and the syntax of ``onnx.parser``."""

from __future__ import annotations

from typing import cast

from google.protobuf import json_format, text_format
from onnx import ModelProto

from graphopt.errors import ModelError

__all__ = ["TEXT_SUFFIXES", "parse_text"]

_PROTOBUF_TEXT = frozenset({".textproto", ".txtpb", ".prototxt", ".pbtxt"})
_PROTOBUF_JSON = frozenset({".json", ".onnxjson"})
_ONNX_TEXT = frozenset({".onnxtxt", ".onnxtext"})
#: Suffixes of files that are read as text.
TEXT_SUFFIXES = _PROTOBUF_TEXT | _PROTOBUF_JSON | _ONNX_TEXT


def parse_text(content: bytes, suffix: str) -> ModelProto:
    """The model that a text states.

    Args:
        content: UTF-8.
        suffix: of the file, in lower case: says which form it is in.

    Raises:
        ModelError: if it can't be parsed.
    """
    try:
        text = content.decode()
        if suffix in _PROTOBUF_TEXT:
            return cast("ModelProto", text_format.Parse(text, ModelProto()))
        if suffix in _PROTOBUF_JSON:
            return cast("ModelProto", json_format.Parse(text, ModelProto()))
        import onnx.parser  # only for this form

        return onnx.parser.parse_model(text)
    except UnicodeDecodeError as err:
        raise ModelError(f"is not text, although its name ends in {suffix}; name a binary model .onnx") from err
    except (text_format.ParseError, json_format.ParseError) as err:
        raise ModelError(f"cannot be read as {suffix}: {_line(err)}; fix the text") from err
    except _onnx_parse_error() as err:
        raise ModelError(f"cannot be read as ONNX text: {_line(err)}; fix the text") from err


def _line(err: Exception) -> str:
    return " ".join(str(err).split())


def _onnx_parse_error() -> type[Exception]:
    import onnx.parser  # only for this form

    return onnx.parser.ParseError
