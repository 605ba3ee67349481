"""What dim groups say holds: indices whose outgoing weights are zero go, and outputs stay as they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.harness import PROPERTY
from tests.transforms.pruning.networks import (
    Network,
    image_networks,
    lifted,
    token_networks,
)
from tests.transforms.pruning.zeroing import assert_removable


def check(net: Network, share: float):
    proto = net.model(net.nodes[-1].output[0])
    return assert_removable(lifted(proto), net.feeds, np.random.default_rng(1), share=share)


@PROPERTY
@given(image_networks(), st.sampled_from([0.2, 0.5, 0.9]))
def test_networks_of_images_give_the_same_without_idle_indices(net, share):
    check(net, share)


@PROPERTY
@given(token_networks(), st.sampled_from([0.2, 0.5, 0.9]))
def test_networks_of_tokens_give_the_same_without_idle_indices(net, share):
    check(net, share)
