"""Generated models keep interface, validity and numbers at each level, those too that ``onnx.checker`` refuses and files in the wild have.

Inputs and outputs of unknown rank, outputs that are given out twice, many empty tensors: ``graphopt.testing`` draws none of the first two,
for its models are valid. What it draws is run in ``tests/testing/test_generated_models.py``.

``GRAPHOPT_GENERATED=N`` runs N models instead of a few hundred, ``GRAPHOPT_GENERATED_START`` from another seed on.
"""

from __future__ import annotations

import os

import pytest

from tests.generated.campaign import report, run_seeds
from tests.generated.models import generate

COUNT = int(os.environ.get("GRAPHOPT_GENERATED", "300"))
START = int(os.environ.get("GRAPHOPT_GENERATED_START", "0"))
BATCH = 100


@pytest.mark.parametrize("start", range(START, START + COUNT, BATCH))
def test_generated_models_are_kept(start):
    tally = run_seeds(start, min(BATCH, START + COUNT - start))
    assert not tally.faults, "\n".join(report(seed, faults) for seed, faults in list(tally.faults.items())[:3])
    assert tally.valid >= 0.75 * tally.models, "too few of the generated models run"
    assert tally.compared >= 3 * tally.valid
    assert len(tally.crashed) <= 0.02 * tally.models, f"ONNX Runtime crashes on {tally.crashed}"
    if tally.models == BATCH:
        assert len(tally.ops) >= 60, "the generated models have become poor in operators"


def test_a_seed_gives_the_same_model_every_time():
    first, second = generate(11), generate(11)
    assert first.model == second.model
    assert [sorted(item) for item in first.feeds] == [sorted(item) for item in second.feeds]
