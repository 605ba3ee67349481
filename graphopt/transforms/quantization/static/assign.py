"""Decides which nodes compute on integers and how their numbers are stored, and notes that on nodes and values.

A node on integers is marked in its metadata (:data:`graphopt.transforms.quantization.static.decisions.FORM`); what it reads and gives
has a :class:`graphopt.ir.Quantization`. Nothing else of the graph changes, so that later passes may still look at floats: biases can be
corrected, weights adjusted. ``insert-qdq`` then spells the notes as operators. Ranges come from calibration data or a table. Constants
that are to be stored in two ways are there twice afterwards. Main graph only. Numerics: lossy, once the notes are spelled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from graphopt.errors import CalibrationError, PipelineError
from graphopt.ir import Graph, Model, Quantization, Value, constant_of
from graphopt.numerics import Lossy, Numerics
from graphopt.passes import Pass, PassContext, PassResult, Range
from graphopt.target import QuantizationScheme
from graphopt.transforms.quantization.layers import Selection, layer_name
from graphopt.transforms.quantization.static.annotating import Annotator
from graphopt.transforms.quantization.static.plan import StaticPlan, plan_static
from graphopt.transforms.quantization.static.scales import group_quantization, is_normal

__all__ = ["AssignQuantization"]

#: QuantizeLinear exists from this opset on; why older models stay is told node by node.
_OLDEST = 10
#: From this opset on it takes 16-bit integers.
_WIDE = 21
_TYPES = ("", "int8", "uint8", "int16", "uint16")


@dataclass(frozen=True)
class AssignQuantization(Pass):
    """Note which nodes are to compute on integers and how their numbers are stored. Needs calibration data or a table; idempotent.

    Attributes:
        include: the layers to work on (names, patterns, ``op:Conv``), all by default.
        exclude: layers to leave alone, and other nodes.
        activation: element type of activations; that of the target by default.
        weight: element type of weights, int8 or int16.
        per_channel: whether weights have a scale for each output channel.
        symmetric: whether the zero point of activations is fixed.
        reduce_range: whether weights keep to 7 of 8 bits.
        ops: the only operators to put on integers, all that the target has kernels for by default.
    """

    name: ClassVar[str] = "assign-quantization"
    numerics: ClassVar[Numerics] = Lossy()
    per_function: ClassVar[bool] = False
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    activation: str = ""
    weight: str = ""
    per_channel: bool | None = None
    symmetric: bool | None = None
    reduce_range: bool | None = None
    ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, text in (("activation", self.activation), ("weight", self.weight)):
            if text not in _TYPES:
                known = ", ".join(_TYPES[1:])
                raise PipelineError(f"{self.name}: {option} is {text!r}, expected one of {known}")

    def scheme(self, ctx: PassContext, opset: int | None = None) -> QuantizationScheme:
        """How the target wants integers, with the options of this pass; without operators if it has no QuantizeLinear.

        Args:
            ctx: has the target.
            opset: of the model.

        Raises:
            PipelineError: if the target has no integer kernels, or the opset is too old for what is asked.
        """
        scheme = ctx.target.quantization
        if scheme is None:
            raise PipelineError(
                f"{self.name}: target {ctx.target.name!r} has no integer kernels; choose another one with --target, such as onnx"
            )
        if opset is not None and opset >= _OLDEST and not ctx.target.has_kernel("QuantizeLinear", opset=opset):
            self.logger.info(
                "target %s has no QuantizeLinear of opset %s: nothing is quantized", ctx.target.name, opset
            )
            return QuantizationScheme(scheme.name)
        wide = next((text for text in (self.activation, self.weight) if text.endswith("16")), "")
        if wide and (opset or 0) < _WIDE and "com.microsoft" not in ctx.target.domains:
            raise PipelineError(
                f"{self.name}: opset {opset} stores no {wide}; raise it with raise-opset{{to={_WIDE}}} first"
            )
        changes: dict[str, object] = {}
        if self.activation:
            changes["activation"] = self.activation
        if self.weight:
            changes["weight"] = self.weight
        stated = {
            "per_channel": self.per_channel,
            "symmetric_activations": self.symmetric,
            "reduce_range": self.reduce_range,
        }
        changes |= {field: value for field, value in stated.items() if value is not None}
        if self.ops:
            for field in ("static_ops", "passing_ops"):
                changes[field] = getattr(scheme, field) & frozenset(self.ops)
        return replace(scheme, **changes)  # type: ignore[arg-type]  # by name of the field

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Plan, ask for ranges, and note what was decided.

        Raises:
            CalibrationError: if there is something to quantize and no data.
            PipelineError: if the target has no integer kernels.
        """
        if not ctx.applications.admits(self.name, ""):
            return PassResult(changed=False)
        scheme = self.scheme(ctx, graph.opset())
        plan, quantizations = self.decide(graph, scheme, ctx)
        annotator = Annotator(graph, scheme)
        annotator.carry_out(plan, quantizations)
        if annotator.changes:
            ctx.applications.record(self.name, "")
            graph.touch()
        return PassResult(changed=bool(annotator.changes), stats=dict(annotator.changes))

    def decide(
        self, graph: Graph, scheme: QuantizationScheme, ctx: PassContext
    ) -> tuple[StaticPlan, dict[Value, Quantization]]:
        """The plan, and how each activation is stored; nodes of which some tensor was always empty stay floats."""
        selection = Selection(self.include, self.exclude)
        refused: dict[str, str] = {}
        while True:
            plan = plan_static(graph, scheme, selection, refused=refused)
            ranges = self._ranges(graph, plan, ctx)
            made: dict[Value, Quantization] = {}
            lacking: dict[Value, str] = {}
            for group in plan.groups:
                how = group_quantization(group, ranges, scheme)
                for value in group.values:
                    if how is None:
                        lacking[value] = "what it reads or gives was empty in each batch of calibration data"
                    elif not is_normal(how, value.dtype):
                        lacking[value] = f"{value.dtype} can't hold the scale {how.scale.numpy():g} of {value.name!r}"
                    else:
                        made[value] = how
            told = {
                layer_name(layer.node): lacking[value]
                for layer in plan.layers
                for value in [*layer.node.inputs, *layer.node.outputs, layer.chain.tail]
                if value in lacking
            }
            if not told:
                return plan, made
            refused |= told

    def _ranges(self, graph: Graph, plan: StaticPlan, ctx: PassContext) -> Mapping[str, Range]:
        names = [value.name for group in plan.groups for value in group.values if constant_of(value) is None]
        if not names:
            return {}
        if ctx.calibration is None:
            raise CalibrationError(
                f"{self.name}: there is no calibration data for {len(names)} tensors; give some with --calibrate, or a calibration table"
            )
        return ctx.calibration.ranges(cast(Model, graph.owner), names)
