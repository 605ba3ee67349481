"""Makes calibrators of one kind, and guards the border to a stranger's code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast

from graphopt.errors import CalibrationError, GraphoptError, PluginError
from graphopt.ir import Array
from graphopt.passes import CalibrationTable, Calibrator, Range, suggestion
from graphopt.plugin_manager import PluginManager

__all__ = ["CalibratorMaker"]

_T = TypeVar("_T")
_METHODS: Final = ("observe", "merge", "range", "state", "from_state")


class CalibratorMaker:
    """Makes calibrators of one kind, and guards the border to a stranger's code."""

    def __init__(self, plugins: PluginManager, name: str, options: Mapping[str, object] | None) -> None:
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
        self._check_options()

    def _check_options(self) -> None:
        """Refuse unknown options, then values that the class refuses, before any work."""
        known = [] if self._kind.__init__ is object.__init__ else list(inspect.signature(self._kind).parameters)
        for option in self.options:
            if option not in known:
                hint = suggestion(option, known) or ";"
                raise CalibrationError(
                    f"calibrator {self.name!r} has no option {option!r}{hint} options: {', '.join(known) or 'none'}"
                )
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

    def table(self, found: Mapping[str, Calibrator], model: str, batches: int) -> CalibrationTable:
        """What they have found."""
        ranges = {name: self.range(name, item) for name, item in found.items()}
        states = {name: self.guard(f"state of tensor {name!r}", item.state) for name, item in found.items()}
        return CalibrationTable(self.name, self.options, model, batches, ranges, states)

    def range(self, name: str, item: Calibrator) -> Range:
        """The range that a calibrator has found."""
        found = self.guard(f"range of tensor {name!r}", item.range)
        if not isinstance(found, Range):
            raise PluginError(
                f"calibrator {self.name!r} of plugin {self.owner!r} gave {found!r:.80} for tensor {name!r}, expected a Range"
            )
        return found
