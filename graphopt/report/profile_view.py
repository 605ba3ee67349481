"""A profile as tables for the terminal and as plain values for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group as Parts
from rich.console import RenderableType
from rich.text import Text

from graphopt.report.layout import columns, facts, printable
from graphopt.report.units import counted, seconds_text
from graphopt.runtime.profiling import Advice, Group, Kernel, Profile

__all__ = ["advice_text", "profile_document", "profile_facts", "profile_view"]

_KERNELS = 15
_ADVICE = 3
_NODES = 3


def profile_document(found: Profile) -> dict[str, object]:
    """All of a profile, for JSON; seconds everywhere."""
    return {**asdict(found), "layout_share": found.layout_share}


def profile_view(found: Profile) -> RenderableType:
    """How long a run takes, and where its time goes: by kind of work, by operator, by kernel.

    Args:
        found: the profile.
    """
    parts: list[RenderableType] = [facts(profile_facts(found))]
    parts += [Text(printable(note)) for note in found.notes]
    parts += ["", _groups("kind of work", found.by_pattern, remarks=True)]
    parts += ["", _groups("operator", found.by_op, remarks=False), "", _kernels(found.kernels)]
    left = len(found.kernels) - _KERNELS
    if left > 0:
        share = sum(kernel.share for kernel in found.kernels[_KERNELS:])
        parts.append(Text(f"and {counted(left, 'kernel')} more, {share:.1%} together; -o and --json show them"))
    return Parts(*parts)


def profile_facts(found: Profile) -> dict[str, str]:
    """What was measured, a line each."""
    return {
        "model": found.model,
        "one run": f"{seconds_text(found.wall_seconds)}, and {seconds_text(found.profiled_seconds)} under the profiler, the median of "
        f"{counted(found.runs, 'run')}; "
        f"{counted(found.threads, 'thread')}, {found.backend}",
        "kernels": f"{seconds_text(found.kernel_seconds)} in {counted(len(found.kernels), 'kernel')}, "
        f"{found.layout_share:.1%} of it to move, convert or reorder data",
    }


def advice_text(advice: Sequence[Advice], remark: str = "") -> str:
    """Rewrites that would help, the first few, or what to know when there are none."""
    more = f" and {len(advice) - _ADVICE} more" if len(advice) > _ADVICE else ""
    return "; ".join(map(str, advice[:_ADVICE])) + more if advice else remark


def _groups(head: str, groups: Sequence[Group], *, remarks: bool) -> RenderableType:
    rows = [
        (
            group.name,
            seconds_text(group.seconds),
            f"{group.share:.1%}",
            f"{group.kernels:,}",
            *([advice_text(group.advice, group.remark)] if remarks else []),
        )
        for group in groups
    ]
    heads = (head, "time>", "share>", "kernels>", *(["what would change it (pass, level)"] if remarks else []))
    return columns(heads, rows)


def _kernels(kernels: Sequence[Kernel]) -> RenderableType:
    rows = [
        (
            kernel.op.rpartition("::")[2],
            seconds_text(kernel.seconds),
            f"{kernel.share:.1%}",
            kernel.shape,
            _listed(kernel.nodes) or kernel.name,
            advice_text(kernel.advice[:1]),
        )
        for kernel in kernels[:_KERNELS]
    ]
    return columns(("kernel", "time>", "share>", "gives", "nodes of the model", "what would change it"), rows)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NODES]) + (f" and {len(names) - _NODES} more" if len(names) > _NODES else "")
