"""Data for passes that need some: batches that can be read again, and a table of ranges that was found before."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

from graphopt.compiler.calibration.activations import MEMORY, Activations
from graphopt.compiler.calibration.calibrator_maker import CalibratorMaker
from graphopt.compiler.calibration.numbers import tell_masked
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError
from graphopt.ir import Array, Model
from graphopt.passes import CalibrationTable, Calibrator, Observer, Range
from graphopt.runtime.base import Feeds
from graphopt.target import QuantizationScheme

__all__ = ["Batches"]


class Batches:
    """What :class:`graphopt.passes.CalibrationSource` promises.

    Args:
        environment: plugins.
        feeds: gives the batches, from the first one on, each time that it is called; ``None`` when there are none.
        table: ranges that are known.
        calibrator: name of what finds the others.
        options: of the calibrator.
        progress: told what is going on, in a few words.
        scheme: how numbers will be stored: tells bits and symmetry to a calibrator that has such options.
        memory: bytes that the tensors of a batch may take together.
    """

    def __init__(
        self,
        environment: Environment,
        feeds: Callable[[], Iterable[Feeds]] | None,
        *,
        table: CalibrationTable | None = None,
        calibrator: str = "min-max",
        options: Mapping[str, object] | None = None,
        progress: Callable[[str], None] | None = None,
        scheme: QuantizationScheme | None = None,
        memory: int = MEMORY,
    ) -> None:
        self._environment = environment
        self._feeds = feeds
        self._maker = CalibratorMaker(environment.plugins, calibrator, options, scheme)
        self._memory = memory
        self._masked: set[str] = set()
        self._known = dict(table.ranges) if table is not None else {}
        self._tell = progress or (lambda text: None)

    def observe(self, model: Model, observers: Mapping[str, Observer]) -> int:
        """Run a model on each batch and show tensors to observers."""
        if self._feeds is None:
            raise CalibrationError(
                "there is no data to look at; bring calibration data, or leave out the passes that need it"
            )
        number = -1
        reducible = [name for name, item in observers.items() if getattr(item, "extremes_suffice", False) is True]
        with Activations(
            self._environment, model, only=observers.keys(), extremes=reducible, memory=self._memory
        ) as activations:
            for number, batch in enumerate(self._feeds()):
                self._tell(f"batch {number + 1}")
                for name, array in activations.run(batch, number):
                    observers[name].observe(array)
        self._masked |= activations.masked
        if number < 0:
            raise CalibrationError("there is no batch to calibrate with; bring at least one")
        return number + 1

    def ranges(self, model: Model, names: Sequence[str]) -> Mapping[str, Range]:
        """The ranges of tensors, from the table where it has them, from data else."""
        lacking = [name for name in names if name not in self._known]
        if lacking:
            if self._feeds is None:
                raise CalibrationError(f"the calibration table has no tensor {lacking[0]!r}; calibrate the model again")
            found: dict[str, Calibrator] = {}
            there = {value.name for value in model.graph.values()}
            observers = {name: _Lazy(self._maker, name, found) for name in lacking if name in there}
            if observers:
                self.observe(model, observers)
            tell_masked(self._masked & found.keys())
            self._known |= {
                name: self._maker.range(name, item) for name, item in found.items() if name not in self._masked
            }
        return {name: self._known[name] for name in names if name in self._known}

    def forget(self, name: str) -> None:
        """What is known of a tensor holds no longer."""
        self._known.pop(name, None)

    def with_arrays(self, more: Callable[[int], Mapping[str, Array]]) -> Batches:
        """The same batches, each with further arrays."""
        found, feeds = copy.copy(self), self._feeds
        if feeds is not None:
            found._feeds = lambda: (_with(batch, more, number) for number, batch in enumerate(feeds()))
        return found


def _with(batch: Feeds, more: Callable[[int], Mapping[str, Array]], number: int) -> Feeds:
    given: object = batch  # people bring anything: what is no batch is told of where it is used
    return {**batch, **more(number)} if isinstance(given, Mapping) else batch


class _Lazy:
    """Makes a calibrator when a tensor is seen for the first time: one that is always empty has no range."""

    def __init__(self, maker: CalibratorMaker, name: str, found: dict[str, Calibrator]) -> None:
        self._maker, self._name, self._found = maker, name, found
        self.extremes_suffice = maker.extremes_suffice

    def observe(self, array: Array) -> None:
        """Take a batch into account."""
        if self._name not in self._found:
            self._found[self._name] = self._maker.new()
        self._maker.observe(self._found[self._name], self._name, array)
