"""Applies one edit to a drawn model and keeps what still is a valid model that ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from graphopt.errors import ExecutionError
from graphopt.ir import Array
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.assembly import accepted_feeds
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.edits import EDITS, Subject
from graphopt.testing.strategies.scope import RefusedError, dtype_of

__all__ = ["edited"]

_TRIES: Final = 4
_SIZES: Final = (1, 2, 3)
_VARIANTS: Final = 4


def edited(choices: Choices, base: GeneratedModel, reach: int) -> GeneratedModel | None:
    """A model with one thing changed near the place at which a rule applies, ``None`` when nothing that runs is found.

    Args:
        choices: the only source of chance.
        base: a model whose sites are in its main graph.
        reach: how many nodes, along a path, the rule looks at.
    """
    arrays = _all_arrays(base.proto, dict(base.feeds[0]))
    if arrays is None:
        return None
    for _ in range(_TRIES):
        model = ModelProto()
        model.CopyFrom(base.proto)
        nodes = _near(model, base.sites, reach)
        if not nodes:
            return None
        subject = Subject(model, nodes, dict(arrays), [dict(base.feeds[0]) for _ in range(_VARIANTS)])
        name = choices.weighted([(name, weight) for name, (_edit, weight) in EDITS.items()])
        try:
            change = EDITS[name][0](subject, choices)
        except (RefusedError, TypeError, ValueError):  # the last two: a message that takes no such attribute
            continue
        feeds = accepted_feeds(
            model, [subject.feeds[0], *(_varied(choices, model, item) for item in subject.feeds[1:])]
        )
        if feeds is not None:
            return GeneratedModel(model, tuple(feeds), base.tags, base.sites, change, base.refused)
    return None


def _near(model: ModelProto, sites: Sequence[str], reach: int) -> list[NodeProto]:
    """The nodes that give the sites, and those before them as far as the rule looks."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    found: dict[int, NodeProto] = {}
    layer = [makers[name] for name in sites if name in makers]
    for _ in range(reach):
        found |= {id(node): node for node in layer if node.op_type != "Constant"}
        layer = [makers[name] for node in layer for name in node.input if name in makers]
    return list(found.values())


def _all_arrays(model: ModelProto, feeds: dict[str, Array]) -> dict[str, Array] | None:
    """Numbers in all tensors of the main graph."""
    probe = ModelProto()
    probe.CopyFrom(model)
    names = list(dict.fromkeys(name for node in model.graph.node for name in node.output if name))
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    try:
        found = OrtRunner(probe, threads=1).run(feeds)
    except ExecutionError:
        return None
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return feeds | arrays | {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def _varied(choices: Choices, model: ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """The same inputs with other sizes where the declarations leave them open."""
    sizes: dict[str, int] = {}
    found = dict(feeds)
    for value in model.graph.input:
        array = feeds.get(value.name)
        if array is None:
            continue
        shape = list(array.shape)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_param"):
                shape[axis] = sizes.setdefault(dim.dim_param, choices.of((shape[axis], *_SIZES)))
            elif not dim.HasField("dim_value"):
                shape[axis] = choices.of((shape[axis], *_SIZES))
        if tuple(shape) != array.shape:
            found[value.name] = draw_array(choices, dtype_of(array), shape)
    return found
