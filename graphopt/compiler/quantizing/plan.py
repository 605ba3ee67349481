"""A plan says in which form each layer is computed; here it becomes a pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from graphopt.compiler.quantizing.layers import Layer
from graphopt.errors import QuantizationError
from graphopt.passes import Pass, PassRegistry, Pipeline, build_pass, suggestion

__all__ = [
    "ACCURACY_PASSES",
    "FORMS",
    "ON_FLOATS",
    "TABLE",
    "Form",
    "LayerForm",
    "Plan",
    "Settings",
    "first_form",
    "uniform",
]

#: What can be asked for.
Form = Literal["auto", "static", "qoperator", "dynamic", "weights", "stored", "float16", "bfloat16", "float"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
#: What a layer can be.
LayerForm = Literal["float", "static", "dynamic", "weights", "stored", "halved"]
#: Forms of layers that compute on floats.
ON_FLOATS: Final[frozenset[LayerForm]] = frozenset({"float", "stored", "halved"})
#: The operator that reads rows of a table.
TABLE: Final = "Gather"
#: Passes that make the result more accurate, by what options call them.
ACCURACY_PASSES: Final = {
    "equalize": "equalize-layers",
    "smooth": "smooth-activations",
    "correct-biases": "correct-biases",
    "gptq": "gptq-weights",
    "round-weights": "round-weights",
    "split-outliers": "split-outliers",
}


@dataclass(frozen=True)
class Settings:
    """How a form is made.

    Attributes:
        qoperator: whether static layers become QOperators at the end, rather than stay in the QDQ form.
        accuracy: which of :data:`ACCURACY_PASSES` run.
        careful: whether GPTQ rounds the weights that are stored, whatever else is in ``accuracy``.
        weight_dtype: element type of weight-only layers.
        block: numbers that share a scale in weight-only layers, ``None`` for the default of the pass.
        options: options of passes, by pass and option; they go before all others.
    """

    qoperator: bool = False
    accuracy: frozenset[str] = frozenset()
    weight_dtype: str = "int8"
    block: int | None = None
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    careful: bool = False

    @property
    def looks_at_data(self) -> bool:
        """Whether any pass for accuracy runs, most of which look at data."""
        return bool(self.accuracy) or self.careful


@dataclass(frozen=True)
class Plan:
    """In which form each layer is computed.

    Attributes:
        forms: by layer; those that are not in it stay floats. ``stored`` and ``halved`` are floats whose weights have 8 and 16 bits in the
            file.
        whole: ``"float16"`` or ``"bfloat16"`` for what all the rest of the model becomes.
    """

    forms: Mapping[str, LayerForm]
    whole: Literal["", "float16", "bfloat16"] = ""

    def layers(self, form: LayerForm) -> tuple[str, ...]:
        """The layers of a form, in order of the model."""
        return tuple(name for name, found in self.forms.items() if found == form)

    @property
    def quantized(self) -> tuple[str, ...]:
        """The layers that are not left in floats."""
        return tuple(name for name, found in self.forms.items() if found != "float")

    def without(self, names: Sequence[str]) -> Plan:
        """The same with some layers left in floats."""
        return self.changed(names, "float")

    def changed(self, names: Sequence[str], form: LayerForm) -> Plan:
        """The same with some layers in another form."""
        moved = set(names)
        return replace(self, forms={name: form if name in moved else old for name, old in self.forms.items()})

    def only(self, names: Sequence[str]) -> Plan:
        """The same with all layers but some left in floats."""
        kept = set(names)
        return replace(self, forms={name: form if name in kept else "float" for name, form in self.forms.items()})

    @property
    def text(self) -> str:
        """In a few words: ``static 20, float 3``.

        Example:
            >>> Plan({"a": "static", "b": "float", "c": "static"}).text
            'static 2, float 1'
        """
        counts = Counter(self.forms.values())
        said = ", ".join(f"{form} {counts[form]}" for form in get_args(LayerForm)[1:] if counts[form])
        left = f"float {counts['float']}" if counts["float"] else ""
        return ", ".join(part for part in (self.whole, said, left) if part) or "float"

    def pipelines(self, settings: Settings, registry: PassRegistry) -> tuple[Pipeline, Pipeline]:
        """The passes that do it, on a prepared model: those that store weights of layers of floats, and all others.

        ``equalize`` and ``smooth`` are not among them, they change the prepared model.

        Raises:
            QuantizationError: if a pass that is needed is not there.
            PipelineError: if an option of ``settings`` is wrong.
        """
        begin, steps = _Steps(settings, registry), _Steps(settings, registry)
        static, dynamic, weights = (self.layers(form) for form in ("static", "dynamic", "weights"))
        stored, halved = self.layers("stored"), self.layers("halved")
        if stored and ("gptq" in settings.accuracy or settings.careful):
            begin.add(ACCURACY_PASSES["gptq"], include=stored, dtype="int8", block=0)
        for names, dtype in ((stored, "int8"), (halved, "int16")):
            if names:
                begin.add("quantize-weights", include=names, dtype=dtype, spelling="multiply")
        if static:
            others = tuple(name for name, form in self.forms.items() if form != "static")
            steps.add("assign-quantization", exclude=others)
            steps.optional("gptq", dtype="noted", include=static)
            steps.optional("round-weights")
            steps.optional("correct-biases")
            steps.add("insert-qdq")
            if settings.qoperator:
                steps.add("qdq-to-qoperator")
        if dynamic:
            steps.optional("split-outliers", include=dynamic)
            steps.add("quantize-dynamic", include=dynamic)
        if weights:
            how: dict[str, object] = {"dtype": settings.weight_dtype}
            if settings.block is not None:
                how["block"] = settings.block
            steps.optional("gptq", include=weights, **how)
            steps.add("quantize-weights", include=weights, **how)
            steps.if_there("pack-matmul-nbits")
        if self.whole:
            steps.add(f"convert-to-{self.whole}")
        end = Pipeline.from_text("eliminate-dead-code,tidy", registry).items
        return Pipeline(tuple(begin.made)), Pipeline((*steps.made, *end))


class _Steps:
    def __init__(self, settings: Settings, registry: PassRegistry) -> None:
        self._settings = settings
        self._registry = registry
        self.made: list[Pass] = []

    def add(self, name: str, **options: object) -> None:
        if name not in self._registry:
            raise QuantizationError(
                f"pass {name!r} is not there{suggestion(name, self._registry) or ';'} it may be in a plugin that is left out"
            )
        stated = self._settings.options.get(name, {})
        self.made.append(build_pass(self._registry[name], {**options, **stated}))

    def optional(self, name: str, **options: object) -> None:
        if name in self._settings.accuracy:
            self.add(ACCURACY_PASSES[name], **options)

    def if_there(self, name: str, **options: object) -> None:
        if name in self._registry:
            self.add(name, **options)


def uniform(layers: Sequence[Layer], *order: LayerForm) -> Plan:
    """Each layer in the first of some forms that it can have, else in floats; tables have their own, whatever the others have."""
    return Plan({layer.name: first_form(layer, order) for layer in layers})


def first_form(layer: Layer, order: Sequence[LayerForm]) -> LayerForm:
    """The first of some forms that a layer can have, else floats."""
    if layer.op == TABLE:
        order = ("weights",) if "weights" in order else ("stored",) if order else ()
    return next((form for form in order if form in layer.forms), "float")
