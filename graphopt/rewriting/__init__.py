"""Matching and rewriting: patterns as values, rules, and a worklist driver. The only place that edits a graph.

Import from here, not from the modules inside. May import ``graphopt.ir`` and what is below it.
"""

from __future__ import annotations

from graphopt.numerics import Exact, Lossy, Numerics, Reassociates, weakest
from graphopt.rewriting.applications import EVERYWHERE, Application, Applications, Site
from graphopt.rewriting.diagnosis import Stop, diagnose
from graphopt.rewriting.driver import DriverResult, Explain, RuleIndex, rewrite_graph
from graphopt.rewriting.edits import Edit, EditTrace, TouchedNode
from graphopt.rewriting.learned_types import TypeInference, is_complete, join_types, learn_types
from graphopt.rewriting.match import Match
from graphopt.rewriting.nomatch import NoMatch
from graphopt.rewriting.pattern import Pattern, any_, const, one_of, op, rest
from graphopt.rewriting.rewriter import Rewriter
from graphopt.rewriting.rule import IN_PLACE, Replacement, RewritePattern, RewriteRule, Rule, rewrite
from graphopt.rewriting.worklist import Journal

__all__ = [
    "EVERYWHERE",
    "IN_PLACE",
    "Application",
    "Applications",
    "DriverResult",
    "Edit",
    "EditTrace",
    "Exact",
    "Explain",
    "Journal",
    "Lossy",
    "Match",
    "NoMatch",
    "Numerics",
    "Pattern",
    "Reassociates",
    "Replacement",
    "RewritePattern",
    "RewriteRule",
    "Rewriter",
    "Rule",
    "RuleIndex",
    "Site",
    "Stop",
    "TouchedNode",
    "TypeInference",
    "any_",
    "const",
    "diagnose",
    "is_complete",
    "join_types",
    "learn_types",
    "one_of",
    "op",
    "rest",
    "rewrite",
    "rewrite_graph",
    "weakest",
]
