"""The measured pruners, each as a few lines from a case to a model file, and the process that runs one of them.

A case is a folder as `benchmarks.quantizers` has it. What a user has to write is the body of a tool's function, and its lines are counted.
`python -m benchmarks.pruning_tools TOOL AMOUNT CASE OUT RESULT` is started as a child process by `benchmarks.pruning`. Tools that take
a share of channels instead of a share of operations are given the smallest one that leaves no more operations; finding it is not timed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pruning_costs import flops_of_model
from benchmarks.quantizers import batches, read_arrays
from benchmarks.tools import peak_bytes

__all__ = ["PRUNERS", "Feeds", "Pruner", "lines_of", "main"]

Feeds = list[dict[str, Any]]
#: What is written to a file: ``ModelProto`` of the tools, or what has a method ``save``.
Function = Callable[[Path, Feeds, float], Any]
#: Shares of channels that are tried where operations are asked for.
_TRIES = 7


@dataclass(frozen=True, slots=True)
class Pruner:
    """One measured pruner.

    Attributes:
        kind: ``channels`` (amount: share of operations that are left), ``zeros`` (amount: share of weights), or ``2:4``.
        modules: imported before the clock starts.
        function: from model, data and amount to the pruned model.
        by_channels: whether the function takes a share of channels.
    """

    kind: str
    modules: tuple[str, ...]
    function: Function
    by_channels: bool = False


def _graphopt_channels(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401  what `save` writes
    import graphopt

    return graphopt.prune(model, data, channels=f"flops={amount}", seconds=1)


def _graphopt_channels_only(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    return graphopt.prune(model, data, channels=f"flops={amount}", recover=False, seconds=1)


def _graphopt_zeros(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    stepwise = {"prune-magnitude": {"steps": 3}}
    return graphopt.prune(model, data, magnitude=amount, options=stepwise, seconds=1)


def _graphopt_zeros_only(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    return graphopt.prune(model, magnitude=amount, seconds=1)


def _graphopt_pattern(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    return graphopt.prune(model, data, n_m="2:4", seconds=1)


def _graphopt_pattern_only(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    return graphopt.prune(model, n_m="2:4", seconds=1)


def _graphopt_quantized(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import graphopt

    pruned = graphopt.prune(model, data, channels=f"flops={amount}", seconds=1)
    return graphopt.quantize(pruned.proto, data)


def _onnxsim_channels(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    return onnxsim.apply_structured_pruning(simple, sparsity=amount, global_sparsity=True)


def _onnxsim_wanda(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    pruned = onnxsim.apply_structured_wanda_pruning(simple, data, sparsity=amount, global_sparsity=True)
    return onnxsim.apply_pruning_finetune(simple, pruned, data)


def _onnxsim_zeros(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    return onnxsim.apply_magnitude_pruning(simple, sparsity=amount, global_sparsity=True)


def _onnxsim_sparsegpt(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    return onnxsim.apply_sparsegpt_pruning(simple, data, sparsity=amount)


def _onnxsim_pattern(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    return onnxsim.apply_magnitude_pruning(simple, n=2, m=4)


def _onnxsim_sparsegpt_pattern(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    return onnxsim.apply_sparsegpt_pruning(simple, data, n=2, m=4)


def _numpy_zeros(model: Path, data: Feeds, amount: float) -> Any:  # noqa: ANN401
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(model)
    weights = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer if len(item.dims) > 1}
    limit = np.quantile(np.abs(np.concatenate([array.ravel() for array in weights.values()])), amount)
    for item in proto.graph.initializer:
        if item.name in weights:
            array = weights[item.name]
            item.CopyFrom(numpy_helper.from_array(np.where(np.abs(array) < limit, 0, array), item.name))
    return proto


_OURS = ("graphopt", "graphopt.compiler", "onnxruntime")
_SIM = ("onnx", "onnxsim", "onnxruntime")
PRUNERS: dict[str, Pruner] = {
    "graphopt": Pruner("channels", _OURS, _graphopt_channels),
    "graphopt, not recovered": Pruner("channels", _OURS, _graphopt_channels_only),
    "graphopt, then int8": Pruner("channels", _OURS, _graphopt_quantized),
    "onnxsim": Pruner("channels", _SIM, _onnxsim_channels, by_channels=True),
    "onnxsim wanda, finetuned": Pruner("channels", _SIM, _onnxsim_wanda, by_channels=True),
    "graphopt zeros": Pruner("zeros", _OURS, _graphopt_zeros),
    "graphopt zeros, not recovered": Pruner("zeros", _OURS, _graphopt_zeros_only),
    "onnxsim magnitude": Pruner("zeros", _SIM, _onnxsim_zeros),
    "onnxsim sparsegpt": Pruner("zeros", _SIM, _onnxsim_sparsegpt),
    "numpy magnitude": Pruner("zeros", ("onnx",), _numpy_zeros),
    "graphopt 2:4": Pruner("2:4", _OURS, _graphopt_pattern),
    "graphopt 2:4, not recovered": Pruner("2:4", _OURS, _graphopt_pattern_only),
    "onnxsim 2:4": Pruner("2:4", _SIM, _onnxsim_pattern),
    "onnxsim sparsegpt 2:4": Pruner("2:4", _SIM, _onnxsim_sparsegpt_pattern),
}
"""Pruners by the name in the tables."""


def lines_of(function: Function) -> int:
    """Lines that a user writes: the body without blank ones."""
    text = inspect.getsource(function)
    return sum(bool(line.strip()) for line in text.splitlines()[1:])


def _share_of_channels(model: Path, left: float) -> float:
    """The smallest share of channels without which no more operations are left; which ones go does not change how many these are."""
    import onnx
    import onnxsim  # noqa: TID251  measured here

    simple, _ = onnxsim.simplify(str(model))
    most, low, high = left * flops_of_model(onnx.load(model)), 0.0, 0.95
    for _ in range(_TRIES):
        middle = (low + high) / 2
        if flops_of_model(onnxsim.apply_structured_pruning(simple, sparsity=middle, global_sparsity=True)) <= most:
            high = middle
        else:
            low = middle
    return high


def main(argv: list[str] | None = None) -> int:
    """Run one pruner on one case and write what it took."""
    name, amount, case, target, result = sys.argv[1:] if argv is None else argv
    tool, model = PRUNERS[name], Path(case) / "model.onnx"
    record: dict[str, Any] = {"status": "ok", "reason": "", "seconds": 0.0}
    try:
        for module in tool.modules:
            importlib.import_module(module)
    except ImportError as err:
        record |= {"status": "skipped", "reason": f"not installed: {err}"}
    if record["status"] == "ok":
        try:
            size = json.loads((Path(case) / "case.json").read_text(encoding="utf-8"))["batch"]
            data = list(batches(read_arrays(Path(case) / "calibrate.npz"), size))
            share = _share_of_channels(model, float(amount)) if tool.by_channels else float(amount)
            start = time.perf_counter()
            pruned = tool.function(model, data, share)
            record["seconds"] = time.perf_counter() - start
            _save(pruned, Path(target))
        except Exception as err:  # noqa: BLE001  a tool's failure is a result here
            record |= {"status": "exception", "reason": f"{type(err).__name__}: {' '.join(str(err).split())}"[:300]}
    record["peak_bytes"] = peak_bytes()
    Path(result).write_text(json.dumps(record), encoding="utf-8")
    return 0


def _save(pruned: Any, target: Path) -> None:  # noqa: ANN401
    if hasattr(pruned, "save"):
        pruned.save(target)
    else:
        importlib.import_module("onnx").save(pruned, target)


if __name__ == "__main__":
    raise SystemExit(main())
