"""Makes calibrators of one kind, and guards the border to a stranger's code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar, cast

from graphopt.errors import CalibrationError, GraphoptError, PluginError
from graphopt.ir import Array
from graphopt.passes import CalibrationTable, Calibrator, Range, suggestion
from graphopt.plugin_manager import PluginManager
from graphopt.target import QuantizationScheme

__all__ = ["CalibratorMaker"]

_T = TypeVar("_T")
_METHODS: Final = ("observe", "merge", "range", "state", "from_state")


class CalibratorMaker:
    """Makes calibrators of one kind, and guards the border to a stranger's code.

    Args:
        plugins: where calibrators come from.
        name: of the calibrator.
        options: of it.
        scheme: how numbers are to be stored: what a calibrator of ``bits`` and ``symmetric`` is told, where ``options`` don't say it.

    Raises:
        PipelineError: if there is no such calibrator.
        CalibrationError: if it has no such option, or refuses a value.
        PluginError: if it is no calibrator.
    """

    def __init__(
        self,
        plugins: PluginManager,
        name: str,
        options: Mapping[str, object] | None,
        scheme: QuantizationScheme | None = None,
    ) -> None:
        kind = plugins.load().calibrators.find(name)
        self.name = name
        self.owner = plugins.calibrators.owner(name)
        self.options = dict(options or {})
        lacking = [method for method in _METHODS if not callable(getattr(kind, method, None))]
        if not isinstance(kind, type) or lacking:
            raise PluginError(
                f"calibrator {name!r} of plugin {self.owner!r} is {kind!r:.80}, expected a class with {', '.join(_METHODS)}; "
                f"leave it out with --no-plugin {self.owner}"
            )
        self._kind = cast("type[Calibrator]", kind)
        known = self._known_options()
        self._check_options(known)
        if scheme is not None:
            told = {"bits": _bits(scheme.activation), "symmetric": scheme.symmetric_activations}
            self.options = {option: value for option, value in told.items() if option in known} | self.options
        self._try_options()

    @property
    def extremes_suffice(self) -> bool:
        """Whether the smallest and the largest number of a batch tell a calibrator all that it needs."""
        return getattr(self._kind, "extremes_suffice", False) is True

    def _known_options(self) -> list[str]:
        return [] if self._kind.__init__ is object.__init__ else list(inspect.signature(self._kind).parameters)

    def _check_options(self, known: list[str]) -> None:
        """Refuse unknown options, before any work."""
        for option in self.options:
            if option not in known:
                hint = suggestion(option, known) or ";"
                raise CalibrationError(
                    f"calibrator {self.name!r} has no option {option!r}{hint} options: {', '.join(known) or 'none'}"
                )

    def _try_options(self) -> None:
        """Refuse values that the class refuses, before any work."""
        try:
            self.new()
        except (TypeError, ValueError) as err:
            raise CalibrationError(f"calibrator {self.name!r}: {err}") from err

    def new(self) -> Calibrator:
        """One that has seen nothing."""
        return self._kind(**self.options)

    def observe(self, calibrator: Calibrator, name: str, array: Array) -> None:
        """Show a calibrator a batch of a tensor."""
        self.guard(f"observe of tensor {name!r}", functools.partial(calibrator.observe, array))

    def guard(self, what: str, call: Callable[[], _T]) -> _T:
        """What a call gives; an error names the plugin."""
        try:
            return call()
        except Exception as err:
            said = str(err) if isinstance(err, GraphoptError) else f"{type(err).__name__}: {err}"
            raise PluginError(
                f"calibrator {self.name!r} of plugin {self.owner!r} failed in {what}: {said}; report it there"
            ) from err

    def restored(self, table: CalibrationTable) -> dict[str, Calibrator]:
        """The calibrators of a table, as they were."""
        if (table.calibrator, dict(table.options)) != (self.name, self.options):
            raise CalibrationError(
                f"the calibration table is by {table.calibrator!r} with options {dict(table.options)}, expected {self.name!r} "
                f"with {self.options}; use the same ones"
            )
        found: dict[str, Calibrator] = {}
        for name, state in table.states.items():
            try:
                found[name] = self._kind.from_state(state)
            except Exception as err:
                raise CalibrationError(
                    f"the calibration table has a state of tensor {name!r} that {self.name!r} can't read: "
                    f"{type(err).__name__}: {err}; calibrate the model again"
                ) from err
        return found

    def table(
        self,
        found: Mapping[str, Calibrator],
        model: str,
        batches: int,
        *,
        prepare: str = "",
        masked: Collection[str] = (),
    ) -> CalibrationTable:
        """What they have found, but of tensors that had minus infinity."""
        found = {name: item for name, item in found.items() if name not in masked}
        ranges = {name: self.range(name, item) for name, item in found.items()}
        states = {name: self.guard(f"state of tensor {name!r}", item.state) for name, item in found.items()}
        observed = {name: kept for name, item in found.items() if (kept := self._observed(name, item)) is not None}
        shares = {name: self._clipped(name, item, ranges[name]) for name, item in found.items()}
        clipped = {name: share for name, share in shares.items() if share is not None}
        return CalibrationTable(
            self.name, self.options, model, batches, ranges, states, prepare, observed, clipped, tuple(sorted(masked))
        )

    def _observed(self, name: str, item: Calibrator) -> Range | None:
        """From the smallest to the largest number that it has seen, where it says that."""
        ask = getattr(item, "observed", None)
        found = self.guard(f"observed of tensor {name!r}", ask) if callable(ask) else None
        return found if isinstance(found, Range) else None

    def _clipped(self, name: str, item: Calibrator, of: Range) -> float | None:
        """Share of the numbers outside of a range, where it says that."""
        ask = getattr(item, "clipped", None)
        found = self.guard(f"clipped of tensor {name!r}", functools.partial(ask, of)) if callable(ask) else None
        return float(found) if isinstance(found, float | int) else None

    def range(self, name: str, item: Calibrator) -> Range:
        """The range that a calibrator has found."""
        found = self.guard(f"range of tensor {name!r}", item.range)
        if not isinstance(found, Range):
            raise PluginError(
                f"calibrator {self.name!r} of plugin {self.owner!r} gave {found!r:.80} for tensor {name!r}, expected a Range"
            )
        return found


def _bits(dtype: str) -> int:
    """How many bits an element type has, by its name."""
    digits = dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits.isdecimal() else 8
