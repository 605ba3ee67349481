"""Oracles: what must hold for every pass and every model, each a function that raises when it does not.

Import from :mod:`graphopt.testing`, not from here.
"""

from __future__ import annotations

from graphopt.testing.oracles.assertions import (
    assert_commutes_with,
    assert_deterministic,
    assert_equivalent,
    assert_frugal,
    assert_honest,
    assert_idempotent,
    assert_no_rewrite,
    assert_rewrites,
    assert_unchanged_input,
)
from graphopt.testing.oracles.commuting import (
    INLINING,
    NODE_ORDER,
    OPSET_UPGRADE,
    RENAMING,
    TRANSFORMATIONS,
    Transformation,
)
from graphopt.testing.oracles.law import Checked, LawBroken

__all__ = [
    "INLINING",
    "NODE_ORDER",
    "OPSET_UPGRADE",
    "RENAMING",
    "TRANSFORMATIONS",
    "Checked",
    "LawBroken",
    "Transformation",
    "assert_commutes_with",
    "assert_deterministic",
    "assert_equivalent",
    "assert_frugal",
    "assert_honest",
    "assert_idempotent",
    "assert_no_rewrite",
    "assert_rewrites",
    "assert_unchanged_input",
]
