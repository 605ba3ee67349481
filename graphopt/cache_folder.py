"""Where graphopt keeps what can be made again: the cache folder of the user's system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/graphopt`` where that is an absolute path, else the place that the system has for caches; it may not exist.

    Raises:
        RuntimeError: if the user has no home folder.
    """
    given = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    if given and os.path.isabs(given):
        return Path(given) / "graphopt"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "graphopt"
