"""Calibration: the ranges of a model's tensors, from data that streams through it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar, cast

from graphopt.compiler.activations import Activations
from graphopt.compiler.arguments import expect_type
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError, GraphoptError, PluginError
from graphopt.passes import CalibrationTable, Calibrator, Range, suggestion
from graphopt.plugin_manager import PluginManager
from graphopt.runtime.base import Feeds

__all__ = ["calibrate", "merge_calibrations"]

_T = TypeVar("_T")
_METHODS = ("observe", "merge", "range", "state", "from_state")


def calibrate(
    source: object,
    feeds: Iterable[Feeds],
    *,
    calibrator: str = "min-max",
    options: Mapping[str, object] | None = None,
    resume: CalibrationTable | None = None,
    progress: Callable[[str], None] | None = None,
    plugins: PluginManager | None = None,
) -> CalibrationTable:
    """The range of each float tensor of a model, inputs included, by running it on data. No batch is kept.

    Args:
        source: path, bytes, ``ModelProto``, IR, or what a plugin's frontend accepts.
        feeds: batches, each an array for each input, by name; read once, one after another. Dynamic sizes may differ between them.
        calibrator: name of what finds a range, as ``graphopt list calibrators`` shows it.
        options: of the calibrator.
        resume: a table of this model by this calibrator to go on from.
        progress: told what is going on, in a few words.
        plugins: where calibrators and frontends come from; built-in and installed ones by default.

    Returns:
        The table; tensors that were empty in each batch are not in it.

    Raises:
        CalibrationError: if there is no batch, a batch does not fit the model, a tensor has NaN or infinities, an option is wrong, or
            ``resume`` is of another model or calibrator.
        PipelineError: if there is no such calibrator.
        ExecutionError: if the model can't be run.
        PluginError: if the calibrator fails.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> table = calibrate(digits_model(), ({"image": images[at : at + 90]} for at in range(0, 360, 90)))
        >>> table.batches, table["image"]
        (4, Range(low=0.0, high=16.0))
    """
    expect_type("calibrator", calibrator, str, "the name of a calibrator, such as 'min-max'")
    expect_type("feeds", feeds, Iterable, "batches: an iterable of mappings from input name to array")
    environment = Environment(plugins)
    maker = _Maker(environment.plugins, calibrator, options if resume is None or options else resume.options)
    model = environment.lift(source)
    found: dict[str, Calibrator] = {}
    before = 0
    if resume is not None:
        resume.check_model(model)
        found, before = maker.restored(resume), resume.batches
    number = -1
    with Activations(environment, model) as activations:
        for number, batch in enumerate(feeds):
            if progress is not None:
                progress(f"batch {number + 1}")
            for name, array in activations.run(batch, number):
                if name not in found:
                    found[name] = maker.new()
                maker.guard(f"observe of tensor {name!r}", functools.partial(found[name].observe, array))
    if number < 0:
        raise CalibrationError("there is no batch to calibrate with; bring at least one")
    return maker.table(found, CalibrationTable.fingerprint(model), before + number + 1)


def merge_calibrations(
    first: CalibrationTable, *others: CalibrationTable, plugins: PluginManager | None = None
) -> CalibrationTable:
    """One table from several of the same model, as if one run had seen all of their batches.

    Raises:
        CalibrationError: if models, calibrators or options differ.

    Example:
        >>> from graphopt.data import digits_model, digits_test
        >>> images, _ = digits_test()
        >>> one, two = (calibrate(digits_model(), [{"image": part}]) for part in (images[:9], images[9:]))
        >>> merge_calibrations(one, two).ranges == calibrate(digits_model(), [{"image": images}]).ranges
        True
    """
    maker = _Maker(Environment(plugins).plugins, first.calibrator, first.options)
    found = maker.restored(first)
    for other in others:
        if other.model != first.model:
            raise CalibrationError(
                f"calibration tables of two models, {first.model:.12} and {other.model:.12}, can't be merged; calibrate one model"
            )
        for name, item in maker.restored(other).items():
            if name in found:
                maker.guard(f"merge of tensor {name!r}", functools.partial(found[name].merge, item))
            else:
                found[name] = item
    return maker.table(found, first.model, sum(table.batches for table in (first, *others)))


class _Maker:
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
        return self._kind(**self.options)

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
        ranges = {name: self._range(name, item) for name, item in found.items()}
        states = {name: self.guard(f"state of tensor {name!r}", item.state) for name, item in found.items()}
        return CalibrationTable(self.name, self.options, model, batches, ranges, states)

    def _range(self, name: str, item: Calibrator) -> Range:
        found = self.guard(f"range of tensor {name!r}", item.range)
        if not isinstance(found, Range):
            raise PluginError(
                f"calibrator {self.name!r} of plugin {self.owner!r} gave {found!r:.80} for tensor {name!r}, expected a Range"
            )
        return found
