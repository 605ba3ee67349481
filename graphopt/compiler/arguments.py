"""Arguments of ``optimize``, ``bisect`` and ``reduce`` that cannot be meant, found before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from graphopt.compiler.request import MOST_SAMPLES
from graphopt.errors import PipelineError
from graphopt.passes import Instrumentation, Pipeline, suggestion
from graphopt.plugin_manager import PluginManager

__all__ = ["check_arguments", "check_disabled", "check_draws", "check_tolerance", "expect_type"]


def expect_type(name: str, value: object, kinds: type | tuple[type, ...], text: str) -> None:
    """See that an argument has a type.

    Raises:
        TypeError: if it has not.

    Example:
        >>> expect_type("level", 2, str, "the name of a level")
        Traceback (most recent call last):
        ...
        TypeError: level is 2 (int), expected the name of a level
    """
    wrong_bool = isinstance(value, bool) and kinds is int
    if wrong_bool or not isinstance(value, kinds):
        raise TypeError(f"{name} is {value!r:.80} ({type(value).__name__}), expected {text}")


def check_arguments(
    *,
    level: object,
    target: object,
    pipeline: object,
    options: object,
    seed: int,
    disabled: object,
    instrumentations: Sequence[object],
    bisect_limit: int | None,
    plugins: object,
) -> None:
    """See that arguments of ``optimize`` make sense; those that are the name of something are looked up later.

    Raises:
        TypeError: if one has another type than it may have.
        PipelineError: if a number is negative.
    """
    if pipeline is None:
        expect_type("level", level, str, 'the name of a level or pipeline, such as "O2"')
    else:
        expect_type("pipeline", pipeline, (Pipeline, str), "a Pipeline or its text")
    expect_type("target", target, str, "the name of a backend")
    if options is not None:
        expect_type("options", options, Mapping, "a mapping from pass to a mapping from option to value")
        for name, values in options.items():  # type: ignore[attr-defined]  # a mapping, as was seen
            expect_type(f"options of pass {name!r}", values, Mapping, "a mapping from option to value")
    expect_type("seed", seed, int, "a whole number")
    if isinstance(disabled, str):
        raise TypeError(f"disabled is {disabled!r}, expected a list of names; put it into brackets")
    for item in instrumentations:
        expect_type("an instrumentation", item, Instrumentation, "an instance of Instrumentation")
    if plugins is not None:
        expect_type("plugins", plugins, PluginManager, "a PluginManager, as builtin_plugins() makes it")
    if seed < 0:
        raise PipelineError(f"the seed is {seed}, expected 0 or more; choose another one")
    if bisect_limit is not None:
        expect_type("bisect_limit", bisect_limit, int, "a whole number")
        if bisect_limit < 0:
            raise PipelineError(f"the bisect limit is {bisect_limit}, expected 0 or more rewrites")


def check_draws(name: str, count: object) -> None:
    """See that a number says how many inputs are drawn.

    Raises:
        TypeError: if it is no whole number.
        PipelineError: if none are drawn, or more than can be held.

    Example:
        >>> check_draws("seeds", 5000)
        Traceback (most recent call last):
        ...
        graphopt.errors.PipelineError: seeds is 5000, expected 1 to 1000
    """
    expect_type(name, count, int, "a whole number")
    if isinstance(count, int) and not 1 <= count <= MOST_SAMPLES:
        raise PipelineError(f"{name} is {count}, expected 1 to {MOST_SAMPLES}")


def check_tolerance(rtol: object) -> None:
    """See that a number can be a tolerance; ``None`` is none.

    Raises:
        TypeError: if it is no number.
        PipelineError: if it is negative, or no finite number.
    """
    if rtol is None:
        return
    expect_type("rtol", rtol, (int, float), "a number")
    if isinstance(rtol, int | float) and not 0 <= rtol < math.inf:
        raise PipelineError(f"rtol is {rtol:g}, expected a finite number, 0 or more")


def check_disabled(plugins: PluginManager, names: Sequence[str]) -> frozenset[str]:
    """Which names are rules; the others are passes.

    Raises:
        PipelineError: if there is no such pass or rule: a misspelled name would leave out nothing, unnoticed.
    """
    unsure = [name for name in names if name not in plugins.passes]
    rules = frozenset(str(row["name"]) for row in plugins.describe("rules")) if unsure else frozenset()
    for name in unsure:
        if name not in rules:
            hint = suggestion(name, [*plugins.passes, *rules]) or ";"
            raise PipelineError(
                f"there is no pass or rule {name!r} to leave out{hint} see graphopt list passes, graphopt list rules"
            )
    return frozenset(unsure)
