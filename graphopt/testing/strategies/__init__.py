"""Hypothesis strategies of tensors, nodes, graphs and models.

Import from here or from :mod:`graphopt.testing`, not from the modules inside. All arguments are keywords, what is wrong with them is said
when something is drawn, and what is drawn shrinks: to fewer nodes, smaller tensors, simpler operators.
"""

from __future__ import annotations

from graphopt.testing.strategies.arrays import shapes, tensor_types, tensors
from graphopt.testing.strategies.drawn_feeds import feeds
from graphopt.testing.strategies.drawn_models import graphs, models, opsets
from graphopt.testing.strategies.drawn_pipelines import pipelines, quant_params
from graphopt.testing.strategies.rules import graphs_matching, near_misses
from graphopt.testing.strategies.single_nodes import attributes, nodes

__all__ = [
    "attributes",
    "feeds",
    "graphs",
    "graphs_matching",
    "models",
    "near_misses",
    "nodes",
    "opsets",
    "pipelines",
    "quant_params",
    "shapes",
    "tensor_types",
    "tensors",
]
