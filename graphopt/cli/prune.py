"""``graphopt prune``: channels, weights or patterns taken away, by an amount, a budget of accuracy or a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.evaluation import BatchSize, LabelsOption, LimitOption
from graphopt.cli.judging_options import ACCURACY, OUTPUT, Data, Metric, Output, panel_option
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Quiet, Seed, UsageError
from graphopt.cli.terminal import progress, show, write_json
from graphopt.errors import PruningError
from graphopt.passes import parse_overrides
from graphopt.report.prune_page import prune_page
from graphopt.report.prune_view import prune_view

__all__ = ["prune"]

_WHAT: Final = "What goes"
_IMPORTANCES = Literal["auto", "l1", "l2", "bn-scale", "activation-energy", "reconstruction"]
_SCOPES = Literal["tensor", "layer-type", "global"]


Channels: TypeAlias = Annotated[
    str | None,
    panel_option(
        _WHAT,
        "--channels",
        metavar="flops=0.5",
        text="Channels, heads and hidden units: part of the operations (flops=) or of the measured time (latency=) that may be left, part "
        "of each group that goes (ratio=), or auto with a budget.",
    ),
]
Magnitude: TypeAlias = Annotated[
    str | None,
    panel_option(
        _WHAT,
        "--magnitude",
        metavar="0.8",
        text="Part of the weights that become zero, those of smallest magnitude; or auto with a budget.",
    ),
]
Pattern: TypeAlias = Annotated[
    str | None,
    panel_option(
        _WHAT, "--n-m", metavar="2:4", text="Of each 4 neighbours 2 are kept, as sparse tensor cores want it."
    ),
]
PlanFile: TypeAlias = Annotated[
    Path | None,
    panel_option(_WHAT, "--plan", metavar="IN.json", text="What another pruning decided, as --save-plan wrote it."),
]
Importance: TypeAlias = Annotated[
    _IMPORTANCES,
    panel_option(
        _WHAT,
        "--importance",
        metavar="NAME",
        text="What channels are ranked by: l1, l2, bn-scale, and with data activation-energy, reconstruction. Default: "
        "activation-energy with data, else l2.",
    ),
]
Scope: TypeAlias = Annotated[
    _SCOPES,
    panel_option(
        _WHAT,
        "--scope",
        metavar="NAME",
        text="Which weights --magnitude compares: of a tensor, of a layer-type, or global (default).",
    ),
]
Included: TypeAlias = Annotated[
    list[str] | None,
    panel_option(
        _WHAT,
        "--include",
        metavar="NAME",
        text="Prune these only: name of a weight or node, pattern, op:Conv; may be repeated.",
    ),
]
Excluded: TypeAlias = Annotated[
    list[str] | None, panel_option(_WHAT, "--exclude", metavar="NAME", text="Leave these alone; may be repeated.")
]
Drop: TypeAlias = Annotated[
    str | None,
    panel_option(
        ACCURACY,
        "--max-accuracy-drop",
        metavar="1%",
        text="How much worse the metric may become: as much goes as that allows, from each layer what it can spare.",
    ),
]
Sqnr: TypeAlias = Annotated[
    float | None, panel_option(ACCURACY, "--min-sqnr", metavar="DB", text="The same for the SQNR of the outputs.")
]


def prune(
    model: ModelPath,
    output: Output = None,
    channels: Channels = None,
    magnitude: Magnitude = None,
    n_m: Pattern = None,
    plan: PlanFile = None,
    importance: Importance = "auto",
    scope: Scope = "global",
    include: Included = None,
    exclude: Excluded = None,
    round_to: Annotated[
        int | None,
        panel_option(
            _WHAT,
            "--round-to",
            metavar="N",
            min=1,
            text="Leave channels in multiples of this. Default: of what the target's kernels take at a time, 16 or 8.",
        ),
    ] = None,
    min_channels: Annotated[
        int, panel_option(_WHAT, "--min-channels", metavar="N", min=1, text="Leave so many in each group. Default: 1.")
    ] = 1,
    prepare: Annotated[
        str | None,
        panel_option(
            _WHAT,
            "--prepare",
            metavar="PASSES",
            text="What the model goes through first. Default: that of the plan, else O2,separate-constants; O1 keeps PyTorch's weights.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        panel_option(_WHAT, "--set", metavar="PASS.OPTION=VALUE", text="Set an option of a pass; may be repeated."),
    ] = None,
    target: Annotated[
        str, panel_option(_WHAT, "--target", metavar="NAME", text="What the model is made for. Default: onnxruntime.")
    ] = "onnxruntime",
    data: Data = None,
    batch: BatchSize = None,
    limit: LimitOption = None,
    labels: LabelsOption = None,
    metric: Metric = None,
    max_accuracy_drop: Drop = None,
    min_sqnr: Sqnr = None,
    sensitivity: Annotated[
        bool,
        panel_option(
            ACCURACY,
            "--sensitivity",
            text="Prune each layer or group alone, and show what that costs. Without an amount or a budget nothing else is done.",
        ),
    ] = False,
    ratios: Annotated[
        str | None,
        panel_option(
            ACCURACY,
            "--ratios",
            metavar="0.25,0.5",
            text="Parts that --sensitivity takes away. Default: 0.25,0.5,0.75 of channels, 0.5,0.75,0.9 of weights.",
        ),
    ] = None,
    recover: Annotated[
        bool,
        panel_option(
            ACCURACY,
            "--recover/--no-recover",
            text="Fit what is left of each layer to what the layer gave before; on by default, needs data.",
        ),
    ] = True,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.001, help="Time for measuring and for sensitivity, about.")
    ] = 30.0,
    threads: Annotated[
        int, typer.Option("--threads", "-t", min=1, help="Threads within an operator, when measuring.")
    ] = 1,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check", help="Check interface, types, zeros and patterns of the result; on by default."
        ),
    ] = True,
    page: Annotated[
        Path | None,
        panel_option(
            OUTPUT, "--page", metavar="FILE.html", text="Where a page with all layers, plots and curves goes."
        ),
    ] = None,
    save_plan: Annotated[
        Path | None, panel_option(OUTPUT, "--save-plan", metavar="OUT.json", text="Where what was decided goes.")
    ] = None,
    force: Annotated[bool, panel_option(OUTPUT, "--force", "-f", text="Replace files that are there.")] = False,
    seed: Seed = 0,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take away what a model needs least: channels, weights or a pattern, recover, and show what that buys."""
    for path in (output, page, save_plan):
        if path is not None:
            check_output(path, force=force)  # before the work, not after it
    budget = max_accuracy_drop is not None or min_sqnr is not None
    stated = any(item is not None and item != "auto" for item in (channels, magnitude, n_m, plan))
    if sensitivity and not stated and not budget and (output is not None or save_plan is not None):
        raise UsageError(
            "--sensitivity alone makes no model to save; state an amount or a budget too, or leave out --output"
        )
    from graphopt.compiler.pruning.pruner import prune as make  # lazily: imports ONNX Runtime

    with progress(f"pruning {model}", wanted=not (quiet or as_json)) as tell:
        result = make(
            model,
            data,
            channels=channels,
            magnitude=magnitude,
            n_m=n_m,
            plan=plan,
            target=target,
            importance=importance,
            scope=scope,
            labels=labels,
            metric=metric,
            max_accuracy_drop=max_accuracy_drop,
            min_sqnr=min_sqnr,
            sensitivity=sensitivity,
            ratios=None if ratios is None else _numbers(ratios),
            include=include or (),
            exclude=exclude or (),
            round_to=round_to,
            min_channels=min_channels,
            prepare=prepare,
            recover=recover,
            options=parse_overrides(settings or []),
            batch=batch,
            limit=limit,
            check=check,
            seconds=seconds,
            threads=threads,
            seed=seed,
            progress=tell,
            plugins=builtin_plugins(no_plugin or ()),
        )
        files = [] if output is None else result.save(output, force=force)
    if save_plan is not None:
        files = [*files, result.save_plan(save_plan, force=force)]
    if page is not None:
        with new_files([check_output(page, force=force)]) as [file]:
            file.write(prune_page(result.report).encode())
        files = [*files, page]
    if as_json:
        write_json(result.report.to_dict() | {"files": [str(path) for path in files]})
    elif not quiet:
        show(prune_view(result.report, files))


def _numbers(text: str) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise PruningError(f"--ratios is {text!r}, expected numbers such as 0.25,0.5,0.75") from None
