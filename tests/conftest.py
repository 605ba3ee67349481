"""Settings for all tests: Hypothesis profiles, and one environment of built-in plugins."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from graphopt.compiler import Environment

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "nightly", derandomize=False, deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def environment() -> Environment:
    """Built-in and installed plugins, found once."""
    found = Environment()
    found.plugins.load()
    return found
