"""``graphopt quantize``: a model in integers, where that is accurate enough and faster here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.evaluation import BatchSize, LabelsOption, LimitOption
from graphopt.cli.judging_options import ACCURACY, DATA, OUTPUT, Data, Metric, Output, panel_option
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Quiet, Seed
from graphopt.cli.terminal import progress, show, write_json
from graphopt.passes import parse_overrides
from graphopt.report.quantize_page import quantize_page
from graphopt.report.quantize_view import prospects_view, quantize_view

__all__ = ["quantize"]

_FORM: Final = "Form"
_FORMS = Literal["auto", "static", "qoperator", "dynamic", "weights", "stored", "float16", "bfloat16"]
_TYPES = Literal["int8", "int4", "uint4"]


Calibrator: TypeAlias = Annotated[
    str,
    panel_option(
        DATA, "--calibrator", metavar="NAME", text="What finds ranges; graphopt list calibrators. Default: auto."
    ),
]
CalibratorOptions: TypeAlias = Annotated[
    list[str] | None,
    panel_option(DATA, "--option", metavar="NAME=VALUE", text="An option of the calibrator; may be repeated."),
]
Table: TypeAlias = Annotated[
    Path | None, panel_option(DATA, "--table", metavar="TABLE.json", text="Ranges that graphopt calibrate has found.")
]
Drop: TypeAlias = Annotated[
    str | None,
    panel_option(
        ACCURACY,
        "--max-accuracy-drop",
        metavar="0.5%",
        text="How much worse the metric may become; the worst layers stay in floats until that holds.",
    ),
]
Sqnr: TypeAlias = Annotated[
    float | None,
    panel_option(
        ACCURACY, "--min-sqnr", metavar="DB", text="The same for the SQNR of the outputs. Default: 20, aimed for."
    ),
]
Accuracy: TypeAlias = Annotated[
    str,
    panel_option(
        ACCURACY,
        "--accuracy",
        metavar="NAMES",
        text="Passes for accuracy: auto for those that help (default), none, or some of equalize,smooth,correct-biases,gptq,"
        "round-weights,split-outliers.",
    ),
]
Included: TypeAlias = Annotated[
    list[str] | None,
    panel_option(
        _FORM, "--include", metavar="LAYER", text="Quantize these layers only: name, pattern, op:Conv; may be repeated."
    ),
]
Excluded: TypeAlias = Annotated[
    list[str] | None,
    panel_option(_FORM, "--exclude", metavar="LAYER", text="Leave these layers in floats; may be repeated."),
]
FormName: TypeAlias = Annotated[
    _FORMS,
    panel_option(
        _FORM,
        "--form",
        metavar="NAME",
        text="auto (default) measures and keeps what is faster than floats; static, qoperator, dynamic, weights, stored, float16 "
        "and bfloat16 are made as stated.",
    ),
]


def quantize(
    model: ModelPath,
    output: Output = None,
    data: Data = None,
    form: FormName = "auto",
    target: Annotated[
        str, panel_option(_FORM, "--target", metavar="NAME", text="What the model is made for. Default: onnxruntime.")
    ] = "onnxruntime",
    weight_type: Annotated[
        _TYPES, panel_option(_FORM, "--weights", metavar="TYPE", text="Of form weights: int8 (default), int4 or uint4.")
    ] = "int8",
    block: Annotated[
        int | None,
        panel_option(
            _FORM, "--block", metavar="N", min=0, text="Of form weights: how many share a scale; 0 for a channel."
        ),
    ] = None,
    include: Included = None,
    exclude: Excluded = None,
    requantize: Annotated[
        bool, panel_option(_FORM, "--requantize", text="Quantize a model anew that is quantized already.")
    ] = False,
    calibrator: Calibrator = "auto",
    calibrator_options: CalibratorOptions = None,
    table: Table = None,
    batch: BatchSize = None,
    limit: LimitOption = None,
    labels: LabelsOption = None,
    metric: Metric = None,
    max_accuracy_drop: Drop = None,
    min_sqnr: Sqnr = None,
    accuracy: Accuracy = "auto",
    settings: Annotated[
        list[str] | None,
        panel_option(_FORM, "--set", metavar="PASS.OPTION=VALUE", text="Set an option of a pass; may be repeated."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.001, help="Time for measuring; data is looked at besides.")
    ] = 30.0,
    threads: Annotated[
        int, typer.Option("--threads", "-t", min=1, help="Threads within an operator, when measuring.")
    ] = 1,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check interface and types of the result; on by default.")
    ] = True,
    page: Annotated[
        Path | None,
        panel_option(
            OUTPUT, "--page", metavar="FILE.html", text="Where a page with all layers and the trade-off goes."
        ),
    ] = None,
    force: Annotated[bool, panel_option(OUTPUT, "--force", "-f", text="Replace files that are there.")] = False,
    seed: Seed = 0,
    no_plugin: NoPlugin = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Store the numbers of a model as integers, where that is accurate enough and faster here."""
    for path in (output, page):
        if path is not None:
            check_output(path, force=force)  # before the work, not after it
    from graphopt.compiler.quantizing.quantizer import find_prospects  # lazily: imports ONNX Runtime
    from graphopt.compiler.quantizing.quantizer import quantize as make

    plugins = builtin_plugins(no_plugin or ())
    speaks = not (quiet or as_json)
    if speaks:
        show(prospects_view(find_prospects(model, target=target, plugins=plugins)))
    with progress(f"quantizing {model}", wanted=speaks) as tell:
        result = make(
            model,
            data,
            target=target,
            form=form,
            calibrator=calibrator,
            calibrator_options=_options_of(calibrator, calibrator_options),
            table=table,
            labels=labels,
            metric=metric,
            max_accuracy_drop=max_accuracy_drop,
            min_sqnr=min_sqnr,
            include=include or (),
            exclude=exclude or (),
            accuracy=accuracy,
            weight_dtype=weight_type,
            block=block,
            options=parse_overrides(settings or []),
            batch=batch,
            limit=limit,
            requantize=requantize,
            check=check,
            seconds=seconds,
            threads=threads,
            seed=seed,
            progress=tell,
            plugins=plugins,
        )
        files = [] if output is None else result.save(output, force=force)
    if page is not None:
        with new_files([check_output(page, force=force)]) as [file]:
            file.write(quantize_page(result.report).encode())
        files = [*files, page]
    if as_json:
        write_json(result.report.to_dict() | {"files": [str(path) for path in files]})
    elif not quiet:
        show(quantize_view(result.report, files))


def _options_of(calibrator: str, texts: list[str] | None) -> dict[str, object]:
    """Options of a calibrator, written as those of a pass."""
    found = parse_overrides([f"{calibrator}.{text}" for text in texts or ()])
    return {name: _number(str(value)) for name, value in found.get(calibrator, {}).items()}


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
