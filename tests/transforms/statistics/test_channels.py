"""Ends, means and spreads of channels are those of all data at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graphopt.transforms.statistics import ChannelExtremes, ChannelMoments, Several
from tests.transforms.harness import PROPERTY


@PROPERTY
@given(
    st.integers(0, 99), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 4), st.sampled_from([1, -2])
)
def test_parts_make_the_whole(seed: int, sizes: list[int], cut: int, axis: int) -> None:
    """Batches seen by two observers and merged, in float64 of numpy over everything."""
    rng = np.random.default_rng(seed)
    batches = [rng.normal(3, 2, (size, 4, 2)).astype(np.float32) for size in sizes]
    extremes, moments = (ChannelExtremes(axis), ChannelExtremes(axis)), (ChannelMoments(axis), ChannelMoments(axis))
    for at, batch in enumerate(batches):
        Several([extremes[at < cut], moments[at < cut]]).observe(batch)
    extremes[0].merge(extremes[1])
    moments[0].merge(moments[1])
    everything = np.concatenate(batches).astype(np.float64)
    assert extremes[0].seen
    assert np.array_equal(extremes[0].low, everything.min(axis=(0, 2)))
    assert np.array_equal(extremes[0].high, everything.max(axis=(0, 2)))
    assert np.array_equal(extremes[0].magnitude, np.abs(everything).max(axis=(0, 2)))
    np.testing.assert_allclose(moments[0].mean, everything.mean(axis=(0, 2)), rtol=1e-9)
    np.testing.assert_allclose(moments[0].variance, everything.var(axis=(0, 2)), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(moments[0].energy, np.square(everything).mean(axis=(0, 2)), rtol=1e-6)
    assert moments[0].count == everything.size // 4


def test_nothing_seen_is_said() -> None:
    """An observer without data knows that."""
    assert not ChannelExtremes(0).seen
    assert ChannelMoments(0).count == 0
