"""Infrastructure of passes: what a pass is and how pipelines run. No concrete pass lives here.

Import from here, not from the modules inside.
"""

from __future__ import annotations

from graphopt.numerics import Exact, Lossy, Numerics, Reassociates, weakest
from graphopt.passes.base import Executor, ModelTypes, Pass, PassContext, PassResult
from graphopt.passes.rewrite_pass import RewritePass

__all__ = [
    "Exact",
    "Executor",
    "Lossy",
    "ModelTypes",
    "Numerics",
    "Pass",
    "PassContext",
    "PassResult",
    "Reassociates",
    "RewritePass",
    "weakest",
]
