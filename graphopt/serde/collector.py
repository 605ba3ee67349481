"""The pause of Python's cycle collector, under the name by which lifting and emission use it."""

from __future__ import annotations

from graphopt.ir import collector_paused

__all__ = ["collector_paused"]
