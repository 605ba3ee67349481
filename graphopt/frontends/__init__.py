"""Frontends: what a model comes from (files, protobufs, graphs of other tools) to IR.

May import ``graphopt.serde``, ``graphopt.ir`` and ``graphopt.errors``.
"""

from __future__ import annotations

from graphopt.frontends.base import Frontend

__all__ = ["Frontend"]
