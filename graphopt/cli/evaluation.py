"""``graphopt evaluate``: how good a model is on data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.options import AsJson, BackendName, ModelPath, NoPlugin, Quiet
from graphopt.cli.terminal import progress, show, write_json
from graphopt.report.quantize_view import evaluation_view

__all__ = ["BatchSize", "DataOption", "LabelsOption", "LimitOption", "evaluate"]

DataOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="D",
        help="Data: .npz, a folder of .npy or .npz files, or module:callable.",
        show_default=False,
    ),
]
LabelsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="Y.npz",
        help="What is right for each example: .npy or .npz; FILE.npz#NAME picks an array.",
        show_default=False,
    ),
]
BatchSize: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--batch",
        metavar="N",
        min=1,
        help="Examples that are run together, where the model takes any number. Default: 8.",
        show_default=False,
    ),
]
LimitOption: TypeAlias = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Use no more examples than these.", show_default=False),
]


def evaluate(
    model: ModelPath,
    data: DataOption,
    labels: LabelsOption = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="top1, top5, mse, cosine, sqnr, or module:callable; may be repeated. "
            "Default: top1 with labels, sqnr and cosine with --reference.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="MODEL", help="A model to compare the outputs with.", show_default=False),
    ] = None,
    backend: BackendName = None,
    batch: BatchSize = None,
    limit: LimitOption = None,
    optimize: Annotated[
        bool,
        typer.Option("--ort-optimizer/--no-ort-optimizer", help="Let the runtime optimize the model; on by default."),
    ] = True,
    threads: Annotated[
        int | None,
        typer.Option("--threads", "-t", min=1, help="Threads within an operator. Default: all.", show_default=False),
    ] = None,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show how good a model is on data: by labels, or by the outputs of a reference model."""
    from graphopt.compiler.quantizing.evaluating import evaluate as judge  # lazily: imports ONNX Runtime

    with progress(f"evaluating {model}", wanted=not (quiet or as_json)) as tell:
        found = judge(
            model,
            data,
            labels=labels,
            metric=metric or None,
            reference=reference,
            backend=backend,
            batch=batch,
            limit=limit,
            optimize=optimize,
            threads=threads,
            progress=tell,
            plugins=builtin_plugins(no_plugin or ()),
        )
    if as_json:
        write_json(found.to_dict())
    elif not quiet:
        show(evaluation_view(found))
