"""Inputs and outputs of a model as its callers know them, kept inside the model that OpenVINO reads.

OpenVINO keeps neither names of dimensions nor inputs that nothing reads, and its own names of outputs may be several or escaped. What
the original says is therefore stored as JSON in the model's runtime information, with the position of each input in OpenVINO's list.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from graphopt.ir import DType, SymbolicDim, TensorType
from graphopt.runtime import ValueSpec

__all__ = ["KEY", "Interface", "spec_of"]

#: Where in the runtime information it stands.
KEY = ["graphopt", "interface"]


def spec_of(value) -> ValueSpec:
    """The declaration of a value of the IR."""
    return ValueSpec(value.name, value.type)


@dataclass(frozen=True)
class Interface:
    """What callers see.

    Attributes:
        inputs: in the order of the model.
        outputs: in the order of the model, which is OpenVINO's order too.
        positions: for each input its place in OpenVINO's list, ``None`` for one that nothing reads.
    """

    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]
    positions: tuple[int | None, ...] = ()

    def to_text(self) -> str:
        """As JSON.

        Example:
            >>> x = ValueSpec("x", TensorType(DType.FLOAT, (SymbolicDim("n"), 3)))
            >>> Interface.from_text(Interface((x,), (x,), (0,)).to_text()) == Interface((x,), (x,), (0,))
            True
        """
        plain = {
            "inputs": [_plain(spec) for spec in self.inputs],
            "outputs": [_plain(spec) for spec in self.outputs],
            "positions": list(self.positions),
        }
        return json.dumps(plain)

    @classmethod
    def from_text(cls, text: str) -> Interface:
        """From what :meth:`to_text` gave.

        Raises:
            ValueError: if it is something else.
        """
        try:
            plain = json.loads(text)
            inputs, outputs = _specs(plain["inputs"]), _specs(plain["outputs"])
            return cls(inputs, outputs, tuple(plain["positions"]))
        except (KeyError, TypeError) as err:
            raise ValueError(f"no interface of a model: {err}") from err


def _plain(spec: ValueSpec) -> dict[str, object]:
    tensor = spec.tensor
    if tensor is None:
        return {"name": spec.name}
    shape = tensor.shape
    dims = None if shape is None else [str(dim) if isinstance(dim, SymbolicDim) else dim for dim in shape]
    return {"name": spec.name, "dtype": tensor.dtype.name, "shape": dims}


def _specs(plain: Sequence[dict[str, object]]) -> tuple[ValueSpec, ...]:
    return tuple(_spec(item) for item in plain)


def _spec(plain: dict[str, object]) -> ValueSpec:
    if "dtype" not in plain:
        return ValueSpec(plain["name"], None)
    dims = plain["shape"]
    shape = None if dims is None else tuple(SymbolicDim(dim) if isinstance(dim, str) else dim for dim in dims)
    return ValueSpec(plain["name"], TensorType(DType[plain["dtype"]], shape))
