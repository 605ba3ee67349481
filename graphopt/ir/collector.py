"""Pauses Python's cycle collector while many objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_paused"]


@contextmanager
def collector_paused() -> Iterator[None]:
    """Run a block without the cycle collector, whose work would grow with every object that stays.

    What the block made is then counted as old: the next collection of young objects does not walk through it, the next full one does.
    Inside a block that has paused the collector already, nothing happens.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # somebody's frozen objects must stay frozen
            gc.freeze()
            gc.unfreeze()
        gc.enable()
