"""Whether an optimized model computes what the original computes: the check at the end of an optimization, in one call."""

from __future__ import annotations

import os

from graphopt.numerics import Exact, Numerics
from graphopt.runtime.base import Feeds
from graphopt.runtime.onnxruntime_runner import ModelSource
from graphopt.verify.expectation import expect
from graphopt.verify.hints import ModelHints
from graphopt.verify.opening import CheckOptions, Opener
from graphopt.verify.verdict import Verdict

__all__ = ["check_equivalence"]


def check_equivalence(
    original: ModelSource,
    optimized: ModelSource,
    *,
    numerics: Numerics | None = None,
    inputs: str | os.PathLike[str] | Feeds | None = None,
    hints: ModelHints | None = None,
    options: CheckOptions | None = None,
    opener: Opener | None = None,
) -> Verdict:
    """Whether an optimized model computes what the original computes with ONNX Runtime's optimizer off.

    Inputs, outputs, names and types must be the same, and so must the numbers on several sets of inputs, as far as ``numerics`` says.
    To compare several models with one original, keep what :func:`~graphopt.verify.expect` returns.

    Args:
        original: path, bytes or message.
        optimized: path, bytes or message.
        numerics: what may differ; nothing but the choice of kernels when ``None``.
        inputs: an ``.npz`` file or arrays by name, to use instead of made-up inputs.
        hints: what the graph of the original says about its inputs; worked out when ``None``.
        options: seed, number of samples, threads, isolation.
        opener: loads the optimized model, where that belongs to another runtime.

    Raises:
        ExecutionError: if ``inputs`` are not what the model takes.

    Example:
        >>> from onnx.parser import parse_model
        >>> head = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) '
        >>> original = parse_model(head + "{ t = Identity(x) y = Neg(t) }")
        >>> check_equivalence(original, parse_model(head + "{ y = Neg(x) }")).summary
        'ok: same bits on 4 sets of inputs'
        >>> check_equivalence(original, parse_model(head + "{ y = Abs(x) }")).status
        'failed'
    """
    found = expect(original, inputs=inputs, hints=hints, options=options)
    return found.check(optimized, numerics or Exact(), opener)
