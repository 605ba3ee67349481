"""Ranges that are searched for are the best ones, or as good as those found the slow way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.ir import DType
from graphopt.passes import Range
from graphopt.transforms.quantization.calibrators import (
    Auto,
    Entropy,
    Histogram,
    MeanSquaredError,
    MinMax,
    MovingAverage,
    Percentile,
)
from graphopt.transforms.quantization.calibrators.divergence import divergence
from graphopt.transforms.quantization.calibrators.reconstruction import Reconstructions
from graphopt.transforms.quantization.parameters import activation_quantization, round_trip

RNG = np.random.default_rng(0)
DATA = {
    "normal": RNG.standard_normal(20_000),
    "relu": np.maximum(RNG.standard_normal(20_000), 0),
    "heavy": RNG.standard_t(3, 20_000),
    "skewed": RNG.gamma(0.5, size=20_000) - 0.2,
    "negative": -RNG.gamma(2.0, size=20_000) - 1,
}


def seen(made, numbers):
    made.observe(np.asarray(numbers, np.float32))
    return made


def counted(numbers):
    found = Histogram()
    found.add(np.asarray(numbers, np.float32))
    return found


def measured(numbers, found, *, bits=8, symmetric=False):
    """The mean squared error of really storing the numbers."""
    kinds = {8: (DType.UINT8, DType.INT8), 4: (DType.UINT4, DType.INT4)}
    array = np.asarray(numbers, np.float32)
    how = activation_quantization(found, kinds[bits][symmetric], symmetric=symmetric)
    return float(((round_trip(array, how).astype(np.float64) - array) ** 2).mean())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", DATA)
def test_errors_are_those_of_really_storing_the_numbers(kind, bits, symmetric):
    """Within 5 %, for wide ranges and for such that cut off much."""
    errors = Reconstructions(counted(DATA[kind]), bits=bits, symmetric=symmetric)
    low, high = float(DATA[kind].min()), float(DATA[kind].max())
    for share in (1.0, 0.5, 0.2):
        expected = measured(DATA[kind], Range(share * low, share * high), bits=bits, symmetric=symmetric)
        found = errors.of(np.array([share * low]), np.array([share * high])).total[0]
        assert expected == pytest.approx(found, rel=0.05), share


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", DATA)
def test_mse_finds_what_a_search_of_all_ranges_finds(kind, bits, symmetric):
    """Measured by really storing the numbers; at most 3 % worse than the best of a fine grid."""
    found = seen(MeanSquaredError(bits, symmetric), DATA[kind]).range()
    low, high = min(DATA[kind].min(), 0), max(DATA[kind].max(), 0)
    lows = [0.0] if low == 0 else low * np.linspace(0.1, 1, 25)
    highs = [0.0] if high == 0 else high * np.linspace(0.1, 1, 25)
    grid = [Range(float(a), float(b)) for a, b in itertools.product(lows, highs)]
    if symmetric:
        most = max(-low, high)
        grid = [Range(-float(share) * most, float(share) * most) for share in np.linspace(0.1, 1, 100)]
    best = min(measured(DATA[kind], item, bits=bits, symmetric=symmetric) for item in grid)
    assert measured(DATA[kind], found, bits=bits, symmetric=symmetric) <= 1.03 * best


def test_fewer_bits_cut_off_more():
    ranges = [seen(MeanSquaredError(bits), DATA["heavy"]).range() for bits in (4, 8, 12)]
    assert ranges[0].high < ranges[1].high < ranges[2].high


def test_entropy_of_magnitudes_is_that_of_every_window():
    """TensorRT's algorithm tries each window; ours, which tries some, comes as close."""
    numbers = np.append(RNG.standard_normal(50_000), 25.0)
    found = seen(Entropy(symmetric=True), numbers).range()
    width = counted(numbers).coarser(2048).width
    counts = np.bincount(np.floor(np.abs(np.float32(numbers)) / width).astype(int)).astype(float)
    counts[0] = min(counts[0], counts[1])
    costs = {}
    for end in range(128, counts.size + 1):
        costs[end] = divergence(counts[:end], np.arange(end) * 128 // end, 0.0, counts[end:].sum())
    best = min(costs, key=costs.__getitem__)
    assert costs[round(found.high / width)] <= 1.1 * costs[best]
    assert found.high < 12
    assert -found.low <= found.high


@pytest.mark.parametrize("kind", DATA)
def test_entropy_cuts_off_a_far_outlier_and_little_else(kind):
    """On both sides alike."""
    for sign in (1, -1):
        numbers = np.append(sign * DATA[kind], sign * 400.0)
        found = seen(Entropy(), numbers)
        assert found.range().magnitude < 200
        assert found.clipped(found.range()) < 0.05


def test_a_mirrored_tensor_has_the_mirrored_range():
    one, two = (seen(Entropy(), sign * DATA["skewed"] + 0.0).range() for sign in (1, -1))
    width = counted(DATA["skewed"]).width
    assert one.low == pytest.approx(-two.high, abs=20 * width)
    assert one.high == pytest.approx(-two.low, abs=20 * width)


def test_a_pile_of_numbers_does_not_decide():
    """The background of a picture gives each channel a number that most pixels share."""
    numbers = np.concatenate([np.repeat([0.11, 0.27, 0.43], 30_000), np.abs(RNG.standard_normal(20_000)) * 2])
    found = seen(Entropy(), numbers)
    assert found.clipped(found.range()) <= 0.0015


def test_many_zeros_do_not_decide():
    """A tensor behind a Relu is mostly zero."""
    numbers = np.maximum(RNG.standard_normal(50_000) - 1.5, 0)
    assert seen(Entropy(), numbers).range().high > 0.5 * numbers.max()


@given(st.sampled_from(sorted(DATA)), st.sampled_from([(8, False), (8, True), (4, False)]), st.integers(0, 3))
def test_auto_is_never_worse_than_any_of_the_others(kind, scheme, outliers):
    numbers = np.append(DATA[kind][:3000], np.full(outliers, 60.0))
    bits, symmetric = scheme
    auto = seen(Auto(bits, symmetric, clipping=1.0), numbers)
    errors = Reconstructions(auto.histogram, bits=bits, symmetric=symmetric)

    def cost(found):
        return float(errors.of(np.array([found.low]), np.array([found.high])).total[0])

    found = cost(auto.range())
    others = (
        MinMax(),
        Percentile(99.99),
        Percentile(99.9),
        Entropy(bits, symmetric),
        MeanSquaredError(bits, symmetric),
    )
    for other in others:
        assert found <= cost(seen(other, numbers).range()) * (1 + 1e-9)


def test_auto_cuts_off_less_when_clipping_weighs_more():
    ranges = [seen(Auto(clipping=weight), DATA["heavy"]).range().high for weight in (0.0, 1.0, 1000.0)]
    assert ranges[0] <= ranges[1] < ranges[2]


def test_a_moving_average_is_the_mean_of_extremes():
    found = MovingAverage()
    for peak in (0.1, 0.2, 0.6):
        found.observe(np.array([-peak, 0, peak], np.float64))
    assert Range(-0.3, 0.3) == Range(round(found.range().low, 12), round(found.range().high, 12))
    assert Range(-0.6, 0.6) == found.observed()


def test_clipped_shares_are_told():
    found = seen(Percentile(90.0), np.linspace(-1, 1, 100_001))
    assert found.clipped(found.range()) == pytest.approx(0.1, abs=0.002)
    assert 0.0 == found.clipped(found.observed())
