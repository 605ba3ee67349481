"""What is asked of ``quantize``, and whether it makes sense."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.quantizing.budget import parse_drop
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.metrics import CustomMetric
from graphopt.compiler.quantizing.plan import ACCURACY_PASSES, FORMS, Form, LayerForm
from graphopt.errors import QuantizationError
from graphopt.passes import CalibrationTable, suggestion

__all__ = ["QuantizeRequest", "chosen_layers"]

_WEIGHT_TYPES = ("int8", "int4", "uint4")


@dataclass(frozen=True)
class QuantizeRequest:
    """What is asked for; as the arguments of :func:`graphopt.quantize`."""

    target: str = "onnxruntime"
    form: Form = "auto"
    calibrator: str = "auto"
    calibrator_options: Mapping[str, object] = field(default_factory=dict)
    table: CalibrationTable | str | os.PathLike[str] | None = None
    metric: str | CustomMetric | None = None
    max_accuracy_drop: str | float | None = None
    min_sqnr: float | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    accuracy: str | Sequence[str] = "auto"
    weight_dtype: str = "int8"
    block: int | None = None
    prepare: str = "quantize-prepare"
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    requantize: bool = False
    check: bool = True
    seconds: float = 30.0
    threads: int = 1
    seed: int = 0

    def check_arguments(self) -> None:
        """See that arguments make sense.

        Raises:
            QuantizationError: naming the first that does not.
            TypeError: if one has another type than it may have.
        """
        expect_type("target", self.target, str, "the name of a target")
        if self.form not in FORMS:
            raise QuantizationError(
                f"unknown form {self.form!r}{suggestion(str(self.form), FORMS) or ';'} forms: {', '.join(FORMS)}"
            )
        for name, value in (("include", self.include), ("exclude", self.exclude)):
            if isinstance(value, str):
                raise TypeError(f"{name} is {value!r}, expected a list of names; put it into brackets")
        if self.weight_dtype not in _WEIGHT_TYPES:
            raise QuantizationError(
                f"weights can't be stored as {self.weight_dtype!r}; expected one of {', '.join(_WEIGHT_TYPES)}"
            )
        if not self.seconds > 0:
            raise QuantizationError(f"the time to measure is {self.seconds:g} s, expected more than 0")
        if self.max_accuracy_drop is not None:
            parse_drop(self.max_accuracy_drop)
        self.accuracy_passes()

    def accuracy_passes(self) -> frozenset[str] | None:
        """Passes for accuracy that are asked for; ``None`` for those that help.

        Raises:
            QuantizationError: if one is unknown.
        """
        if self.accuracy == "auto":
            return None
        names = [part for part in self.accuracy.split(",") if part] if isinstance(self.accuracy, str) else self.accuracy
        found = [name for name in names if name != "none"]
        for name in found:
            if name not in ACCURACY_PASSES:
                known = ", ".join(("auto", "none", *ACCURACY_PASSES))
                raise QuantizationError(
                    f"unknown pass for accuracy {name!r}{suggestion(name, ACCURACY_PASSES) or ';'} known: {known}"
                )
        return frozenset(found)

    @property
    def needs_data(self) -> bool:
        """Whether the form can't be made without data or a table."""
        return self.form in ("static", "qoperator")

    @property
    def layer_form(self) -> LayerForm:
        """The form of the layers that a stated form means."""
        known: dict[str, LayerForm] = {
            "qoperator": "static",
            "static": "static",
            "dynamic": "dynamic",
            "weights": "weights",
            "stored": "stored",
        }
        return known.get(self.form, "float")


def chosen_layers(layers: Sequence[Layer], include: Sequence[str], exclude: Sequence[str]) -> dict[str, str]:
    """For each layer that is left out by name or operator, why.

    Raises:
        QuantizationError: if a pattern fits no layer: a misspelled one would do nothing, unnoticed.
    """
    for option, patterns in (("include", include), ("exclude", exclude)):
        for pattern in patterns:
            if not any(_fits(layer, pattern) for layer in layers):
                hint = suggestion(pattern, [layer.name for layer in layers])
                raise QuantizationError(f"{option} {pattern!r} fits no layer{hint}")
    left = {}
    for layer in layers:
        if include and not any(_fits(layer, pattern) for pattern in include):
            left[layer.name] = "not among the included layers"
        elif any(_fits(layer, pattern) for pattern in exclude):
            left[layer.name] = "excluded"
    return left


def _fits(layer: Layer, pattern: str) -> bool:
    if pattern.startswith("op:"):
        return fnmatch.fnmatchcase(layer.op, pattern[3:])
    return layer.name == pattern or fnmatch.fnmatchcase(layer.name, pattern)
