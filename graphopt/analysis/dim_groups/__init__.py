"""Dim groups: which indices of which weights can only be removed together, and what freezes them.

Each operator says how the axes of its inputs and outputs correspond (the families, one a module); :mod:`extents` unifies what is the
same; :mod:`groups` collects the classes that weights have. May import :mod:`graphopt.ir` only.
"""

from __future__ import annotations

from graphopt.analysis.dim_groups.extents import Extent, Extents, Leaf, Product, Sum
from graphopt.analysis.dim_groups.following import AttributeSize, SplitSizes
from graphopt.analysis.dim_groups.groups import DimGroup, DimGroups, Member, find_dim_groups
from graphopt.analysis.dim_groups.indices import Mask, Removal, per_leaf
from graphopt.analysis.dim_groups.plugin_roles import PluginRoles
from graphopt.analysis.dim_groups.registry import ROLE_FUNCTIONS

__all__ = [
    "ROLE_FUNCTIONS",
    "AttributeSize",
    "DimGroup",
    "DimGroups",
    "Extent",
    "Extents",
    "Leaf",
    "Mask",
    "Member",
    "PluginRoles",
    "Product",
    "Removal",
    "SplitSizes",
    "Sum",
    "find_dim_groups",
    "per_leaf",
]
