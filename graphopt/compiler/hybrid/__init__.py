"""Models built in parts: engines where a target takes nodes, ONNX for the rest, in a folder that one runner runs.

Import from here, not from the modules inside.
"""

from __future__ import annotations

from graphopt.compiler.hybrid.building import Hybrid, build_hybrid

__all__ = ["Hybrid", "build_hybrid"]
