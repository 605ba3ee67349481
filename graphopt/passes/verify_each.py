"""Holds each pass to what it declares: a sound graph, no change that it does not own up to, and numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphopt.errors import ModelError, PassError, VerificationError
from graphopt.ir import Model
from graphopt.ir.structural import structural_hash
from graphopt.ir.verifier import verify
from graphopt.numerics import Exact, Numerics, weakest
from graphopt.passes.base import Pass, PassContext, PassResult
from graphopt.passes.instrumentation import Instrumentation
from graphopt.passes.record import PassRecord

if TYPE_CHECKING:
    from graphopt.passes.pipeline import Pipeline

__all__ = ["VerifyEach"]


class VerifyEach(Instrumentation):
    """Checks the model after each pass.

    Structure is checked by the verifier. A pass that says that it changed nothing is held to it by a fingerprint of the model. Numbers
    are checked by ``numeric`` after each pass that changed something, with the weakest declaration so far.

    Args:
        numeric: compares the model with the original; raises :class:`VerificationError` when it differs by more than is declared.
        fingerprint: equal for models that compute the same in the same way.
    """

    def __init__(
        self,
        numeric: Callable[[Model, Numerics], None] | None = None,
        fingerprint: Callable[[Model], object] = structural_hash,
    ) -> None:
        self.numeric = numeric
        self.fingerprint = fingerprint
        self._declared: Numerics = Exact()
        self._known: object = None

    def before_pipeline(self, pipeline: Pipeline, model: Model, ctx: PassContext) -> None:
        """Check what the passes are given.

        Raises:
            ModelError: if the model is broken already.
        """
        verify(model)
        self._declared = Exact()
        self._known = None

    def before_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Take the fingerprint, unless it is known from the pass before."""
        if self._known is None:
            self._known = self.fingerprint(model)

    def after_pass(self, item: Pass, model: Model, result: PassResult, record: PassRecord) -> None:
        """Check what a pass left.

        Raises:
            PassError: if the model is broken, changed in silence, or computes something else.
        """
        try:
            verify(model)
        except ModelError as err:
            raise PassError(f"left a broken model: {err}; report it, or leave the pass out") from err
        if not result.changed:
            if self.fingerprint(model) != self._known:
                raise PassError("says changed=False, but the model is another one; report it, or leave the pass out")
            return
        self._known = None
        self._declared = weakest((self._declared, record.numerics))
        if self.numeric is None:
            return
        try:
            self.numeric(model, self._declared)
        except VerificationError as err:
            raise PassError(f"changes the numbers, declared {record.numerics}: {err}") from err
