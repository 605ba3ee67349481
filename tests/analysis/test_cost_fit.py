"""Coefficients are found again from times that were made with them, and odd nodes change little."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.analysis.cost_fit import Measured, fit_classes, fit_coefficients, held_out_quality

TRUE = (2e-6, 1e-11, 5e-11)


def nodes(count: int, model: str = "m", name: str = "product", seed: int = 0, noise: float = 0.0) -> list[Measured]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        flops, moved = 10 ** rng.uniform(3, 8), 10 ** rng.uniform(2, 6)
        seconds = (TRUE[0] + TRUE[1] * flops + TRUE[2] * moved) * np.exp(rng.normal(0, noise))
        found.append(Measured(model, name, flops, moved, seconds))
    return found


def test_coefficients_are_found_again() -> None:
    found = fit_coefficients(nodes(40))
    assert pytest.approx(TRUE, rel=1e-2) == (found.call, found.flop, found.byte)
    assert 40 == found.nodes
    assert found.error < 1e-3
    noisy = fit_coefficients(nodes(400, noise=0.2))
    assert pytest.approx(TRUE, rel=0.15) == (noisy.call, noisy.flop, noisy.byte)


def test_odd_nodes_change_little() -> None:
    """A tenth of the nodes take ten times as long."""
    odd = [Measured("m", "product", node.flops, node.moved, node.seconds * 10) for node in nodes(8, seed=7)]
    found = fit_coefficients(nodes(80) + odd)
    assert pytest.approx(TRUE, rel=0.1) == (found.call, found.flop, found.byte)


def test_coefficients_are_never_negative() -> None:
    """Larger nodes that take less time leave the call alone."""
    falling = [Measured("m", "view", n, n, 1e-5 / n) for n in (1.0, 2.0, 4.0, 8.0)]
    found = fit_coefficients(falling)
    assert min(found.call, found.flop, found.byte) >= 0
    assert (0.0, 0.0) == (found.flop, found.byte)


def test_classes_need_nodes_enough() -> None:
    found = fit_classes([*nodes(10), *nodes(3, name="view"), Measured("m", "pooling", 1, 1, 0.0)])
    assert ["product"] == list(found)


def test_quality_is_that_of_models_that_were_not_fitted_to() -> None:
    """A model that behaves otherwise shows as an error of its own."""
    same = [*nodes(30, "a"), *nodes(30, "b", seed=1)]
    found = held_out_quality([*same, *nodes(30, "", seed=2)], ["a", "b"])
    assert found is not None
    assert (2, 60) == (found.models, found.nodes)
    assert found.r2 > 0.999
    assert found.median_error < 0.01
    twice = [Measured("c", item.name, item.flops, item.moved, item.seconds * 2) for item in nodes(30, seed=3)]
    found = held_out_quality([*same, *twice], ["c"])
    assert found is not None
    assert pytest.approx(0.5, abs=0.01) == found.median_error
    assert pytest.approx(-0.5, abs=0.01) == found.model_errors["c"]
    assert held_out_quality(same, []) is None
