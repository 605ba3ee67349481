"""What is asked of ``prune``, and whether it makes sense."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from graphopt.compiler.arguments import expect_type
from graphopt.compiler.pruning.amounts import AUTO, Amount, channels_amount, magnitude_amount, n_m_amount
from graphopt.compiler.quantizing.budget import parse_drop
from graphopt.compiler.quantizing.metrics import CustomMetric
from graphopt.errors import PruningError, QuantizationError
from graphopt.passes import suggestion

__all__ = ["IMPORTANCES", "SCOPES", "Importance", "PruneRequest", "Scope", "amount_of"]

Importance = Literal["auto", "l1", "l2", "bn-scale", "activation-energy", "reconstruction"]
Scope = Literal["tensor", "layer-type", "global"]
IMPORTANCES: Final[tuple[str, ...]] = get_args(Importance)
SCOPES: Final[tuple[str, ...]] = get_args(Scope)
#: Criteria that look at activations.
_NEED_DATA: Final = ("activation-energy", "reconstruction")
#: Parts of a layer that a sweep takes away when nobody says which: weights can be spared more easily than whole channels.
_RATIOS: Final = (0.25, 0.5, 0.75)
_RATIOS_OF_WEIGHTS: Final = (0.5, 0.75, 0.9)


@dataclass(frozen=True)
class PruneRequest:
    """What is asked for; as the arguments of :func:`graphopt.prune`, with ``amount`` for what they say together."""

    amount: Amount
    target: str = "onnxruntime"
    plan: object = None
    importance: str = "auto"
    scope: str = "global"
    metric: str | CustomMetric | None = None
    max_accuracy_drop: str | float | None = None
    min_sqnr: float | None = None
    sensitivity: bool = False
    ratios: Sequence[float] | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    round_to: int | None = None
    min_channels: int = 1
    recover: bool = True
    prepare: str | None = None
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    check: bool = True
    seconds: float = 30.0
    threads: int = 1
    seed: int = 0

    @property
    def has_budget(self) -> bool:
        """Whether accuracy decides how much goes."""
        return self.max_accuracy_drop is not None or self.min_sqnr is not None

    @property
    def only_sweeps(self) -> bool:
        """Whether sensitivity is all that is asked for, and nothing is pruned."""
        return self.sensitivity and self.amount.measure == AUTO and not self.has_budget

    @property
    def sweep_ratios(self) -> Sequence[float]:
        """Parts of a layer that a sweep takes away."""
        if self.ratios is not None:
            return self.ratios
        return _RATIOS_OF_WEIGHTS if self.amount.kind == "magnitude" else _RATIOS

    def check_arguments(self, *, has_data: bool, has_labels: bool) -> None:
        """See that arguments make sense together.

        Args:
            has_data: whether there is data.
            has_labels: whether there are labels.

        Raises:
            PruningError: naming the first that does not.
            TypeError: if one has another type than it may have.
        """
        expect_type("target", self.target, str, "the name of a target")
        for name, value, known in (("importance", self.importance, IMPORTANCES), ("scope", self.scope, SCOPES)):
            if value not in known:
                raise PruningError(
                    f"unknown {name} {value!r}{suggestion(str(value), known) or ';'} known: {', '.join(known)}"
                )
        for name, patterns in (("include", self.include), ("exclude", self.exclude)):
            if isinstance(patterns, str):
                raise TypeError(f"{name} is {patterns!r}, expected a list of names; put it into brackets")
        if self.importance in _NEED_DATA and not has_data:
            raise PruningError(f"importance {self.importance!r} looks at activations; give data (--data), or take l2")
        for name, number in (("round_to", self.round_to), ("min_channels", self.min_channels)):
            if number is not None and number < 1:
                raise PruningError(f"{name} is {number}, expected 1 or more")
        if not self.seconds > 0:
            raise PruningError(f"the time to measure is {self.seconds:g} s, expected more than 0")
        wrong = next((ratio for ratio in self.sweep_ratios if not 0 < ratio < 1), None)
        if wrong is not None or not self.sweep_ratios:
            told = "empty" if wrong is None else f"{wrong:g}"
            raise PruningError(f"a ratio of the sweep is {told}, expected numbers in (0, 1) such as 0.25,0.5,0.75")
        self._check_budget(has_data=has_data, has_labels=has_labels)

    def _check_budget(self, *, has_data: bool, has_labels: bool) -> None:
        if has_labels and not has_data:
            raise PruningError("there are labels, and no data; give the data that they belong to (--data)")
        if self.amount.measure == AUTO and not self.has_budget and not self.sensitivity:
            raise PruningError(
                f"{self.amount.kind} is auto, and nothing says how much accuracy may go; state a number, "
                "--max-accuracy-drop or --min-sqnr"
            )
        if self.include and self.amount.kind == "plan":
            raise PruningError("a plan says what goes, and include names layers; leave out --include, or edit the plan")
        if self.sensitivity and self.amount.kind == "plan":
            raise PruningError("a plan says what goes, and sensitivity is asked for; sweep without the plan")
        if not self.has_budget:
            return
        if self.amount.kind == "plan":
            raise PruningError("a plan says what goes, and so does a budget of accuracy; state one of them")
        if self.amount.measure == "latency":
            raise PruningError("latency and a budget of accuracy are both stated; state one of them, or flops")
        if not has_data:
            raise PruningError("a budget of accuracy is stated, and there is no data to judge on; give some (--data)")
        if self.max_accuracy_drop is None:
            if self.min_sqnr is None or not math.isfinite(self.min_sqnr):
                raise PruningError(f"the least SQNR is {self.min_sqnr!r}, expected a number of dB such as 20")
            return
        if self.min_sqnr is not None:
            raise PruningError("an accuracy drop and a least SQNR are both stated; state one of them")
        try:
            parse_drop(self.max_accuracy_drop)
        except QuantizationError as err:
            raise PruningError(str(err)) from None
        if self.metric is None and not has_labels:
            raise PruningError(
                "an accuracy drop is stated, and no metric: give labels (--labels), name a metric such as top1, which is the share on "
                "which the original agrees, or state --min-sqnr"
            )
        if self.metric == "sqnr":
            raise PruningError("metric 'sqnr' has no value before; state --min-sqnr 20 instead of an accuracy drop")


def amount_of(channels: object, magnitude: object, n_m: object, plan: object, *, without: bool) -> Amount:
    """The one amount that is stated.

    Args:
        channels: as :func:`graphopt.compiler.pruning.amounts.channels_amount` takes it, or ``None``; so are the next ones.
        magnitude: part of the weights.
        n_m: pattern.
        plan: anything but ``None``.
        without: whether it may be missing: then channels go, as a budget or a sweep says.

    Raises:
        PruningError: if none or several are stated, or one makes no sense.

    Example:
        >>> amount_of(None, 0.8, None, None, without=False).kind
        'magnitude'
    """
    stated = {"channels": channels, "magnitude": magnitude, "n-m": n_m, "plan": plan}
    given = [name for name, value in stated.items() if value is not None]
    if len(given) > 1:
        raise PruningError(
            f"{' and '.join(given)} are stated, expected one of them; prune the result again for the other"
        )
    if not given:
        if without:
            return Amount("channels", AUTO)
        raise PruningError(
            "nothing says what is to go: state --channels flops=0.5, --magnitude 0.8, --n-m 2:4, --plan FILE, or a budget "
            "(--max-accuracy-drop, --min-sqnr)"
        )
    if channels is not None:
        return channels_amount(channels)
    if magnitude is not None:
        return magnitude_amount(magnitude)
    return Amount("plan", "plan") if n_m is None else n_m_amount(n_m)
