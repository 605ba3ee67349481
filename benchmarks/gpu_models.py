"""One model on a GPU: its engines beside ONNX Runtime, right first and then fast. `benchmarks.gpu_check` runs this for each model.

A model is built as `graphopt build --hybrid` does it, for the shapes of its inputs. Peers that are there are timed in turns with it: the
engine of the library's own ONNX parser, ONNX Runtime on the processor and with CUDA, torch.compile of what onnx2torch makes of it.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.api import Api
from graphopt.backends.tensorrt.building import EngineOptions
from graphopt.backends.tensorrt.profiles import InputRange, Profile
from graphopt.compiler.environment import Environment
from graphopt.compiler.hybrid import Hybrid, build_hybrid
from graphopt.errors import ExecutionError, GraphoptError, QuantizationError, UnsupportedOpError
from graphopt.ir import Array, DType
from graphopt.passes import Lazy
from graphopt.runtime import LoadedModel, OrtRunner, Outputs, Runner, RunOptions, Runtime
from graphopt.runtime.hybrid.manifest import MANIFEST
from graphopt.runtime.hybrid.runner import HybridRuntime
from graphopt.runtime.latency import measure_latency
from graphopt.runtime.tensorrt.cuda import Cuda
from graphopt.runtime.tensorrt.runner import EngineRunner
from graphopt.runtime.tensorrt.runtime import TensorRtRuntime

__all__ = ["PRECISIONS", "Gpu", "ModelCheck", "check_model"]

#: What engines are built of, and how much outputs may differ from ONNX Runtime's of floats, relative to the largest number.
PRECISIONS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 2e-1}
#: Different numbers in outputs below which these tell little about a model.
FEW = 4
GRAPHOPT, PARSER = "graphopt", "OnnxParser"
_ORT = Lazy("graphopt.runtime.onnxruntime_runtime:OrtRuntime", make=True)


@dataclass(frozen=True)
class Gpu:
    """Where engines are built and run.

    Attributes:
        api: the library.
        cuda: the device.
    """

    api: Api
    cuda: Cuda

    @property
    def runtime(self) -> Runtime:
        """Engines in it."""
        return TensorRtRuntime(lambda: self.api, lambda: self.cuda)


@dataclass
class ModelCheck:
    """What one model came to in one precision.

    Attributes:
        status: ``ok``, ``different``, ``not taken`` where nothing is for TensorRT or can be quantized, or ``failed``; these two with the
            reason.
        error: largest difference of an output, relative to its largest number; of the worst output.
        share: of the operations that engines do.
        parts: what runs each part, in order.
        milliseconds: median of a run, by runner; copies from and to the device are part of it.
        device_milliseconds: median on the device alone, by runner, where one engine is all.
        absent: peers that were not timed, and why.
    """

    model: str
    precision: str
    status: str = "failed"
    reason: str = ""
    error: float | None = None
    share: float = 0.0
    parts: list[str] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    device_milliseconds: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def check_model(model: Path, feeds: Mapping[str, Array], precision: str, gpu: Gpu, *, seconds: float) -> ModelCheck:
    """Build a model, run it, compare it, and time it where it is right.

    Args:
        model: an ONNX file.
        feeds: its inputs.
        precision: one of `PRECISIONS`.
        gpu: where.
        seconds: of timing; 0 for none.
    """
    found = ModelCheck(model.stem, precision)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            source = _quantized(model, feeds, folder) if precision == "int8" else model
            built = build_hybrid(
                source,
                folder / "parts",
                precision="fp16" if precision == "fp16" else "fp32",
                options=EngineOptions(profiles=[_profile(feeds)], tf32=False),
                check=False,
                library=gpu.api,
            )
            found.share, found.parts = built.manifest.share, [part.backend for part in built.manifest.parts]
            runner = stack.enter_context(_opened(built, gpu))
            with OrtRunner(model) as reference:
                wanted = reference.run(feeds)
            found.error = _error(runner.run(feeds), wanted)
        except (QuantizationError, UnsupportedOpError) as err:
            found.status, found.reason = "not taken", str(err)
            return found
        except (GraphoptError, AssertionError, MemoryError) as err:
            found.reason = " ".join(f"{type(err).__name__}: {err}".split())[:400]
            return found
        distinct = max((np.unique(array).size for array in wanted.values() if isinstance(array, np.ndarray)), default=0)
        if distinct < FEW:
            found.reason = f"its outputs have {distinct} different numbers, which tell little"
        found.status = "ok" if found.error <= _tolerance(model, precision) else "different"
        if found.status == "ok" and seconds:
            _time(found, {GRAPHOPT: runner}, model, feeds, gpu, stack, seconds)
    return found


def _opened(built: Hybrid, gpu: Gpu) -> Runner:
    """The folder, or its engine where there is nothing else."""
    options = RunOptions(optimize=True)
    if [part.backend for part in built.manifest.parts] == ["tensorrt"]:
        return gpu.runtime.open(built.folder / built.manifest.parts[0].file, options)
    return HybridRuntime({"tensorrt": gpu.runtime, "onnxruntime": _ORT}).open(built.folder / MANIFEST, options)


def _profile(feeds: Mapping[str, Array]) -> Profile:
    return Profile({name: InputRange(array.shape, array.shape, array.shape) for name, array in feeds.items()})


def _quantized(model: Path, feeds: Mapping[str, Array], folder: Path) -> Path:
    """A model of int8 with symmetric Q/DQ, calibrated on the inputs: speed is what it is for, not accuracy."""
    from graphopt import quantize  # here: only for this precision

    made = quantize(model, [feeds], target="tensorrt", form="static", accuracy="none", check=False, seconds=1.0)
    made.save(folder / "int8.onnx")
    return folder / "int8.onnx"


def _tolerance(model: Path, precision: str) -> float:
    """What may differ: by the precision that was asked for, or the one that the model has."""
    graph = Environment().lift(model)
    nodes = [node for owner in graph.owners() for node in owner.graph.walk()]
    kinds = {value.dtype for value in (*graph.graph.inputs, *graph.graph.outputs, *graph.graph.initializers())}
    coarse = {precision}
    if any("Quantize" in node.op or "Integer" in node.op for node in nodes):
        coarse.add("int8")
    if kinds & {DType.FLOAT16, DType.BFLOAT16}:
        coarse.add("fp16")
    return max(PRECISIONS[name] for name in coarse)


def _error(found: Outputs, wanted: Outputs) -> float:
    worst = 0.0
    for name, array in wanted.items():
        mine = found[name]
        if not isinstance(array, np.ndarray) or not isinstance(mine, np.ndarray) or mine.shape != array.shape:
            raise ExecutionError(f"output {name!r} is of another kind or shape")
        a, b = mine.astype(np.float64), array.astype(np.float64)
        scale = np.abs(b[np.isfinite(b)]).max(initial=1e-9)
        with np.errstate(invalid="ignore"):
            worst = max(worst, float(np.nan_to_num(np.abs(a - b), nan=0.0, posinf=0.0).max(initial=0.0) / scale))
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            worst = float("inf")
    return worst


def _time(
    found: ModelCheck,
    runners: dict[str, Runner],
    model: Path,
    feeds: Mapping[str, Array],
    gpu: Gpu,
    stack: ExitStack,
    seconds: float,
) -> None:
    """Fill in times of the model and of the peers that are there."""
    makers: dict[str, Callable[[], Runner]] = {
        PARSER: lambda: _parser_engine(model, feeds, gpu),
        "ONNX Runtime, processor": lambda: OrtRunner(model, optimize=True),
        "ONNX Runtime, CUDA": lambda: _OrtCuda(model),
        "torch.compile": lambda: _TorchCompiled(model),
    }
    for name, make in makers.items():
        try:
            runners[name] = stack.enter_context(make())
            runners[name].run(feeds)
        except Exception as err:  # noqa: BLE001  peers raise anything; that they are absent is the result
            runners.pop(name, None)
            found.absent[name] = " ".join(f"{type(err).__name__}: {err}".split())[:200]
    times = measure_latency(runners, dict.fromkeys(runners, feeds), warmup=5, seconds=seconds)
    found.milliseconds = {name: round(item.median * 1e3, 4) for name, item in times.items()}
    for name, runner in runners.items():
        if isinstance(runner, EngineRunner):
            found.device_milliseconds[name] = round(float(np.median([runner.run_again() for _ in range(20)])), 4)


def _parser_engine(model: Path, feeds: Mapping[str, Array], gpu: Gpu) -> LoadedModel:
    """The engine of the library's own ONNX parser, for the shapes of the inputs."""
    api, log = gpu.api, gpu.api.log()
    builder = api.builder(log)
    network: Any = api.network(builder)
    reader = api.module.OnnxParser(network, log.logger)
    if not reader.parse_from_file(str(model)):
        errors = [reader.get_error(place) for place in range(reader.num_errors)]
        raise ExecutionError(
            "; ".join(f"{item.node_operator()}: {item.desc()}" for item in errors) or "it does not parse"
        )
    config = api.config(builder)
    profile = builder.create_optimization_profile()
    for name, array in feeds.items():
        profile.set_shape(name, array.shape, array.shape, array.shape)
    config.add_optimization_profile(profile)
    made = builder.build_serialized_network(network, config)
    engine = None if made is None else api.module.Runtime(log.logger).deserialize_cuda_engine(bytes(made))
    if engine is None:
        raise ExecutionError(log.errors() or "it does not say why")
    return EngineRunner(engine, api, gpu.cuda, log, declared={}, graphs=True)


class _OrtCuda(LoadedModel):
    """ONNX Runtime's CUDA provider."""

    def __init__(self, model: Path) -> None:
        import onnxruntime as ort  # here: a build with CUDA is a package of its own

        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise ExecutionError("this build of ONNX Runtime has no CUDA provider")
        self._session = ort.InferenceSession(model, providers=["CUDAExecutionProvider"])

    def run(self, feeds: Mapping[str, Any]) -> Outputs:
        """Outputs by name."""
        names = [item.name for item in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def close(self) -> None:
        """Release the session."""
        del self._session


class _TorchCompiled(LoadedModel):
    """torch.compile of what onnx2torch makes of the model."""

    def __init__(self, model: Path) -> None:
        converter, torch = (importlib.import_module(name) for name in ("onnx2torch", "torch"))  # none is a dependency
        if not torch.cuda.is_available():
            raise ExecutionError("torch sees no GPU")
        self._torch = torch
        self._module = torch.compile(converter.convert(str(model)).cuda().eval())

    def run(self, feeds: Mapping[str, Any]) -> Outputs:
        """Outputs by their place."""
        with self._torch.no_grad():
            found = self._module(*(self._torch.from_numpy(array).cuda() for array in feeds.values()))
        several = found if isinstance(found, tuple | list) else (found,)
        return {str(place): tensor.cpu().numpy() for place, tensor in enumerate(several)}

    def close(self) -> None:
        """Release the module."""
        del self._module
