"""What the original model does: inputs on which it runs, its outputs, and how much they move by themselves.

Made once; any number of optimized models is compared with it, as a search for a wrong rewrite does. The original is loaded only while it
is asked something, so it and an optimized model are never in memory at the same time.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from graphopt.errors import ExecutionError, GraphoptError
from graphopt.frontends.onnx import lift
from graphopt.numerics import Exact, Numerics, Reassociates
from graphopt.runtime.base import Datum, Feeds, Outputs, Runner
from graphopt.runtime.isolation import ChildEndedError
from graphopt.runtime.onnxruntime_runner import ModelSource
from graphopt.transforms.input_shapes import set_input_shapes
from graphopt.verify.comparator import Difference, compare, compare_types
from graphopt.verify.feeds import Sample, find_samples, is_informative
from graphopt.verify.hints import ModelHints, model_hints
from graphopt.verify.interface import Interface, interface_changes
from graphopt.verify.noise import Moves, measure_noise, moves_between
from graphopt.verify.opening import CheckOptions, Opener, OrtOpener, ReferenceOpener
from graphopt.verify.tolerance import Noise, kind_of
from graphopt.verify.user_inputs import check_inputs, check_limits, load_inputs
from graphopt.verify.verdict import FailureKind, SampleVerdict, Verdict

__all__ = ["Expectation", "expect"]

logger = logging.getLogger(__name__)

_SEVERAL: Final = 4


class _InputsError(ExecutionError):
    """Inputs that somebody brought do not fit: another runtime would not take them either."""


#: Inputs that somebody brings: an ``.npz`` file, values by name, or several of these.
Inputs = str | os.PathLike[str] | Feeds | Sequence[Feeds]


def expect(
    original: ModelSource,
    *,
    inputs: Inputs | None = None,
    hints: ModelHints | None = None,
    options: CheckOptions | None = None,
) -> Expectation:
    """What a model does on inputs that are found for it, or brought.

    Args:
        original: path, bytes or message.
        inputs: an ``.npz`` file, arrays by name or several sets of these, to use instead of made-up inputs.
        hints: what its graph says about its inputs; worked out from ``original`` when ``None``.
        options: how to go about it.

    Raises:
        ExecutionError: if ``inputs`` are not what the model takes. A model that doesn't run is no error: its verdicts are inconclusive.
    """
    chosen = options or CheckOptions()
    found = Expectation(original, chosen, hints or _hints_of(original, chosen))
    reasons: list[str] = []
    for opener in (OrtOpener(chosen), ReferenceOpener(chosen)):
        try:
            runner = opener.open(original)
        except ExecutionError as err:  # it has no kernel for a node: the other one may
            reasons.append(str(err))
            continue
        try:
            with runner:
                found.ask(runner, opener, inputs)
            return found
        except _InputsError as err:
            raise ExecutionError(str(err)) from err
        except (
            ExecutionError
        ) as err:  # inputs that ONNX Runtime refuses are wrong, and the other one would make something of them
            reasons.append(str(err))
            break
    found.reason = "; ".join(reasons)
    return found


def _hints_of(original: ModelSource, options: CheckOptions) -> ModelHints | None:
    try:
        model = lift(original, base_dir=options.folder)
        limits = set_input_shapes(options.sizes, model) if options.sizes else {}
        return replace(model_hints(model), limits=limits)
    except GraphoptError as err:
        logger.debug("no hints on inputs: %s", err)
        return None


@dataclass(slots=True)
class Expectation:
    """What the original does; made by :func:`expect`.

    Attributes:
        original: the model.
        options: how the check goes about it.
        hints: what the graph says about inputs, if anything.
        samples: inputs with the outputs of the original; empty when there are none, for a ``reason``.
        reason: why there are no samples.
        random: outputs that are random, compared by type only.
        interface: what callers see, ``None`` until the original was loaded.
    """

    original: ModelSource
    options: CheckOptions
    hints: ModelHints | None = None
    samples: list[Sample] = field(default_factory=list)
    reason: str = ""
    random: frozenset[str] = frozenset()
    interface: Interface | None = None
    _opener: Opener | None = None
    _repeat: Moves = field(default_factory=dict)
    _noise: list[dict[str, Noise]] | None = None

    # -- asking the original ------------------------------------------------------------------------------------------------

    def ask(self, runner: Runner, opener: Opener, inputs: Inputs | None) -> None:
        """Find samples with a runner of the original, or run what was brought.

        Raises:
            ExecutionError: if ``inputs`` do not fit, or the model runs on nothing.
        """
        self.interface, self._opener = self._asked(Interface.of(runner)), opener
        brought = [inputs] if isinstance(inputs, str | os.PathLike | Mapping) else inputs or ()
        self.samples = [self._run_brought(runner, item) for item in brought] or self._search(runner)
        self._run_again(runner)

    def _asked(self, interface: Interface) -> Interface:
        """What callers see of a model whose inputs have the sizes that are stated."""
        hints = self.hints
        if not self.options.sizes or hints is None:
            return interface
        types = {hint.name: hint.type for hint in hints.inputs}
        inputs = tuple(replace(spec, type=types.get(spec.name) or spec.type) for spec in interface.inputs)
        return replace(interface, inputs=inputs)

    def _search(self, runner: Runner) -> list[Sample]:
        options = self.options
        search = find_samples(runner, self.hints, count=options.samples, seed=options.seed, seconds=options.seconds)
        if search.samples:
            return search.samples
        last = f"; the last reason was: {search.refusals[-1]}" if search.refusals else ""
        raise ExecutionError(f"found no inputs on which the original runs ({search.tried} tried), bring some{last}")

    def _run_brought(self, runner: Runner, inputs: str | os.PathLike[str] | Feeds) -> Sample:
        interface = self.interface
        assert interface is not None, "the model is loaded"
        try:
            if isinstance(inputs, Mapping):
                feeds = check_inputs(inputs, interface.inputs, interface.overridable)
            else:
                feeds = load_inputs(inputs, interface.inputs, interface.overridable)
            check_limits(feeds, interface.inputs, {} if self.hints is None else self.hints.limits)
        except ExecutionError as err:
            raise _InputsError(str(err)) from err
        return Sample(feeds, runner.run(feeds), "user")

    def _run_again(self, runner: Runner) -> None:
        """Run the first sample again: what differs is random, or at least not bit-exact."""
        first = self.samples[0]
        again = runner.run(first.feeds)
        self._repeat = moves_between(first.outputs, again)
        if self.hints is None or self.hints.random:
            self.random = frozenset(
                name
                for name, value in first.outputs.items()
                if any(found.status == "failed" for found in compare(name, value, again[name], Exact()))
            )

    # -- comparing ----------------------------------------------------------------------------------------------------------

    def check(self, optimized: ModelSource, numerics: Numerics, opener: Opener | None = None) -> Verdict:
        """Whether an optimized model does what the original does.

        Args:
            optimized: path, bytes or message; what the opener takes.
            numerics: what the pipeline declares, and the other runtime with it.
            opener: loads the optimized model where it belongs; by default it runs where the original does.
        """
        started = time.monotonic()
        verdict = self._judge(optimized, numerics, opener)
        return replace(verdict, numerics=str(numerics), seconds=time.monotonic() - started)

    def _judge(self, optimized: ModelSource, numerics: Numerics, opener: Opener | None) -> Verdict:
        if not self.samples or self._opener is None:
            return Verdict("inconclusive", self.reason or "the original does not run")
        try:
            changes, results, runtime = self._run(optimized, opener)
        except ExecutionError as err:
            reason = f"the optimized model does not load: {err}"
            feeds = self.samples[0].feeds
            kind: FailureKind = "crash" if isinstance(err, ChildEndedError) else "invalid-model"
            return Verdict("failed", reason, runtime=(opener or self._opener).name, failing_feeds=feeds, failure=kind)
        rounding = isinstance(numerics, Reassociates)
        verdicts = self._compare(results, numerics, [self._repeat] * len(self.samples), beyond_doubt=rounding)
        if rounding and _may_be_noise(verdicts):
            verdicts = self._compare(results, numerics, self.noise())
        return replace(self._conclude(changes, verdicts), runtime=runtime)

    def _run(
        self, optimized: ModelSource, brought: Opener | None
    ) -> tuple[list[str], list[Outputs | ExecutionError], str]:
        """Interface changes, outputs (or what went wrong) for each sample, and the runtime."""
        assert self._opener is not None, "known when there are samples"
        assert self.interface is not None, "known when there are samples"
        opener = brought or self._opener
        try:
            runner = opener.open(optimized)
        except ExecutionError:
            if brought is not None or isinstance(opener, OrtOpener):
                raise
            opener = OrtOpener(self.options)  # for operators of ONNX Runtime's own
            runner = opener.open(optimized)
        with runner:
            changes = interface_changes(self.interface, Interface.of(runner))
            return changes, [_run_one(runner, sample.feeds) for sample in self.samples], opener.name

    def _compare(
        self,
        results: Sequence[Outputs | ExecutionError],
        numerics: Numerics,
        noise: Sequence[Moves],
        *,
        beyond_doubt: bool = False,
    ) -> tuple[SampleVerdict, ...]:
        found = []
        for sample, result, moves in zip(self.samples, results, noise, strict=True):
            if isinstance(result, ExecutionError):
                crashed = isinstance(result, ChildEndedError)
                found.append(SampleVerdict(sample.kind, sample.sizes, error=str(result), crashed=crashed))
                continue
            differences: list[Difference] = []
            for name, value in sample.outputs.items():
                if name not in result:
                    continue  # an interface change, which fails by itself
                if name in self.random:
                    differences += compare_types(name, value, result[name])
                else:
                    differences += compare(name, value, result[name], numerics, moves, beyond_doubt=beyond_doubt)
            found.append(SampleVerdict(sample.kind, sample.sizes, tuple(differences)))
        return tuple(found)

    def _conclude(self, changes: Sequence[str], verdicts: tuple[SampleVerdict, ...]) -> Verdict:
        reasons, feeds = list(changes), self.samples[0].feeds
        failure: FailureKind = "invalid-model" if changes else "wrong-numbers"
        for sample, verdict in zip(self.samples, verdicts, strict=True):
            if verdict.failed:
                wrong = verdict.error or str(next(item for item in verdict.outputs if item.status == "failed"))
                reasons.append(f"{wrong} (on {sample})")
                feeds = sample.feeds
                if verdict.error:
                    failure = "crash" if verdict.crashed else "invalid-model"
                break
        if reasons:
            return Verdict(
                "failed",
                "; ".join(reasons),
                samples=verdicts,
                interface=tuple(changes),
                failing_feeds=feeds,
                failure=failure,
            )
        doubt = self._doubt(verdicts)
        return Verdict("inconclusive" if doubt else "ok", doubt, samples=verdicts, notes=self._insensitive())

    def _doubt(self, verdicts: Sequence[SampleVerdict]) -> str:
        """Why a check that found nothing wrong does not prove anything; empty if it does."""
        steady = {output.name for verdict in verdicts for output in verdict.outputs if output.status != "unstable"}
        for verdict in verdicts:
            for output in verdict.outputs:
                if output.name not in steady:
                    return f"{output}: too unsteady to tell, on all inputs that were tried"
        for name in self.samples[0].outputs:
            values = [sample.outputs[name] for sample in self.samples]
            if not any(_is_empty(value) or is_informative({name: value}) for value in values):
                return f"output {name!r} of the original is NaN or infinite on all inputs that were tried; bring better ones"
        return ""

    def _insensitive(self) -> tuple[str, ...]:
        """Outputs that are one number throughout, as with weights that are all equal: many a wrong rewrite would not show there."""
        return tuple(
            f"output {name!r} of the original is the same number throughout, which shows little"
            for name in self.samples[0].outputs
            if self.samples[0].feeds and all(_is_uniform(sample.outputs[name]) for sample in self.samples)
        )

    def noise(self) -> list[dict[str, Noise]]:
        """For each sample, how much each tensor of the outputs moves when only rounding changes; measured when first asked."""
        if self._noise is None:
            assert self._opener is not None, "known when there are samples"
            narrowest = self.hints.narrowest if self.hints is not None else None
            self._noise = measure_noise(
                self.original, self._opener, self.samples, narrowest, repeat=self._repeat, seed=self.options.seed
            )
        return self._noise


def _may_be_noise(verdicts: Sequence[SampleVerdict]) -> bool:
    """Whether something failed, and all that failed are numbers, which may move by themselves."""
    wrong = [output for verdict in verdicts for output in verdict.outputs if output.status == "failed"]
    return bool(wrong) and not any(verdict.error for verdict in verdicts)


def _run_one(runner: Runner, feeds: Feeds) -> Outputs | ExecutionError:
    try:
        return runner.run(feeds)
    except ExecutionError as err:
        return err


def _is_uniform(value: Datum) -> bool:
    if not isinstance(value, np.ndarray) or value.size < _SEVERAL or kind_of(value.dtype) != "float":
        return False
    return bool(np.all(value == value.reshape(-1)[0]))


def _is_empty(value: Datum) -> bool:
    return isinstance(value, np.ndarray) and not value.size
