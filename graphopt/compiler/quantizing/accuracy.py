"""Which passes for accuracy help a model: each is tried on top of those that did, and kept if the outputs gain by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from graphopt.compiler.quantizing.candidates import Candidate, Trials
from graphopt.compiler.quantizing.plan import ACCURACY_PASSES, Plan, Settings
from graphopt.compiler.quantizing.result import Effect
from graphopt.errors import GraphoptError
from graphopt.ir import Model
from graphopt.passes import PassRegistry, Pipeline, build_pass

__all__ = ["improve"]

#: Passes that change the model of floats, without changing what it computes, and so come before calibration.
_BEFORE: Final = ("equalize", "smooth")
#: Other ways to run a pass: the pass, its options, and whether they cost time in each run of the model.
_VARIANTS: Final[Mapping[str, tuple[str, Mapping[str, object], bool]]] = {
    "correct-biases, measured": ("correct-biases", {"method": "measured", "runs": 8}, False),
    "smooth with Mul": ("smooth", {"multiply": True}, True),
}
#: What costs time in each run of the model is tried only where accuracy is not enough.
_COSTLY: Final = frozenset({"split-outliers"} | {name for name, (_, _, costs) in _VARIANTS.items() if costs})
#: What takes long to find is tried only where accuracy is little more than enough, or not plenty, in dB.
_SLOW: Final[Mapping[str, float]] = {"correct-biases, measured": 6.0, "equalize": 15.0, "smooth": 15.0, "gptq": 15.0}
#: With so many dB less than enough, what takes long and works layer by layer does not make up for it.
_HOPELESS: Final = 12.0
_BY_LAYER: Final = frozenset({"correct-biases, measured", "gptq"})
#: Passes that change the model of floats come first: what comes after them works on the changed one.
_ORDER: Final = (
    "equalize",
    "smooth",
    "gptq",
    "round-weights",
    "correct-biases",
    "correct-biases, measured",
    "split-outliers",
    "smooth with Mul",
)
#: Kernels that GPTQ has rounded keep their sums as they are.
_INSTEAD: Final = {"round-weights": "gptq"}
#: dB that a pass must bring.
_LEAST_DB: Final = 0.3
_SQNR: Final = "sqnr"


def improve(
    trials: Trials,
    plan: Plan,
    settings: Settings,
    wanted: frozenset[str] | None,
    registry: PassRegistry,
    again: Callable[[Model], Trials],
    enough: float,
) -> tuple[Trials, Settings, list[Effect]]:
    """Trials on the model that passes for accuracy have changed, settings with the others, and what each brought.

    Args:
        trials: on the model as it was prepared.
        plan: what is to be accurate.
        settings: without passes for accuracy.
        wanted: those that are asked for, whether they help or not; ``None`` for those that help.
        registry: passes by name.
        again: makes trials on a changed model, with data that is looked at anew.
        enough: dB that are enough. Where there are less, passes are tried that cost time in each run; where there are far more, none
            that take long themselves.
    """
    effects: list[Effect] = []
    best = _sqnr(trials, plan, settings)
    for name in _candidates(plan, wanted):
        kind, options, _ = _VARIANTS.get(name, (name, {}, False))
        if ACCURACY_PASSES[kind] not in registry:
            continue
        if wanted is None and (_INSTEAD.get(name) in settings.accuracy or not _is_worth_a_try(name, best, enough)):
            continue
        try:
            tried, how = _with(kind, trials, plan, settings, registry, again, options)
        except GraphoptError as err:
            if wanted is not None:
                raise
            effects.append(Effect(name, best, best, kept=False, reason=str(err)))
            continue
        is_same = tried is trials and how == settings  # the pass has changed nothing
        found = best if is_same else _sqnr(tried, plan, how)
        kept = wanted is not None or found > best + _LEAST_DB
        effects.append(Effect(name, best, found, kept))
        if kept:
            trials, settings, best = tried, how, found
    return trials, settings, effects


def _is_worth_a_try(name: str, best: float, enough: float) -> bool:
    """Whether a pass may make a difference where the outputs have so many dB, and as many are enough."""
    if name in _BY_LAYER and best < enough - _HOPELESS:
        return False
    return best < enough + (0.0 if name in _COSTLY else _SLOW.get(name, float("inf")))


def _candidates(plan: Plan, wanted: frozenset[str] | None) -> Sequence[str]:
    """Passes that may help, each judged on top of those before it."""
    static, dynamic, weights = (bool(plan.layers(form)) for form in ("static", "dynamic", "weights"))
    useful = {
        "equalize": static,
        "smooth": static or dynamic,
        "correct-biases": static,
        "round-weights": static,
        "gptq": static or weights,
        "split-outliers": dynamic,
    }
    useful |= {name: useful[kind] and wanted is None for name, (kind, _, _) in _VARIANTS.items()}
    return [name for name in _ORDER if useful[name] and (wanted is None or name in wanted)]


def _with(
    name: str,
    trials: Trials,
    plan: Plan,
    settings: Settings,
    registry: PassRegistry,
    again: Callable[[Model], Trials],
    stated: Mapping[str, object],
) -> tuple[Trials, Settings]:
    asked = settings.options.get(ACCURACY_PASSES[name], {})
    if name not in _BEFORE:
        changed = {**settings.options, ACCURACY_PASSES[name]: {**stated, **asked}} if stated else settings.options
        return trials, replace(settings, accuracy=settings.accuracy | {name}, options=changed)
    options: dict[str, object] = (
        {} if name == "equalize" else {"alpha": "auto", "include": (*plan.layers("static"), *plan.layers("dynamic"))}
    )
    options |= {**stated, **asked}
    step = Pipeline.of(build_pass(registry[ACCURACY_PASSES[name]], options))
    model, records = trials.workshop.run(trials.model, step, trials.calibration)
    return (again(model) if any(record.changed for record in records) else trials), settings


def _sqnr(trials: Trials, plan: Plan, settings: Settings) -> float:
    tried: Candidate = trials.make("accuracy", plan, settings, note=False, quick=True)
    found = trials.judge(tried, quick=True).get(_SQNR, float("-inf"))
    return found if found == found else float("-inf")  # NaN: nothing is worse
