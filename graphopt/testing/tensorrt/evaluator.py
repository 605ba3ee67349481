"""Computes a network with numpy and ONNX Runtime's kernels, layer by layer, as the documentation of each layer says.

It shares nothing with the lowering but the names of element types. The shape and element type of each tensor are compared with what
TensorRT says of it, so that a layer that is misread is seen at once. Source: the reference of TensorRT's operators (facts only).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from graphopt.backends.tensorrt.api import Api
from graphopt.ir import Array
from graphopt.testing.tensorrt.control import run_control
from graphopt.testing.tensorrt.kernels import KERNELS
from graphopt.testing.tensorrt.reading import Item, numpy_dtype, read_layers
from graphopt.testing.tensorrt.scheduling import Plan, plan_of

__all__ = ["Evaluation", "NotEvaluated", "evaluate"]


class NotEvaluated(Exception):  # noqa: N818  says what is not known, not what is wrong
    """A layer whose meaning is not known here, or whose weights can't be read back."""


class Evaluation:
    """One run of a network.

    Args:
        api: the library.
        network: ``INetworkDefinition``.
        feeds: arrays by name of the input.
        stored: constants that the library does not give back, by name of their layer.

    Attributes:
        values: arrays by name of the tensor.
    """

    def __init__(self, api: Api, network: Any, feeds: Mapping[str, Array], stored: Mapping[str, Array]) -> None:  # noqa: ANN401
        self.api = api
        self.network = network
        self.stored = dict(stored)
        self.values: dict[str, Array] = {}
        for place in range(network.num_inputs):
            tensor = network.get_input(place)
            self.values[tensor.name] = np.asarray(feeds[tensor.name], numpy_dtype(api, tensor.dtype))
        self.plan: Plan = plan_of(read_layers(api, network), set(self.values))

    def run(self, items: Iterable[Item | Plan]) -> None:
        """Compute layers, and loops and conditionals among them, in order."""
        for item in items:
            if isinstance(item, Plan):
                run_control(self, item)
            else:
                self.compute(item)

    def compute(self, item: Item) -> None:
        """Compute one layer.

        Raises:
            NotEvaluated: if nobody knows how.
            AssertionError: if TensorRT says another shape or type of what comes out.
        """
        kernel = KERNELS.get(item.kind)
        if kernel is None:
            raise NotEvaluated(f"{item!r}: no kernel")
        given = [None if name is None else self.values[name] for name in item.inputs]
        found = kernel(self, item, given)
        self.keep(item, found if isinstance(found, tuple) else (found,))

    def keep(self, item: Item, arrays: Iterable[Array]) -> None:
        """Note what a layer gives, after a look at its shape and type."""
        for place, (name, array) in enumerate(zip(item.outputs, arrays, strict=True)):
            tensor = item.layer.get_output(place)
            expected = tuple(tensor.shape)
            dtype = numpy_dtype(self.api, tensor.dtype)
            fits = len(expected) == array.ndim and all(e in (-1, s) for e, s in zip(expected, array.shape, strict=True))
            assert fits, f"{item!r}: computed {array.shape}, TensorRT says {expected}"
            assert array.dtype == dtype, f"{item!r}: computed {array.dtype}, TensorRT says {dtype}"
            self.values[name] = array


def evaluate(
    api: Api,
    network: Any,  # noqa: ANN401  INetworkDefinition
    feeds: Mapping[str, Array],
    *,
    stored: Mapping[str, Array] | None = None,
    inner: bool = False,
) -> dict[str, Array]:
    """What a network gives.

    Args:
        api: the library that made it.
        network: ``INetworkDefinition``.
        feeds: arrays by name of the input.
        stored: constants that the library does not give back, by name of their layer, as the lowering keeps them.
        inner: whether all tensors are wanted, not outputs alone.

    Returns:
        Arrays by name of the tensor.

    Raises:
        NotEvaluated: if a layer is not known here.
        AssertionError: if TensorRT says another shape or type of a tensor than is computed.
    """
    made = Evaluation(api, network, feeds, stored or {})
    with np.errstate(all="ignore"):
        made.run(made.plan.items)
    if inner:
        return made.values
    names = [network.get_output(place).name for place in range(network.num_outputs)]
    return {name: made.values[name] for name in names}
