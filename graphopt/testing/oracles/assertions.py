"""The oracles: one function for each law, for use in tests. Each gives back what it :class:`Checked` or raises :class:`LawBroken`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from graphopt.compiler import Environment
from graphopt.numerics import Numerics
from graphopt.runtime.base import Feeds
from graphopt.testing.oracles import laws
from graphopt.testing.oracles.case import Case
from graphopt.testing.oracles.commuting import Transformation, commutes
from graphopt.testing.oracles.law import Checked
from graphopt.testing.oracles.source import ModelLike, generated_of
from graphopt.testing.oracles.subject import Testable, default_environment, subject_of

__all__ = [
    "assert_commutes_with",
    "assert_deterministic",
    "assert_equivalent",
    "assert_frugal",
    "assert_honest",
    "assert_idempotent",
    "assert_no_rewrite",
    "assert_rewrites",
    "assert_unchanged_input",
]


def _case(
    testable: Testable,
    model: ModelLike,
    *,
    numerics: Numerics | None = None,
    feeds: Feeds | Sequence[Feeds] | None = None,
    may_change: Iterable[str] = (),
    target: str = "onnx",
    environment: Environment | None = None,
) -> Case:
    known = environment or default_environment()
    several = None if feeds is None else (feeds,) if isinstance(feeds, Mapping) else tuple(feeds)
    subject = subject_of(testable, known, numerics)
    return Case(subject, generated_of(model), known, target=target, feeds=several, may_change=may_change)


def assert_equivalent(
    testable: Testable,
    model: ModelLike,
    *,
    feeds: Feeds | Sequence[Feeds] | None = None,
    numerics: Numerics | None = None,
    may_change: Iterable[str] = (),
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass keeps what a model computes and what its callers see.

    The IR verifier holds before and after; inputs and outputs keep names, order, types, dims and doc strings; IR version and opsets stay;
    onnx.checker takes the result if it took the original; and outputs agree with those of ONNX Runtime, its optimizer off, by as much
    as the pass declares: every bit for ``Exact`` (NaN payloads apart, signs of zeros count), the tolerance for ``Reassociates`` on inputs
    and outputs without NaN and infinity, element types and ranks for ``Lossy``. Outputs that are random, or that ONNX Runtime never wrote,
    are left out.

    Args:
        testable: a pass or its class, a pipeline or its text, rules, or a function from ``ModelProto`` to ``ModelProto``.
        model: drawn, as message, as IR, being built, a path, or ONNX text.
        feeds: inputs, one or several sets; those the model was drawn with by default, else some that graphopt finds.
        numerics: what is declared, instead of what ``testable`` declares; a function declares nothing and is held to ``Exact()``.
        may_change: ``"opset"`` and ``"ir_version"`` where the pass is meant to; a pass can have an attribute of this name too.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"equivalent"``, ``"interface"``, ``"valid"`` or ``"runs"``.
        ExecutionError: if the original does not run.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_equivalent("canonicalize", model).rewrites
        {'shorten-unary-chain': 1}
    """
    return laws.equivalent(
        _case(
            testable,
            model,
            numerics=numerics,
            feeds=feeds,
            may_change=may_change,
            target=target,
            environment=environment,
        )
    )


def assert_frugal(
    testable: Testable,
    model: ModelLike,
    *,
    feeds: Feeds | Sequence[Feeds] | None = None,
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass leaves no more arithmetic than there was; for passes that are meant to make a model cheaper.

    Floating-point operations are counted at the sizes of the first inputs. When those of the model can't be told, ``skipped`` says so.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        feeds: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"frugal"`` or ``"runs"``.

    Example:
        >>> import numpy as np
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_frugal("canonicalize", model, feeds={"x": np.ones(3, np.float32)}).compared
        1
    """
    return laws.frugal(_case(testable, model, feeds=feeds, target=target, environment=environment))


def assert_honest(
    testable: Testable, model: ModelLike, *, target: str = "onnx", environment: Environment | None = None
) -> Checked:
    """Each pass says ``changed=True`` if and only if it changed something, by structural hash and fingerprint.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"honest"`` or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
        >>> assert_honest("canonicalize", model).changed
        False
    """
    return laws.honest(_case(testable, model, target=target, environment=environment))


def assert_idempotent(
    testable: Testable, model: ModelLike, *, target: str = "onnx", environment: Environment | None = None
) -> Checked:
    """A second run on the result changes nothing and says so.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"idempotent"`` or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_idempotent("canonicalize", model).law
        'idempotent'
    """
    return laws.idempotent(_case(testable, model, target=target, environment=environment))


def assert_deterministic(
    testable: Testable, model: ModelLike, *, target: str = "onnx", environment: Environment | None = None
) -> Checked:
    """Two runs, each on the model read anew, give the same bytes.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"deterministic"`` or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_deterministic("canonicalize", model).changed
        True
    """
    return laws.deterministic(_case(testable, model, target=target, environment=environment))


def assert_unchanged_input(
    testable: Testable, model: ModelLike, *, target: str = "onnx", environment: Environment | None = None
) -> Checked:
    """The message that a model was read from, IR that it was copied from, and all weights are byte for byte the same afterwards.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"unchanged-input"`` or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_unchanged_input("canonicalize", model).law
        'unchanged-input'
    """
    return laws.unchanged_input(_case(testable, model, target=target, environment=environment))


def assert_rewrites(
    testable: Testable,
    model: ModelLike,
    counts: Mapping[str, int],
    *,
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass makes exactly these rewrites and no others.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        counts: number by rule, or by whatever a pass without rules counts; what is not named must not occur.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"rewrites"``, with the reasons of rules that did not apply, or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_rewrites("canonicalize", model, {"shorten-unary-chain": 1}).changed
        True
    """
    case = _case(testable, model, target=target, environment=environment)
    run = case.run
    wanted = {name: count for name, count in counts.items() if count}
    if run.rewrites != wanted:
        short = {name: count for name, count in wanted.items() if run.rewrites.get(name, 0) < count}
        why = f"; why not: {case.why_not(short)}" if short else ""
        raise case.broken(
            "rewrites",
            f"rewrites are {run.rewrites or 'none'}, expected {wanted or 'none'}{why}",
            advice="compare the pattern and the guards of the rule with the model below",
            after=run.proto,
        )
    return Checked("rewrites", run.changed, run.rewrites)


def assert_no_rewrite(
    testable: Testable,
    model: ModelLike,
    *,
    because: str = "",
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass leaves a model alone, as a guard wants it.

    Args:
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        because: regular expression that must be found in one of the reasons that rules gave, so that it is the right guard that refused.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"no-rewrite"`` or ``"runs"``.

    Example:
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Abs(a) }'
        >>> assert_no_rewrite("fold-constants", model).changed
        False
    """
    case = _case(testable, model, target=target, environment=environment)
    run = case.run
    if run.rewrites or run.changed:
        raise case.broken(
            "no-rewrite",
            f"rewrites are {run.rewrites or 'not counted'}, expected none",
            advice="add the guard that is missing, and return NoMatch with the reason",
            after=run.proto,
            application=next(iter(run.applications), None),
        )
    reasons = [reason for _rule, _place, reason in case.reasons]
    if because and not any(re.search(because, reason) for reason in reasons):
        raise case.broken(
            "no-rewrite",
            f"no reason matches {because!r}; reasons: {case.why_not()}",
            advice="another guard refused first, or the pattern does not reach this model at all",
        )
    return Checked("no-rewrite", run.changed)


def assert_commutes_with(
    transformation: Transformation,
    testable: Testable,
    model: ModelLike,
    *,
    feeds: Feeds | Sequence[Feeds] | None = None,
    numerics: Numerics | None = None,
    target: str = "onnx",
    environment: Environment | None = None,
) -> Checked:
    """A pass does the same to a model in another form that means the same.

    Let T be the transformation and P the pass. ``P(T(model))`` is compared with ``T(P(model))``:

    * ``T.keeps_rewrites`` (``RENAMING``, ``NODE_ORDER``): P counts the same rewrites in both forms, by rule;
    * ``T.keeps_structure`` (``RENAMING``): both results are structurally equal up to names of inner values;
    * else: ``P(T(model))`` keeps the interface of ``T(model)``, and the numbers of ``model`` on ``feeds`` by as much as P declares;
    * neither of the two (``INLINING``, ``OPSET_UPGRADE``): so does ``T(P(model))``.

    When T has no other form for the model, or is itself found to change its numbers, ``skipped`` says so.

    Args:
        transformation: ``RENAMING``, ``NODE_ORDER``, ``INLINING``, ``OPSET_UPGRADE``, or anything with the same methods.
        testable: see :func:`assert_equivalent`.
        model: see :func:`assert_equivalent`.
        feeds: see :func:`assert_equivalent`.
        numerics: see :func:`assert_equivalent`.
        target: name of the backend that the passes work for.
        environment: plugins, the installed ones by default.

    Raises:
        LawBroken: ``"commutes-with-NAME"`` or ``"runs"``.

    Example:
        >>> from graphopt.testing import INLINING, RENAMING
        >>> model = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { a = Neg(x) y = Neg(a) }'
        >>> assert_commutes_with(RENAMING, "canonicalize", model).rewrites
        {'shorten-unary-chain': 1}
        >>> assert_commutes_with(INLINING, "canonicalize", model).skipped
        'it has no functions'
    """
    case = _case(testable, model, numerics=numerics, feeds=feeds, target=target, environment=environment)
    return commutes(case, transformation)
