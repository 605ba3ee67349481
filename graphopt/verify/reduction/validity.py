"""Whether a model is valid: by the invariants of the IR, and by the ONNX checker."""

from __future__ import annotations

import logging
import os
from typing import Final

import onnx
from google.protobuf.message import DecodeError, EncodeError

from graphopt.errors import GraphoptError
from graphopt.ir import find_problems
from graphopt.verify.reduction.case import Case, light_proto

__all__ = ["file_is_valid", "is_valid", "passes_checker"]

logger = logging.getLogger(__name__)

_LARGEST_CHECKED: Final = 1 << 30


def is_valid(case: Case) -> bool:
    """Whether the model of a case is valid."""
    try:
        return next(iter(find_problems(case.model)), None) is None and passes_checker(light_proto(case.model))
    except (GraphoptError, ValueError, EncodeError):
        return False


def passes_checker(proto: onnx.ModelProto) -> bool:
    """Whether the ONNX checker has nothing against a message."""
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError, EncodeError, RuntimeError) as err:
        logger.debug("a candidate is not valid: %s", err)
        return False
    return True


def file_is_valid(path: str) -> bool:
    """Whether the ONNX checker has nothing against a model file; of those above 1 GB nothing is said."""
    try:
        if os.path.getsize(path) > _LARGEST_CHECKED:
            return True
        onnx.checker.check_model(path)
    except (onnx.checker.ValidationError, RuntimeError, ValueError, OSError, DecodeError):
        return False
    return True
