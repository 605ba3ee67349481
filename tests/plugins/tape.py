"""A vendor's plugin whose models are no ONNX: a tape of numpy instructions, and the weights beside it.

Backends and runtimes that misbehave in one way each are here too, under names of their own.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np

from graphopt import hookimpl
from graphopt.backends import Artifact, Target
from graphopt.errors import ExecutionError, UnsupportedOpError
from graphopt.ir import Array, DType, Model, Node, TensorType
from graphopt.passes import Lazy, Numerics, PassContext, Reassociates
from graphopt.runtime import Feeds, LoadedModel, Outputs, Runner, RunOptions, ValueSpec

GRAPHOPT_API_VERSION = 2

_KERNELS: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Identity": np.array,
    "MatMul": np.matmul,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, np.float32(0)),
    "Sub": np.subtract,
}


class TapeBackend:
    """Writes tapes: two files, instructions and weights."""

    target = Target("tape")

    def __init__(self, name: str = "tape") -> None:
        self.name = name

    def legalize(self, model: Model, ctx: PassContext) -> str:
        return "inline-functions,legalize-onnx"

    def supports(self, node: Node) -> str | None:
        return None if node.op in _KERNELS else f"a tape has no {node.op}"

    def emit(self, model: Model) -> Artifact:
        tape = []
        for node in model.graph.nodes:
            reason = self.supports(node)
            if reason is not None:
                raise UnsupportedOpError(f"node {node.name!r}: {reason}")
            tape.append([node.op_type, [value.name for value in node.inputs if value], node.output.name])
        weights = {value.name: value.const.numpy() for value in model.graph.initializers() if value.const is not None}
        inputs = [value.name for value in model.graph.inputs]
        plain = {"tape": tape, "inputs": inputs, "outputs": [value.name for value in model.graph.outputs]}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **weights)
        return Artifact("tape", files={".tape": json.dumps(plain).encode(), ".weights": content.getvalue()})


class TapeRunner(LoadedModel):
    def __init__(self, path: Path) -> None:
        plain = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".weights")) as weights:
            self._weights = dict(weights)
        self._tape = plain["tape"]
        kind = TensorType(DType.FLOAT, None)
        self._inputs = tuple(ValueSpec(name, kind) for name in plain["inputs"])
        self._outputs = tuple(ValueSpec(name, kind) for name in plain["outputs"])

    def run(self, feeds: Feeds) -> Outputs:
        values = {**self._weights, **feeds}
        for op, inputs, output in self._tape:
            values[output] = _KERNELS[op](*(values[name] for name in inputs))
        return {spec.name: values[spec.name] for spec in self._outputs}

    def close(self) -> None:
        self._weights = {}


class TapeRuntime:
    """Plays tapes."""

    suffix: ClassVar[str] = ".tape"
    numerics: ClassVar[Numerics] = Reassociates(1e-5)

    def open(self, path: Path, options: RunOptions) -> Runner:
        try:
            return TapeRunner(path)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as err:
            raise ExecutionError(f"{str(path)!r} is no tape: {err}") from err


class _OffByOne(TapeRunner):
    def run(self, feeds: Feeds) -> Outputs:
        return {name: np.asarray(value) + np.float32(1) for name, value in super().run(feeds).items()}


class WrongRuntime(TapeRuntime):
    """Computes something else."""

    def open(self, path: Path, options: RunOptions) -> Runner:
        return _OffByOne(path)


class CrashingRuntime(TapeRuntime):
    """Ends its process."""

    def open(self, path: Path, options: RunOptions) -> Runner:
        os.abort()


class RaisingRuntime(TapeRuntime):
    """Has a bug."""

    def open(self, path: Path, options: RunOptions) -> Runner:
        raise KeyError("colour")


class _Forgetful(TapeRunner):
    def run(self, feeds: Feeds) -> Outputs:
        return {}


class ForgetfulRuntime(TapeRuntime):
    """Gives no outputs."""

    def open(self, path: Path, options: RunOptions) -> Runner:
        return _Forgetful(path)


#: Names of backends, and what runs their models.
RUNTIMES = {
    "tape": "TapeRuntime",
    "wrong-tape": "WrongRuntime",
    "crashing-tape": "CrashingRuntime",
    "raising-tape": "RaisingRuntime",
    "forgetful-tape": "ForgetfulRuntime",
}


@hookimpl
def graphopt_backends() -> dict[str, object]:
    absent = Lazy(f"{__name__}:TapeBackend", requires=("no_such_tape",), install="pip install tape", make=True)
    return {name: TapeBackend(name) for name in (*RUNTIMES, "silent-tape")} | {"absent-tape": absent}


@hookimpl
def graphopt_runtimes() -> dict[str, object]:
    absent = Lazy(f"{__name__}:TapeRuntime", requires=("no_such_tape",), install="pip install tape", make=True)
    found: dict[str, object] = {name: Lazy(f"{__name__}:{item}", make=True) for name, item in RUNTIMES.items()}
    return found | {"absent-tape": absent}
