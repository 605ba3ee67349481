"""Kernels that TensorRT-RTX compiles where an engine runs, kept in a file from run to run.

The library sees itself whether a cache fits its version and the device; one that does not is left aside and made anew.
Source: https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest (runtime cache), facts only.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from graphopt.backends.onnx.atomic import new_files
from graphopt.errors import OutputError

__all__ = ["KernelCache", "cache_beside"]

logger = logging.getLogger(__name__)


class KernelCache:
    """The cache of one engine.

    Args:
        path: the file. What it holds is used, and replaced when the engine is closed; an empty one is a cache without kernels.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = b""
        self._cache: Any = None

    def add_to(self, config: Any) -> None:  # noqa: ANN401  IRuntimeConfig
        """Let a context have the kernels, and put those there that it compiles."""
        try:
            self._content = self._path.read_bytes()
        except OSError as err:
            logger.warning("%s can't be read, kernels are compiled again: %s", self._path, err)
        self._cache = config.create_runtime_cache()
        if self._content and not self._cache.deserialize(self._content):
            logger.warning("%s is not for this library and device, kernels are compiled again", self._path)
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write the kernels, if there are others than before. A file that can't be written is told, and no error: the engine has run."""
        if self._cache is None:
            return
        content = bytes(self._cache.serialize())
        if content == self._content:
            return
        try:
            with new_files([Path(os.path.realpath(self._path))]) as [file]:
                file.write(content)
        except OutputError as err:
            logger.warning("kernels are not kept: %s", err)
        self._content = content


def cache_beside(engine: Path) -> Path:
    """Where the cache of an engine is: ``NAME.engine.cache``."""
    return engine.with_name(f"{engine.name}.cache")
