"""Dim groups as a table for the terminal and as JSON: which indices can only go together, how many, and what freezes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType

from graphopt.analysis.dim_groups import DimGroup, DimGroups, Member
from graphopt.ir import Value
from graphopt.ir.constant_nodes import constant_of
from graphopt.report.layout import columns, facts
from graphopt.report.units import count_text, counted

__all__ = ["dim_groups_dict", "dim_groups_view"]


def dim_groups_dict(found: DimGroups) -> dict[str, object]:
    """Groups as plain values."""
    free, total = _parameters(found)
    return {
        "parameters": total,
        "parameters_in_free_groups": free,
        "groups": [
            {
                "name": group.name,
                "size": group.size,
                "elements_per_index": max(group.places, 1),
                "frozen": [{"why": why, "where": where} for why, where in group.reasons.items()],
                "producers": _members(group.producers),
                "consumers": _members(group.consumers),
                "others": _members([item for item in group.members if item.kind not in ("in", "out")]),
            }
            for group in found.groups
        ],
    }


def _members(members: Sequence[Member]) -> list[dict[str, object]]:
    return [{"weight": item.value.name, "axis": item.axis} for item in members]


def dim_groups_view(found: DimGroups) -> RenderableType:
    """A row for each group, those that can be pruned first; then what freezes the others."""
    free = [group for group in found.groups if not group.is_frozen]
    frozen = [group for group in found.groups if group.is_frozen]
    rows = [
        (
            group.name,
            f"{group.size:,}",
            f"{group.places:,}" if group.places > 1 else "",
            str(len(group.producers)),
            str(len(group.consumers)),
            "",
        )
        for group in free
    ]
    rows += [
        (group.name, f"{group.size:,}", "", str(len(group.producers)), str(len(group.consumers)), _reason(group))
        for group in frozen
    ]
    table = columns(("group", "size>", "elements each>", "made by>", "contracted by>", "frozen"), rows)
    parameters, total = _parameters(found)
    whole = {
        "groups": f"{counted(len(found.groups), 'group')}, {len(free):,} can be pruned",
        "parameters": f"{count_text(parameters)} of {count_text(total)} are in weights that can become smaller"
        + (f" ({parameters / total:.0%})" if total else ""),
    }
    counts = Counter(next(iter(group.reasons)) for group in frozen)
    if counts:
        whole["frozen"] = "; ".join(f"{count:,} because {why}" for why, count in counts.most_common())
    return Group(table, "", facts(whole))


def _reason(group: DimGroup) -> str:
    why, where = next(iter(group.reasons.items()))
    more = len(group.reasons) - 1
    return f"{why}: {where}" + (f" (and {more} more)" if more else "")


def _parameters(found: DimGroups) -> tuple[int, int]:
    """Elements of float constants that have an axis of which indices may go, and of all."""
    weights: set[Value] = {member.value for group in found.groups if not group.is_frozen for member in group.members}
    sizes = {
        value: constant.size
        for value in found.follow.known()
        if (constant := constant_of(value)) is not None and constant.dtype.is_float
    }
    return sum(size for value, size in sizes.items() if value in weights), sum(sizes.values())
