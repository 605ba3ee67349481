"""Broken models, byte by byte and field by field: only graphopt's own errors come out, and no process ends.

``GRAPHOPT_FUZZ=N`` tries N of them instead of a few hundred, ``GRAPHOPT_FUZZ_START`` from another seed on.
"""

from __future__ import annotations

import os
import random

import pytest

from graphopt.runtime.isolation import run_isolated
from tests.fuzz.damage import attack_many, changed, damaged, seeds

COUNT = int(os.environ.get("GRAPHOPT_FUZZ", "600"))
START = int(os.environ.get("GRAPHOPT_FUZZ_START", "0"))
BATCH = 150
MEMORY = 12 << 30  # address space: what is taken by mistake is an error, not the end of the machine


def _assert_survives(start, count, *, check):
    found = run_isolated(attack_many, start, count, check, timeout=60 + 3 * count, memory=MEMORY)
    bad = {seed: verdict for seed, verdict in found if verdict not in ("fine", "refused")}
    assert not bad, "\n".join(f"seed {seed}: {verdict}" for seed, verdict in bad.items())
    verdicts = [verdict for _, verdict in found]
    assert verdicts.count("fine") >= count // 20, (
        "hardly a model survives: the damage is too coarse to reach the passes"
    )
    assert verdicts.count("refused") >= count // 20, "hardly a model is refused: the damage is too small"


@pytest.mark.parametrize("start", range(START, START + COUNT, BATCH))
def test_broken_models_without_the_check(start):
    _assert_survives(start, BATCH, check=False)


def test_broken_models_with_the_check():
    _assert_survives(START + 1_000_000, 40, check=True)


def test_damage_is_the_same_every_time():
    data = seeds()[0]
    assert damaged(random.Random(1), data) == damaged(random.Random(1), data)
    assert changed(random.Random(1), data) == changed(random.Random(1), data)
