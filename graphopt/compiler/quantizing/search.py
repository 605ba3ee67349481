"""The search for the best form: what is faster than floats on this machine, and of that what is accurate enough.

Uniform plans (all static, all dynamic, and so on) are made and measured beside the model of floats first. ONNX Runtime's profiler then says
what each layer took in each of them, and a plan with the best form of each layer joins in. Of those that are faster, in order of speed, the
first is made more accurate and, where the budget does not hold, the worst layers go back to floats; what is left is measured once more,
and kept only if it is still faster. A form that is stated is made as it is, without that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from graphopt.compiler.quantizing.accuracy import improve
from graphopt.compiler.quantizing.budget import DEFAULT_SQNR, Budget
from graphopt.compiler.quantizing.candidates import Candidate, Trials
from graphopt.compiler.quantizing.layer_times import best_forms, layer_times
from graphopt.compiler.quantizing.layers import Layer
from graphopt.compiler.quantizing.plan import TABLE, LayerForm, Plan, Settings, first_form, uniform
from graphopt.compiler.quantizing.request import QuantizeRequest
from graphopt.compiler.quantizing.result import Effect
from graphopt.compiler.quantizing.sensitivity import Known, Repair, Sensitivity, TradeOff, repair
from graphopt.errors import QuantizationError
from graphopt.ir import Model
from graphopt.passes import PassRegistry
from graphopt.plugin_manager import PluginManager

__all__ = ["FormSearch", "Found"]

#: Parts of the time that is stated for measuring: a profile, and what layers lose alone (which is besides).
_PROFILE: Final = 0.025
_SENSITIVITY: Final = 2.0
#: So many candidates, the fastest, are made more accurate.
_MOST_IMPROVED: Final = 4
#: What is not accurate enough must be faster by so much than what is, for it is slower with layers in floats.
_WORTH_REPAIR: Final = 1.15
_SQNR: Final = "sqnr"
#: How many times as fast a layer has to be in another form: the smaller one first, for what little gains is lost where forms change.
_GAINS: Final = {"by layer": 1.05, "by layer, large gains": 1.6}
#: A product with so few rows is bound by reading its weight.
_FEW_ROWS: Final = 8
_DYNAMIC_FIRST: Final = frozenset({"Gemm", "LSTM", "MatMul"})


@dataclass
class Found:
    """The end of a search.

    Attributes:
        candidate: what to keep, ``None`` for the model of floats.
        effects: what passes for accuracy brought.
        curve: accuracy, latency and size by the number of layers in floats.
        sensitivity: of layers, the worst first.
        left: layers that are floats for the sake of accuracy.
        times: seconds of layers by form.
        candidates: all that was tried.
        reason: why floats are kept, ``""`` when they are not.
        model: of floats, that what is kept was made of.
        floats: path of that model, ``""`` where floats are kept.
    """

    candidate: Candidate | None = None
    effects: list[Effect] = field(default_factory=list)
    curve: tuple[TradeOff, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    left: tuple[str, ...] = ()
    times: dict[LayerForm, dict[str, float]] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    reason: str = ""
    model: Model | None = None
    floats: str = ""


@dataclass(frozen=True)
class _Improved:
    """Trials on a model that is easier to quantize, how layers are made there, and what each pass brought."""

    trials: Trials
    settings: Settings
    effects: list[Effect]


class FormSearch:
    """Looks for the best form.

    Args:
        trials: on the prepared model.
        layers: that can be quantized and are not left out.
        request: what is asked for.
        budget: what must hold.
        plugins: passes and frontends.
        again: makes trials on a changed model, with data that is looked at anew.
        has_data: whether ranges can be found.
    """

    def __init__(
        self,
        trials: Trials,
        layers: Sequence[Layer],
        request: QuantizeRequest,
        budget: Budget,
        plugins: PluginManager,
        again: Callable[[Model], Trials],
        *,
        has_data: bool,
    ) -> None:
        self._trials = trials
        self._layers = layers
        self._request = request
        self._budget = budget
        self._tables = {layer.name for layer in layers if layer.op == TABLE}
        self._registry: PassRegistry = plugins.passes
        self._again = again
        self._has_data = has_data
        self._found = Found(candidates=trials.all)
        self._known = Known()
        self._settings = Settings(
            qoperator=request.form == "qoperator",
            weight_dtype=request.weight_dtype,
            block=request.block,
            options=request.options,
        )

    # -- a form that is stated --------------------------------------------------------------------------------------------------

    def stated(self) -> Found:
        """The form that is asked for, with the worst layers in floats where a budget is asked for too.

        Raises:
            QuantizationError: if it can't be made, or the budget can't be met.
        """
        request, found = self._request, self._found
        whole = request.form if request.form in ("float16", "bfloat16") else ""
        plan = Plan({layer.name: "float" for layer in self._layers}, whole)
        if not whole:
            plan = uniform(self._layers, request.layer_form)
            if request.form != "float" and not plan.quantized:
                raise QuantizationError(
                    f"no layer can be made {request.form}: {self._why_none()}; choose another form, or --form auto"
                )
        better = self._improved(self._trials, plan)
        self._adopt(better)
        trials, settings = better.trials, better.settings
        made = trials.make(request.form, plan, settings, note=trials is not self._trials)
        if trials is self._trials:
            self._trials.all.append(made)
        if made.made is None:
            raise QuantizationError(made.reason)
        if not trials.judge(made):
            raise QuantizationError(f"the quantized model does not run: {made.reason}")
        found.candidate, found.candidates = made, [made]
        if self._budget.stated and not self._holds(made):
            fixed = self._repaired(trials, made)
            if fixed.candidate is None or not fixed.candidate.plan.quantized:
                raise QuantizationError(self._unmet(made, fixed))
            found.candidate = fixed.candidate
            found.candidates.append(fixed.candidate)
        trials.measure(found.candidate, drop=False)
        return found

    def _why_none(self) -> str:
        reasons = dict.fromkeys(layer.reason for layer in self._layers if layer.reason)
        return "; ".join(list(reasons)[:2]) or "the target has no kernel for its layers"

    # -- the best one -----------------------------------------------------------------------------------------------------------

    def best(self) -> Found:
        """The fastest that is accurate enough, and faster than floats.

        Raises:
            QuantizationError: if a budget is asked for, and what is faster than floats can't meet it.
        """
        trials, found = self._trials, self._found
        for name, plan in self._uniform_plans().items():
            trials.measure(trials.make(name, plan, self._settings))
        self._time_layers()
        for name, gain in _GAINS.items():
            mixed = best_forms(self._layers, self._found.times, gain=gain)
            if set(mixed.quantized) - self._tables and mixed not in [item.plan for item in trials.all]:
                tried = trials.make(name, mixed, self._settings)
                trials.measure(tried)
                if tried.is_faster:
                    break
        viable = sorted(
            (item for item in trials.all if item.is_faster), key=lambda item: item.speedup or 0.0, reverse=True
        )
        if not viable:
            made = [item for item in trials.all if item.made is not None]
            found.reason = (
                "nothing that was tried is faster than floats on this machine"
                if made
                else f"nothing could be made: {trials.all[0].reason}"
                if trials.all
                else "no layer can be quantized without data"
            )
            return found
        self._settle(viable)
        return found

    def _uniform_plans(self) -> dict[str, Plan]:
        layers = self._layers
        plans: dict[str, Plan] = {}
        if self._has_data:
            plans["static"] = uniform(layers, "static")
        plans["dynamic"] = uniform(layers, "dynamic")
        if self._has_data:
            both: dict[str, LayerForm] = {}
            for layer in layers:
                order: tuple[LayerForm, ...] = ("dynamic", "static") if layer.op in _DYNAMIC_FIRST else ("static",)
                both[layer.name] = first_form(layer, order)
            plans["static and dynamic"] = Plan(both)
        few = [
            layer for layer in layers if "weights" in layer.forms and layer.flops <= _FEW_ROWS * layer.weight_bytes / 2
        ]
        if few and sum(layer.share for layer in few) > 0.5 * sum(layer.share for layer in layers):
            plans["weights"] = uniform(layers, "weights")
        different: dict[str, Plan] = {}
        for name, plan in plans.items():
            if set(plan.quantized) - self._tables and plan not in different.values():
                different[name] = plan
        return different

    def _time_layers(self) -> None:
        """What each layer takes in each form that was made."""
        watch, times = self._trials.stopwatch, self._found.times
        made = [item for item in self._trials.all if item.made is not None]
        if watch is None or not made:
            return
        times["float"] = self._layer_times(watch.baseline)
        for item in made:
            assert item.made is not None, "those that were made"
            for name, seconds in self._layer_times(item.made.path).items():
                form = item.plan.forms[name]
                if form != "float":
                    known = times.setdefault(form, {})
                    known[name] = min(seconds, known.get(name, seconds))

    def _layer_times(self, path: str) -> dict[str, float]:
        watch = self._trials.stopwatch
        assert watch is not None, "there is one where layers are timed"
        self._trials.tell("profiling")
        return layer_times(
            path,
            self._layers,
            watch.feeds[-1],  # type: ignore[arg-type]  # feeds, as they were given
            threads=watch.threads,
            seconds=self._request.seconds * _PROFILE,
            environment=self._trials.workshop.environment,
        )

    def _settle(self, viable: Sequence[Candidate]) -> None:
        """Take the fastest that is accurate enough: of those that are so as they are first, then of those that can be repaired."""
        short: list[tuple[Candidate, _Improved, Candidate]] = []
        best: Candidate | None = None
        for item in viable[:_MOST_IMPROVED]:
            if best is not None and (best.speedup or 0.0) >= (item.speedup or 0.0):
                break
            better = self._improved(self._trials, item.plan)
            made = better.trials.make(item.name, item.plan, better.settings, note=False)
            item.values = dict(better.trials.judge(made))
            if not made.values:
                item.outcome, item.reason = made.outcome, made.reason
            elif self._holds(made):
                best = self._kept(best, made, better, item)
            else:
                item.outcome = "not accurate enough"
                short.append((item, better, made))
        last: Repair | None = None
        for item, better, made in short:
            if best is not None and (best.speedup or 0.0) * _WORTH_REPAIR >= (item.speedup or 0.0):
                continue
            last = self._repaired(better.trials, made)
            if last.candidate is not None and last.candidate.plan.quantized:
                last.candidate.name = f"{item.name}, worst layers in floats"
                self._found.candidates.append(last.candidate)
                best = self._kept(best, last.candidate, better, None, last)
        self._found.candidate = best
        if best is None:
            self._refuse(viable[0], last)

    def _kept(
        self,
        best: Candidate | None,
        made: Candidate,
        better: _Improved,
        item: Candidate | None,
        fixed: Repair | None = None,
    ) -> Candidate | None:
        """The faster of the best so far and another one, which is measured once more, for longer."""
        better.trials.measure(made, factor=2.0, drop=False)
        if not made.is_faster or (best is not None and (made.speedup or 0.0) <= (best.speedup or 0.0)):
            return best
        self._adopt(better)
        found = self._found
        if item is not None:  # made once more, with passes for accuracy: it stands in the place of the first
            found.candidates[found.candidates.index(item)] = made
        found.left = () if fixed is None else fixed.left
        found.curve = () if fixed is None else fixed.curve
        found.sensitivity = () if fixed is None else fixed.sensitivity
        return made

    def _refuse(self, first: Candidate, last: Repair | None) -> None:
        if self._budget.stated and last is not None and (last.candidate is None or not last.candidate.plan.quantized):
            raise QuantizationError(self._unmet(first, last))
        self._found.reason = (
            "what is faster than floats is not accurate enough"
            if last is not None
            else "what seemed faster than floats was not when it was measured again"
        )

    # -- parts ------------------------------------------------------------------------------------------------------------------

    def _improved(self, trials: Trials, plan: Plan) -> _Improved:
        """Trials and settings with the passes for accuracy that help a plan."""
        wanted = self._request.accuracy_passes()
        enough = self._budget.least if self._budget.kind.name == _SQNR else DEFAULT_SQNR
        return _Improved(*improve(trials, plan, self._settings, wanted, self._registry, self._again, enough))

    def _adopt(self, better: _Improved) -> None:
        """Note what was made more accurate, and by what."""
        found, trials = self._found, better.trials
        made = trials.make("float", Plan({}), Settings(), note=False).made
        found.effects, found.model = better.effects, trials.model
        found.floats = "" if made is None else made.path

    def _holds(self, candidate: Candidate) -> bool:
        value = candidate.values.get(self._budget.kind.name)
        return value is not None and self._budget.holds(value)

    def _repaired(self, trials: Trials, made: Candidate) -> Repair:
        found = self._found
        fixed = repair(
            trials,
            made,
            self._budget,
            known=self._known,
            gains=self._gains(made.plan),
            seconds=self._request.seconds * _SENSITIVITY,
        )
        found.sensitivity, found.curve, found.left = fixed.sensitivity, fixed.curve, fixed.left
        return fixed

    def _gains(self, plan: Plan) -> dict[str, float]:
        times = self._found.times
        floats: Mapping[str, float] = times.get("float", {})
        return {
            name: floats[name] - times[form][name]
            for name, form in plan.forms.items()
            if form in times and name in floats and name in times[form]
        }

    def _unmet(self, made: Candidate, fixed: Repair) -> str:
        name, kind = self._budget.kind.name, self._budget.kind
        values = [point.values[name] for point in fixed.curve if name in point.values and not point.kept]
        reached = made.values.get(name, float("nan"))
        quantized = list(values[:-1] or values)
        best = (min if kind.smaller_is_better else max)(quantized, default=reached)
        return (
            f"the budget can't be met: {self._budget.text} is asked for, the best with any layer quantized has "
            f"{kind.text(best)}; allow more, or choose another form or calibrator"
        )
