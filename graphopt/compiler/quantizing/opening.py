"""The model that is given: opened, refused, prepared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from graphopt.compiler.artifacts import DEFAULT_BACKEND, RunnableFile, judged_as_onnx
from graphopt.compiler.environment import Environment
from graphopt.compiler.quantizing.layers import is_quantized
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.workshop import Workshop
from graphopt.errors import QuantizationError
from graphopt.ir import DType, Model
from graphopt.passes import Pipeline
from graphopt.target import Target

__all__ = ["WHOLE", "Start", "open_model", "refuse_target"]

#: Forms of a whole model, which need no integers.
WHOLE: Final = ("float16", "bfloat16", "float")
#: Scales of channels have an axis from this opset on, blocks of weights from the other one.
_STATIC_OPSET: Final = 13
_BLOCKED_OPSET: Final = 21
_HALVES: Final = frozenset({DType.FLOAT16, DType.BFLOAT16})


@dataclass(frozen=True)
class Start:
    """The model as it came, as it was prepared, and what makes others of it.

    Attributes:
        original: as it came.
        prepared: what everything else is made of.
        file: the original, to run.
        workshop: makes models.
        folder: for temporary files.
        notes: what people should know.
    """

    original: Model
    prepared: Model
    file: RunnableFile
    workshop: Workshop
    folder: Path
    notes: tuple[str, ...] = ()


def refuse_target(request: QuantizeRequest, environment: Environment) -> None:
    """See that models for the target can be integers, and can be judged.

    Raises:
        QuantizationError: if they can't.
    """
    backend = environment.backend(request.target)
    if backend.target.quantization is None and request.form not in WHOLE:
        targets = cast("Mapping[str, Target]", environment.plugins.targets)
        known = ", ".join(name for name, item in targets.items() if item.quantization is not None)
        raise QuantizationError(f"target {request.target!r} has no integers; targets that have some: {known}")
    if not judged_as_onnx(environment, request.target):
        raise QuantizationError(
            f"models for target {request.target!r} are no ONNX files, so none can be judged; quantize for --target onnx"
        )


def open_model(
    source: object,
    request: QuantizeRequest,
    environment: Environment,
    stack: ExitStack,
    tell: Callable[[str], None],
) -> Start:
    """A model, ready to be quantized.

    Args:
        source: as :func:`graphopt.quantize` takes it.
        request: what is asked for.
        environment: plugins.
        stack: closes what is opened here.
        tell: told what is going on.

    Raises:
        QuantizationError: if it is quantized already, and nobody wants it to be made one of floats.
        ModelError: if it is broken.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graphopt-quantize-")))
    original = environment.lift(source)
    file = stack.enter_context(RunnableFile(source, DEFAULT_BACKEND, environment))
    workshop = Workshop(environment, request.target, folder, request.seed, tell)
    environment.context(workshop.backend).types.infer_model(original)
    steps, notes = _steps(original, request)
    prepared, _ = workshop.run(original, Pipeline.from_text(steps, environment.plugins.passes))
    environment.context(workshop.backend).types.infer_model(prepared)
    return Start(original, prepared, file, workshop, folder, notes)


def _steps(original: Model, request: QuantizeRequest) -> tuple[str, tuple[str, ...]]:
    """The pipeline that a model goes through first, and what is to be said of it."""
    text, notes = request.prepare, list[str]()
    ops = is_quantized(original)
    if ops:
        if not request.requantize:
            raise QuantizationError(
                f"the model is quantized already: it has {', '.join(ops)}; leave it as it is, or quantize it anew with --requantize"
            )
        text = f"dequantize,{text}"
    if request.form not in WHOLE and _computes_on_halves(original):
        notes.append("the model computes on halves: it was made one of float32 first, for integers are made of these")
        text = f"convert-to-float32,{text}"
    opset = original.graph.opset() or 0
    least = _BLOCKED_OPSET if request.form == "weights" else _STATIC_OPSET
    if opset < least:
        text = f"raise-opset{{to={least},strict=false}},{text}"
    return text, tuple(notes)


def _computes_on_halves(model: Model) -> bool:
    """Whether more of the weights are halves than floats."""
    sizes = dict.fromkeys((True, False), 0)
    for value in model.graph.initializers():
        constant = value.const
        if constant is not None and constant.dtype.is_float:
            sizes[constant.dtype in _HALVES] += constant.size
    return sizes[True] > sizes[False]
