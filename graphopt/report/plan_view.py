"""A pruning plan, for people and as JSON."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType

from graphopt.passes import AxisPlan, PruningPlan
from graphopt.report.layout import columns, facts
from graphopt.report.units import counted

__all__ = ["plan_dict", "plan_view"]


def plan_dict(plan: PruningPlan) -> dict[str, object]:
    """The plan as plain values, with numbers of indices and elements instead of which these are."""
    return {
        "model": plan.model,
        "source": plan.source,
        "prepare": plan.prepare,
        "steps": list(plan.steps),
        "graphopt": plan.version,
        "axes": [
            {
                "groups": list(item.groups),
                "size": item.kept.size,
                "kept": int(np.count_nonzero(item.kept)),
                "weights": [[name, axis] for name, axis in item.places()],
            }
            for item in plan.axes
        ],
        "masks": [
            {"weight": name, "shape": list(mask.shape), "zeros": mask.zeros} for name, mask in plan.masks.items()
        ],
    }


def plan_view(plan: PruningPlan) -> RenderableType:
    """A line for each class of indices that goes and for each weight that is masked; then where the plan comes from."""
    axes = [[_title(item), f"{np.count_nonzero(item.kept)}", f"{item.kept.size}", _places(item)] for item in plan.axes]
    masks = [
        [name, f"{mask.zeros:,}", f"{mask.size:,}", f"{100 * mask.zeros / max(1, mask.size):.1f} %"]
        for name, mask in plan.masks.items()
    ]
    whole = {
        "steps": ", ".join(plan.steps),
        "model": f"{plan.model:.12}, weights aside",
        "source": f"{plan.source:.12}" + (f", prepared by {plan.prepare}" if plan.prepare else ""),
        "recorded": f"by graphopt {plan.version}",
    }
    parts: list[RenderableType] = []
    if axes:
        parts += [columns(("group", "left>", "of>", "axes"), axes), ""]
    if masks:
        parts += [columns(("weight", "zero>", "of>", "share>"), masks), ""]
    return Group(*parts, facts({name: text for name, text in whole.items() if text}))


def _title(item: AxisPlan) -> str:
    return ", ".join(item.groups) or next(iter(item.weights))


def _places(item: AxisPlan) -> str:
    places = [f"{name}[{axis}]" for name, axis in item.places()]
    return ", ".join(places[:4]) + (f" and {counted(len(places) - 4, 'other')}" if len(places) > 4 else "")
