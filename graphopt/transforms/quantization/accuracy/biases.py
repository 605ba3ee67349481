"""Where the bias of a linear layer is, and how another one is put there.

| layer | bias |
|---|---|
| Conv | third input, absent or constant |
| Gemm with both factors 1 | third input, absent or constant |
| MatMul | what an Add behind it adds, if nobody else reads the product |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graphopt.ir import Constant, Graph, Node, Value, constant_of
from graphopt.rewriting import NoMatch
from graphopt.transforms.fusion.linear import round_to
from graphopt.transforms.quantization.parameters import bias_quantization
from graphopt.transforms.statistics import LayerInput

__all__ = ["Bias", "read_bias"]

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """The bias of a layer.

    Attributes:
        layer: the layer.
        reader: the node that reads it: the layer's, or an Add.
        position: its input.
        numbers: float64 [channels] as they are stored, zeros when there is none.
    """

    layer: LayerInput
    reader: Node
    position: int
    numbers: Float64

    @property
    def output(self) -> Value:
        """What the layer gives, its bias included."""
        return self.reader.output

    def add(self, graph: Graph, term: Float64) -> bool:
        """Add numbers to what the layer gives; says whether that changed anything.

        The new bias is stored as int32 where the layer is on integers and its bias was, or would have been.

        Args:
            graph: the graph of the layer.
            term: float64 [channels], finite.
        """
        old = self.reader.input_at(self.position)
        weight, read = self.layer.weight, self.layer.value
        before = constant_of(old)
        dtype = before.dtype if before is not None else weight.const.dtype if weight.const is not None else None
        assert dtype is not None, "the weights were found to be constant"
        made = round_to(self.numbers + term, dtype)
        if isinstance(made, NoMatch) or (before is not None and np.array_equal(made, before.numpy())):
            return False
        if before is None and not made.any():
            return False
        shape = (-1,) if before is None else before.shape
        value = graph.add_constant(Constant(np.ascontiguousarray(made.reshape(shape))), self._name(old))
        if old is not None:
            value.lineage, value.quantization = old.lineage, old.quantization
        elif weight.quantization is not None and read.quantization is not None:
            value.quantization = bias_quantization(read.quantization, weight.quantization)
        if self.position >= len(self.reader.inputs):
            self.reader.resize_inputs(self.position + 1)
        self.reader.replace_input(self.position, value)
        if old is not None and not old.is_used and not old.is_input and graph.has_initializer(old):
            graph.remove_initializer(old)
        return True

    def _name(self, old: Value | None) -> str:
        return f"{self.reader.name or self.reader.output.name}_bias" if old is None else old.name


def read_bias(layer: LayerInput) -> Bias | NoMatch:
    """Where the bias of a layer is, or why none can be put there."""
    node, channels = layer.node, layer.outputs
    if node.op == "MatMul":
        (user,) = node.output.users if node.output.has_single_use else (None,)
        if user is None or user.op != "Add" or user.graph is not node.graph:
            return NoMatch("nothing is added to the product")
        position = 1 - next(at for at, value in enumerate(user.inputs) if value is node.output)
        constant = constant_of(user.input_at(position))
        if constant is None or constant.shape != (channels,):
            return NoMatch("what is added to the product is not one constant number for each column")
        return Bias(layer, user, position, constant.numpy().astype(np.float64))
    value = node.input_at(2)
    constant = constant_of(value)
    if node.op == "Gemm" and not (node.float_attr("alpha", 1.0) == node.float_attr("beta", 1.0) == 1):
        return NoMatch("the product or the bias is multiplied by a factor")
    if value is not None and (constant is None or constant.shape not in ((channels,), (1, channels))):
        return NoMatch("the bias is not one constant number for each of %d channels", channels)
    numbers = np.zeros(channels) if constant is None else constant.numpy().astype(np.float64).reshape(-1)
    return Bias(layer, node, 2, numbers)
