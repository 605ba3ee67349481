"""Models in bulk, for measurements: of seeds, each independent of the others, and never shrunk.

The same models as the strategies draw. A test should use the strategies, which shrink what fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from graphopt.rewriting import Rule
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.choices import Choices, SeededChoices
from graphopt.testing.strategies.drawn_models import draw_model, known_opsets
from graphopt.testing.strategies.editing import edited
from graphopt.testing.strategies.element_types import WEIGHTS
from graphopt.testing.strategies.rules import draw_matching, draw_near_miss, opsets_of

__all__ = ["model_of", "sampled_edits", "sampled_matching", "sampled_models", "sampled_near_misses"]

_MOST_NODES: Final = 10
_IN_VAIN: Final = 20


def model_of(seed: int) -> GeneratedModel | None:
    """The model of a seed, ``None`` where what came out is refused as a whole."""
    choices = SeededChoices(seed)
    return draw_model(
        choices,
        choices.of(known_opsets()),
        nodes=choices.integer(1, _MOST_NODES),
        ops=None,
        dtypes=WEIGHTS,
        wild=choices.chance(0.4),
        plain=False,
    )


def sampled_models(count: int, *, seed: int = 0) -> Iterator[GeneratedModel]:
    """So many models, as :func:`~graphopt.testing.models` draws them."""
    return _sampled(count, seed, lambda choices, number: model_of(number))


def sampled_edits(count: int, *, seed: int = 0) -> Iterator[GeneratedModel]:
    """The same models with one thing changed, as near misses have it, at some of their nodes."""
    return _sampled(count, seed, _edited_model_of)


def _edited_model_of(choices: Choices, number: int) -> GeneratedModel | None:
    base = model_of(number)
    outputs = [] if base is None else [name for node in base.proto.graph.node for name in node.output if name]
    if base is None or not outputs:
        return None
    return edited(choices, replace(base, sites=tuple(choices.some(outputs, 1, 3))), choices.integer(1, 2))


def sampled_matching(rule: Rule, count: int, *, seed: int = 0) -> Iterator[GeneratedModel]:
    """Up to so many models to which a rule applies; fewer where none are found for long."""
    versions = opsets_of(rule)
    return _sampled(count, seed, lambda choices, number: draw_matching(choices, rule, choices.of(versions)))


def sampled_near_misses(rule: Rule, count: int, *, seed: int = 0) -> Iterator[GeneratedModel]:
    """Up to so many models to which a rule nearly applies."""
    versions = opsets_of(rule)
    return _sampled(count, seed, lambda choices, number: draw_near_miss(choices, rule, choices.of(versions)))


def _sampled(count: int, seed: int, make: Callable[[Choices, int], GeneratedModel | None]) -> Iterator[GeneratedModel]:
    found, vain, number = 0, 0, seed * 1_000_003
    while found < count and vain < _IN_VAIN:
        made = make(SeededChoices(number), number)
        number += 1
        if made is None:
            vain += 1
            continue
        found, vain = found + 1, 0
        yield made
