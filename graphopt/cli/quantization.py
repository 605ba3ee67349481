"""``graphopt quantize``: a model in integers, where that is accurate enough and faster here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

from graphopt.backends.onnx.atomic import check_output, new_files
from graphopt.builtin_plugin import builtin_plugins
from graphopt.cli.evaluation import BatchSize, LabelsOption, LimitOption
from graphopt.cli.options import AsJson, ModelPath, NoPlugin, Quiet, Seed
from graphopt.cli.terminal import progress, show, write_json
from graphopt.passes import parse_overrides
from graphopt.report.quantize_page import quantize_page
from graphopt.report.quantize_view import prospects_view, quantize_view

__all__ = ["quantize"]

_FORM: Final = "Form"
_DATA: Final = "Data"
_ACCURACY: Final = "Accuracy"
_OUTPUT: Final = "Output"
_FORMS = Literal["auto", "static", "qoperator", "dynamic", "weights", "stored", "float16", "bfloat16"]
_TYPES = Literal["int8", "int4", "uint4"]


def _option(panel: str, *names: str, text: str, metavar: str | None = None, **more: Any) -> Any:  # noqa: ANN401 - as typer.Option
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


Output: TypeAlias = Annotated[
    Path | None,
    _option(
        _OUTPUT,
        "--output",
        "-o",
        metavar="OUT.onnx",
        text="Where to save the result; without it only the report is made.",
    ),
]
Data: TypeAlias = Annotated[
    str | None,
    _option(
        _DATA,
        "--data",
        metavar="D",
        text="Examples: .npz, a folder of .npy or .npz files, or module:callable. A quarter of them is held out to judge on.",
    ),
]
Calibrator: TypeAlias = Annotated[
    str,
    _option(_DATA, "--calibrator", metavar="NAME", text="What finds ranges; graphopt list calibrators. Default: auto."),
]
CalibratorOptions: TypeAlias = Annotated[
    list[str] | None,
    _option(_DATA, "--option", metavar="NAME=VALUE", text="An option of the calibrator; may be repeated."),
]
Table: TypeAlias = Annotated[
    Path | None, _option(_DATA, "--table", metavar="TABLE.json", text="Ranges that graphopt calibrate has found.")
]
Metric: TypeAlias = Annotated[
    str | None,
    _option(
        _ACCURACY,
        "--metric",
        metavar="NAME",
        text="top1, top5, mse, cosine, sqnr, or module:callable. Default: top1 with labels, else sqnr.",
    ),
]
Drop: TypeAlias = Annotated[
    str | None,
    _option(
        _ACCURACY,
        "--max-accuracy-drop",
        metavar="0.5%",
        text="How much worse the metric may become; the worst layers stay in floats until that holds.",
    ),
]
Sqnr: TypeAlias = Annotated[
    float | None,
    _option(
        _ACCURACY, "--min-sqnr", metavar="DB", text="The same for the SQNR of the outputs. Default: 20, aimed for."
    ),
]
Accuracy: TypeAlias = Annotated[
    str,
    _option(
        _ACCURACY,
        "--accuracy",
        metavar="NAMES",
        text="Passes for accuracy: auto for those that help (default), none, or some of equalize,smooth,correct-biases,gptq,"
        "round-weights,split-outliers.",
    ),
]
Included: TypeAlias = Annotated[
    list[str] | None,
    _option(
        _FORM, "--include", metavar="LAYER", text="Quantize these layers only: name, pattern, op:Conv; may be repeated."
    ),
]
Excluded: TypeAlias = Annotated[
    list[str] | None,
    _option(_FORM, "--exclude", metavar="LAYER", text="Leave these layers in floats; may be repeated."),
]
FormName: TypeAlias = Annotated[
    _FORMS,
    _option(
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
        str, _option(_FORM, "--target", metavar="NAME", text="What the model is made for. Default: onnxruntime.")
    ] = "onnxruntime",
    weight_type: Annotated[
        _TYPES, _option(_FORM, "--weights", metavar="TYPE", text="Of form weights: int8 (default), int4 or uint4.")
    ] = "int8",
    block: Annotated[
        int | None,
        _option(_FORM, "--block", metavar="N", min=0, text="Of form weights: how many share a scale; 0 for a channel."),
    ] = None,
    include: Included = None,
    exclude: Excluded = None,
    requantize: Annotated[
        bool, _option(_FORM, "--requantize", text="Quantize a model anew that is quantized already.")
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
        _option(_FORM, "--set", metavar="PASS.OPTION=VALUE", text="Set an option of a pass; may be repeated."),
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
        _option(_OUTPUT, "--page", metavar="FILE.html", text="Where a page with all layers and the trade-off goes."),
    ] = None,
    force: Annotated[bool, _option(_OUTPUT, "--force", "-f", text="Replace files that are there.")] = False,
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
