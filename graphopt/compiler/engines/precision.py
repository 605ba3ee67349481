"""Types that an engine computes in: halves of floats by passes, integers by quantizing; compared with the original where possible."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from graphopt.compiler.environment import Environment
from graphopt.compiler.optimizing import optimize
from graphopt.compiler.result import Optimized, OptimizeReport
from graphopt.errors import CalibrationError, PipelineError, VerificationError
from graphopt.ir import Model

__all__ = [
    "PRECISIONS",
    "check_precision",
    "is_comparable",
    "optimized_for_engine",
    "quantized_for",
    "refuse_left_out",
]

#: What floats may become, and the pass that makes it.
PRECISIONS: Final[Mapping[str, str]] = {"fp32": "", "fp16": "convert-to-float16", "bf16": "convert-to-bfloat16"}
#: What is made by quantizing a model before.
_INTEGERS: Final = "int8"
#: What ONNX Runtime does not compute in on a processor, so that there is nothing to compare.
_NOT_RUN: Final = "bf16"


def is_comparable(precision: str) -> bool:
    """Whether ONNX Runtime computes in a precision on a processor, so that a model of it can be compared with the original."""
    return precision != _NOT_RUN


def check_precision(precision: str, data: object) -> None:
    """See that there is such a precision, and data where it needs some.

    Raises:
        PipelineError: if there is none, or data that nothing is made of.
        CalibrationError: if there is no data to quantize with.
    """
    if precision not in (*PRECISIONS, _INTEGERS):
        raise PipelineError(f"precision is {precision!r}, expected one of {', '.join((*PRECISIONS, _INTEGERS))}")
    if precision == _INTEGERS and data is None:
        raise CalibrationError("precision int8 needs examples to quantize with; bring some: --data images.npz")
    if precision != _INTEGERS and data is not None:
        raise PipelineError(f"data is for precision int8, and precision is {precision}; leave one of them out")


def quantized_for(
    source: object, data: object, environment: Environment, target: str, seed: int, tell: Callable[[str], None]
) -> tuple[Model, str]:
    """The model in integers of the target's scheme, and how good it is.

    Raises:
        QuantizationError: if it can't be quantized.
    """
    from graphopt.compiler.quantizing.quantizer import quantize  # lazily: imports ONNX Runtime

    made = quantize(
        source,
        data,
        target=target,
        form="static",
        seed=seed,
        progress=lambda text: tell(f"quantizing: {text}"),
        plugins=environment.plugins,
    )
    report = made.report
    told = ", ".join(f"{name} {value:.4g}" for name, value in report.metric_after.items())
    return made.model, f"quantized to int8: {told} on data that was held out"


def optimized_for_engine(
    source: object,
    environment: Environment,
    *,
    target: str,
    level: str,
    precision: str,
    check: bool,
    inputs: str | os.PathLike[str] | Mapping[str, object] | None,
    seed: int,
    progress: Callable[[str], None] | None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
) -> tuple[Optimized, list[str]]:
    """The model that an engine is built of, and what people should know of it.

    Args:
        source: a model.
        environment: where passes come from.
        target: of the engine.
        level: what the model goes through before its floats are converted.
        precision: of :data:`PRECISIONS`, or int8 of a model that is quantized already.
        check: whether the result is compared with ``source``, as ONNX.
        inputs: for that check.
        seed: of generated ones.
        progress: told what is going on.
        input_shapes: as for :func:`graphopt.optimize`.

    Raises:
        VerificationError: if the result differs from ``source``, or would if its floats were converted.
    """
    converting = PRECISIONS.get(precision, "")
    apart = check and not is_comparable(precision)
    found = optimize(
        source,
        target=target,
        pipeline=level if apart or not converting else f"{level},{converting}",
        input_shapes=input_shapes,
        check=check,
        check_as_onnx=True,
        inputs=inputs,
        seed=seed,
        progress=progress,
        plugins=environment.plugins,
    )
    refuse_left_out(found.report, precision)
    if not apart:
        return found, []
    made = optimize(
        found.model,
        target=target,
        pipeline=converting,
        check=False,
        seed=seed,
        progress=progress,
        plugins=environment.plugins,
    )
    made.report.ops_before, made.report.verdict = found.report.ops_before, found.report.verdict
    made.report.notes = [*found.report.notes, *made.report.notes]
    made.report.source = found.report.source
    made.report.seconds = {**made.report.seconds, **found.report.seconds}
    return made, [
        "compared with the original before its floats became bfloat16, which ONNX Runtime does not compute in here"
    ]


def refuse_left_out(report: OptimizeReport, precision: str) -> None:
    """See that a model has the precision that was asked for.

    Raises:
        VerificationError: if the pass that makes it was left out, as the check failed with it.
    """
    converting = PRECISIONS.get(precision, "")
    if converting and any(record.name == converting and record.skipped for record in report.passes):
        raise VerificationError(
            f"with precision {precision} the model does not compute what it did, nothing was written; keep fp32, or look at what "
            f"{converting} does: graphopt optimize, graphopt compare --by-layer, --no-check"
        )
