"""The pause of Python's cycle collector."""

from __future__ import annotations

import gc

from graphopt.ir import clone_model, collector_paused
from tests.ir.sample_models import chain


def test_collector_runs_again_after_the_outermost_pause():
    with collector_paused():
        with collector_paused():
            inner = gc.isenabled()
        after = gc.isenabled()
    assert [inner, after, gc.isenabled()] == [False, False, True]


def test_collector_that_was_off_stays_off():
    gc.disable()
    try:
        clone_model(chain(2))
        assert not gc.isenabled()
    finally:
        gc.enable()
