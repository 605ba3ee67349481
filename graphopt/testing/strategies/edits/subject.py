"""What an edit works on: a model, the nodes that a rule looks at, and the numbers in its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto, TensorProto, helper

from graphopt.ir import Array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.scope import RefusedError, dtype_of

__all__ = ["Edit", "Subject"]


@dataclass
class Subject:
    """A model that is edited in place.

    Attributes:
        model: the model.
        nodes: those of the main graph that the rule looks at, the root first.
        arrays: numbers in all tensors of the main graph, for the first inputs.
        feeds: inputs so far; an edit that makes new ones adds their numbers to each.
        overridden: constants that became inputs with a default.
    """

    model: ModelProto
    nodes: list[NodeProto]
    arrays: dict[str, Array]
    feeds: list[dict[str, Array]]
    overridden: list[str] = field(default_factory=list)

    @property
    def opset(self) -> int:
        """Of the default domain."""
        return int(next(item.version for item in self.model.opset_import if item.domain == ""))

    def fresh(self, hint: str) -> str:
        """A name that no value of the main graph has."""
        number = 0
        while f"{hint}{number or ''}" in self.arrays:
            number += 1
        return f"{hint}{number or ''}"

    def give_out(self, name: str, like: Array) -> None:
        """Make a value a graph output."""
        info = helper.make_tensor_value_info(name, dtype_of(like), [None] * like.ndim)
        if name not in {value.name for value in self.model.graph.output}:
            self.model.graph.output.append(info)

    def constants(self) -> list[TensorProto]:
        """Initializers that the nodes read, and that no caller can override."""
        read = {name for node in self.nodes for name in node.input}
        inputs = {value.name for value in self.model.graph.input}
        return [item for item in self.model.graph.initializer if item.name in read and item.name not in inputs]

    def one_constant(self, choices: Choices) -> TensorProto:
        """One of them.

        Raises:
            RefusedError: if there is none.
        """
        found = self.constants()
        if not found:
            raise RefusedError("no constant is read")
        return choices.of(found)


#: Edits a subject; returns what was done, in words.
Edit = Callable[[Subject, Choices], str]
