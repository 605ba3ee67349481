"""A search on a small model, as tests of single shrinkers need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnx.parser import parse_model

from graphopt.frontends.onnx import lift
from graphopt.ir import Model, Node, Value
from graphopt.runtime.base import Feeds
from graphopt.verify.reduction import Case, Check, Recorder, Search, Shrinker

FAILS = "it fails"


def model_of(text: str, *, opset: int = 17) -> Model:
    """The IR of a model in ONNX text syntax without its head."""
    return lift(parse_model(f'<ir_version: 8, opset_import: ["": {opset}, "own": 1]> {text}'))


def ops(model: Model) -> list[str]:
    """Operators of the main graph, in order."""
    return [node.op for node in model.graph.nodes]


def fails_when(condition: Callable[[Model], bool]) -> Check:
    """A check for a condition on the model."""

    def check(model: Model, samples: Sequence[Feeds]) -> str | None:
        return FAILS if condition(model) else None

    return check


def has_ops(*wanted: str) -> Check:
    """A check for operators of the main graph."""
    return fails_when(lambda model: set(wanted) <= set(ops(model)))


def searched(
    folder: Path, model: Model, shrinker: Shrinker, check: Check, samples: Sequence[Feeds] = (), kind: str = FAILS
) -> Search:
    """A search in which one shrinker did what it can."""
    search = Search(Case(model, tuple(samples)), check, kind, Recorder(folder, timeout=30.0))
    search.run(shrinker)
    return search


def array_of(item):
    """The array that a constant value, or a value of a sample, is; without a type, so that tests can look into it."""
    return item.array() if isinstance(item, Value) else np.asarray(item)


def recorded(recorder: Recorder, case: Case, *names: str):
    """Recorded values as lists, for each sample; without a type as well."""
    found = recorder.values(case, names)
    assert found is not None, "the model runs"
    return [{name: array_of(data).tolist() for name, data in known.items()} for known in found]


def input_of(node: Node, index: int = 0) -> Value:
    """An input of a node that is there."""
    value = node.inputs[index]
    assert value is not None, f"input {index} is there"
    return value


def numbers(*shape: int, start: float = 1.0) -> np.ndarray:
    """1, 2, 3 and so on as float32."""
    return (np.arange(np.prod(shape), dtype=np.float32) + np.float32(start)).reshape(shape)
