"""The float tensors of a model while it runs: one run for each batch where memory allows, several where it does not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np

from graphopt.backends.onnx.files import save
from graphopt.backends.onnx.inference import OnnxTypes
from graphopt.compiler.calibration.numbers import FLOATS, floats_of, is_masked
from graphopt.compiler.calibration.outputs import REDUCIBLE, Extremes, Gated, Way, Whole
from graphopt.compiler.calibration.sizes import shapes_of, tensor_bytes
from graphopt.compiler.calibration.views import run_for_views
from graphopt.compiler.environment import Environment
from graphopt.errors import CalibrationError, ExecutionError
from graphopt.ir import Array, Model, TensorType, Value, clone_model
from graphopt.passes import SessionSettings
from graphopt.runtime.base import Datum, Feeds
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.verify import check_inputs

__all__ = ["MEMORY", "Activations"]

#: Bytes that activations of a batch may take together, unless somebody says otherwise.
MEMORY: Final = 256 << 20
#: Tensors of up to so many bytes are cheaper to give out than to reduce.
_SMALL: Final = 64 << 10
#: How much larger a tensor of unknown size may be than the largest that is known.
_UNKNOWN: Final = 8


class Activations:
    """Runs a model and gives the float tensors of its main graph. Use it in a ``with`` statement: it has a temporary file.

    Where the tensors of a batch take more than ``memory``, the runtime reduces them to their extremes, if those are enough, or gives them
    out in several runs. Memory is then that of the model, plus ``memory``, or the largest tensor.

    Args:
        environment: legalizes the model for ONNX Runtime, so that operators of plugins run too.
        model: it is not changed.
        only: names of the tensors that are wanted, all if ``None``.
        extremes: names of the tensors of which the smallest and the largest number are enough: an array of both is given.
        memory: bytes that tensors may take together.

    Attributes:
        masked: names of inner tensors that had minus infinity: from that batch on they are not given. What was found of them is of no use.

    Raises:
        CalibrationError: if the model has no such tensor.
        ExecutionError: if it can't be loaded.
    """

    def __init__(
        self,
        environment: Environment,
        model: Model,
        only: Collection[str] | None = None,
        *,
        extremes: Collection[str] = (),
        memory: int = MEMORY,
    ) -> None:
        copy = environment.legalized(model, "onnxruntime")
        OnnxTypes().infer_model(copy)
        known = {value.name for value in model.graph.values()}
        if only is not None:
            known &= set(only)
        self._inputs = [value.name for value in copy.graph.inputs if _is_float(value) and value.name in known]
        self._outputs = [
            value.name
            for node in copy.graph.nodes
            for value in node.outputs
            if value.name in known and _may_be_float(value)
        ]
        if not (self._inputs or self._outputs):
            raise CalibrationError(
                "the model has no float tensor, so there is nothing to calibrate; it may be quantized already"
            )
        self._model = copy
        self._memory = memory
        self.masked: set[str] = set()
        self._enough = frozenset(extremes)
        self._reducible = _reducible(copy, extremes)
        self._small = False
        self._fitting: object = None
        self._ways: list[Way] = []
        self._runner: OrtRunner | None = None
        self._switches: dict[str, Array] = {}
        self._whole: dict[str, OrtRunner] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-calibrate-", ignore_cleanup_errors=True)
        try:
            self._open([Whole(self._outputs)] if self._fits({}) is not False else self._saving())
        except BaseException:
            self._folder.cleanup()
            raise

    def run(self, batch: object, number: int) -> Iterator[tuple[str, Array]]:
        """Each float tensor that has elements, by name, as float32 or float64; one at a time, not to be kept.

        Args:
            batch: an array for each input, by name.
            number: of the batch, for messages.

        Raises:
            CalibrationError: if the batch is not what the model takes, or a tensor has numbers that are not finite.
            ExecutionError: if the model can't be run on it.
        """
        if not isinstance(batch, Mapping):
            raise CalibrationError(
                f"batch {number} is a {type(batch).__name__}, expected arrays by name of the input, such as {{'x': array}}; "
                "put a single batch into a list"
            )
        feeds = self._checked(batch, number)
        for name in self._inputs:
            if name in feeds:
                yield from self._shown(name, feeds[name], number, "input")
        if not self._outputs:
            return
        shapes = shapes_of(feeds)
        if not self._small and shapes != self._fitting and not self._fits(feeds):
            self._open(self._saving())
        self._fitting = shapes
        for way in self._ways:
            for name, found in way.read(self._run, feeds):
                yield from self._shown(name, found, number, "tensor")

    def _shown(self, name: str, found: object, number: int, what: str) -> Iterator[tuple[str, Array]]:
        """A tensor as it is to be shown, if it has numbers: whole, or its extremes."""
        array = None if name in self.masked else floats_of(found)
        if array is None:
            return
        if name in self._enough:
            shown: Array = np.array([array.min(), array.max()])  # NaN and infinities show in them
            finite = bool(np.isfinite(shown).all())
        else:
            shown = array
            with np.errstate(all="ignore"):  # not finite if one number is not: faster than to look at each
                finite = bool(np.isfinite(np.add.reduce(array, axis=None)))
        if not finite and is_masked(name, array, number, what):
            self.masked.add(name)
        else:
            yield name, shown

    def _checked(self, batch: Feeds, number: int) -> Feeds:
        runner = self._opened
        inputs = [spec for spec in runner.inputs if spec.name not in self._switches]
        try:
            return check_inputs(batch, inputs, runner.overridable, where=f"batch {number}")
        except ExecutionError as err:
            raise CalibrationError(str(err)) from err

    # -- ways to give out tensors ---------------------------------------------------------------------------------------------

    def _fits(self, feeds: Feeds) -> bool | None:
        """Whether all tensors fit into memory together; ``None`` if nobody knows, which counts as no once there are inputs."""
        sizes = list(tensor_bytes(self._model, self._outputs, feeds).values())
        known = [size for size in sizes if size is not None]
        if sum(known) > self._memory:
            return False
        if len(known) == len(sizes):
            return True
        given = sum(value.nbytes for value in feeds.values() if isinstance(value, np.ndarray))
        guess = _UNKNOWN * max([given, *known])  # of each that the types say nothing about
        return True if feeds and sum(known) + (len(sizes) - len(known)) * guess <= self._memory else None

    def _saving(self) -> list[Way]:
        """The ways that take less memory."""
        self._small = True
        reduced = [name for name in self._outputs if name in self._reducible]
        others = [name for name in self._outputs if name not in self._reducible]
        sizes = tensor_bytes(self._model, reduced, {})
        small = frozenset(name for name, size in sizes.items() if size is not None and size <= _SMALL)
        ways: list[Way] = []
        if reduced:
            ways.append(Extremes(reduced, small, self._again))
        if others:
            ways.append(Gated(others, self._memory // 2))  # a tensor and what passes the gate
        return ways

    def _open(self, ways: Sequence[Way]) -> None:
        if self._runner is not None:
            self._runner.close()
        model = clone_model(self._model)
        for way in ways:
            way.edit(model)
        self._ways = list(ways)
        self._runner = self._loaded(model, arena=not self._small)
        own = {value.name for value in self._model.graph.inputs}
        self._switches = {spec.name: np.array(False) for spec in self._runner.inputs if spec.name not in own}

    def _again(self, feeds: Feeds, name: str) -> Datum:
        """A whole tensor of which the extremes say too little."""
        if name in self.masked:
            return None
        if name not in self._whole:
            model = clone_model(self._model)
            Whole([name]).edit(model)
            self._whole[name] = self._loaded(model, arena=False)
        return run_for_views(self._whole[name], feeds, [name])[name]

    def _loaded(self, model: Model, *, arena: bool) -> OrtRunner:
        path = os.path.join(tempfile.mkdtemp(dir=self._folder.name), "model.onnx")
        save(model, path)
        settings = SessionSettings(
            arena=arena, memory_pattern=False, spinning=False
        )  # patterns stay for each size of inputs
        try:
            return OrtRunner(path, low_memory=False, settings=settings, in_order=self._small)
        except ExecutionError as err:  # nobody knows the temporary file
            raise ExecutionError(str(err).replace(path, model.source or "the model")) from err

    def _run(self, feeds: Feeds, names: Sequence[str]) -> dict[str, Datum]:
        return run_for_views(self._opened, {**self._switches, **feeds}, names)

    @property
    def _opened(self) -> OrtRunner:
        assert self._runner is not None, "opened when made"
        return self._runner

    # -- the end --------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Release the model and its file."""
        for runner in (self._runner, *self._whole.values()):
            if runner is not None:
                runner.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reducible(model: Model, names: Collection[str]) -> set[str]:
    """Those of the tensors that the runtime can reduce without changing a bit."""
    wanted = set(names)
    values = (value for node in model.graph.nodes for value in node.outputs if value.name in wanted)
    return {value.name for value in values if value.dtype in REDUCIBLE}


def _is_float(value: Value) -> bool:
    return isinstance(value.type, TensorType) and value.type.dtype in FLOATS


def _may_be_float(value: Value) -> bool:
    """Whether a value may be worth a look: not a constant, and a float or of a type that only the runtime knows."""
    if value.is_constant or (value.producer is not None and value.producer.op == "Constant"):
        return False
    return (value.type is None or _is_float(value)) and (value.is_used or value.is_graph_output)
