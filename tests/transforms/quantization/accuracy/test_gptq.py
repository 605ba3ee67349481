"""GPTQ as arithmetic: the paper's formula, never worse than rounding to nearest, on the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.quantization.accuracy.gptq import Float64, Grid, gptq, output_error
from tests.transforms.harness import PROPERTY


def by_inverse(weights: Float64, moments: Float64, grid: Grid, damp: float) -> Float64:
    """One group in the order of the columns, as the paper has it: by the Cholesky factor of the inverse."""
    size = len(moments)
    damped = moments + damp * np.mean(np.diag(moments)) * np.eye(size)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, made = weights.copy(), np.empty_like(weights)
    for at in range(size):
        column = Grid(grid.scale[:, at], grid.zero[:, at], grid.least, grid.most)
        made[:, at] = column.nearest(left[:, at])
        left[:, at:] -= np.outer((left[:, at] - made[:, at]) / factor[at, at], factor[at, at:])
    return made


def case(seed: int, groups: int, rows: int, columns: int) -> tuple[Float64, Float64, Grid]:
    """Weights, moments of inputs that depend on each other, and a grid of 4 bits."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(groups, rows, columns))
    inputs = rng.normal(size=(groups, 4 * columns, columns)) @ (np.eye(columns) + rng.normal(size=(columns, columns)))
    scale = np.broadcast_to(np.abs(weights).max(axis=2, keepdims=True) / 7, weights.shape)
    return weights, inputs.swapaxes(1, 2) @ inputs / inputs.shape[1], Grid(scale, np.zeros_like(scale), -7, 7)


@PROPERTY
@given(st.integers(0, 999), st.integers(1, 3), st.integers(1, 4), st.integers(1, 12), st.booleans())
def test_no_row_is_worse_than_by_rounding_to_nearest(
    seed: int, groups: int, rows: int, columns: int, by_activation: bool
) -> None:
    """And each weight is on the grid."""
    weights, moments, grid = case(seed, groups, rows, columns)
    made = gptq(weights, moments, grid, by_activation=by_activation)
    nearest = output_error(weights - grid.nearest(weights), moments)
    assert (output_error(weights - made, moments) <= nearest).all()
    np.testing.assert_allclose(grid.nearest(made), made, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_the_paper_computes(seed: int) -> None:
    """In the order of the columns, more of them than a block; rows where that is better than nearest."""
    weights, moments, grid = case(seed, 1, 6, 150)
    expected = by_inverse(weights[0], moments[0], Grid(grid.scale[0], grid.zero[0], -7, 7), 0.01)
    made = gptq(weights, moments, grid, by_activation=False)[0]
    better = output_error(weights - expected, moments)[0] < output_error(weights - grid.nearest(weights), moments)[0]
    assert better.all()
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-9)


def test_errors_shrink_by_a_lot_where_inputs_depend_on_each_other() -> None:
    """Half the error of rounding to nearest, at most."""
    weights, moments, grid = case(3, 1, 16, 64)
    nearest = output_error(weights - grid.nearest(weights), moments).sum()
    assert output_error(weights - gptq(weights, moments, grid), moments).sum() < nearest / 2


@pytest.mark.parametrize("moments", [np.zeros((1, 3, 3)), np.ones((1, 3, 3)), np.eye(3)[None] * 1e-30])
def test_moments_without_an_inverse(moments: Float64) -> None:
    """No data but zeros, inputs that are all equal, inputs that are tiny."""
    weights = np.array([[[0.3, -0.4, 1.0]]])
    grid = Grid(np.full((1, 1, 3), 1 / 7), np.zeros((1, 1, 3)), -7, 7)
    made = gptq(weights, moments, grid)
    assert np.isfinite(made).all()
    assert (output_error(weights - made, moments) <= output_error(weights - grid.nearest(weights), moments)).all()


def test_a_damping_that_is_too_small_grows() -> None:
    """Moments with a direction of negative length, by rounding errors, are damped until they can be factored."""
    moments = np.array([[[1.0, 1.0], [1.0, 1.0 - 1e-6]]])
    grid = Grid(np.full((1, 1, 2), 0.1), np.zeros((1, 1, 2)), -127, 127)
    assert np.isfinite(gptq(np.array([[[0.33, 0.77]]]), moments, grid, damp=1e-12)).all()
