"""Generated models keep interface, validity and numbers at each level, and a second run gives the same bytes.

``GRAPHOPT_GENERATED=N`` runs N models instead of a few hundred, ``GRAPHOPT_GENERATED_START`` from another seed on: a batch of a hundred
models for each. Models with extreme numbers judge exact rewrites only; the others all.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from graphopt.errors import ExecutionError
from graphopt.testing import GeneratedModel, assert_deterministic, assert_equivalent
from graphopt.testing.strategies.bulk import model_of, sampled_models

COUNT = int(os.environ.get("GRAPHOPT_GENERATED", "300"))
START = int(os.environ.get("GRAPHOPT_GENERATED_START", "0"))
BATCH = 100
LEVELS = ("O1", "O2", "O3")
TARGET = "onnxruntime"


def levels_of(model: GeneratedModel, number: int) -> Iterator[str]:
    """Each model at one level, every third at two; what is not exact is not judged on extreme numbers."""
    if model.is_wild:
        yield "O1"
    else:
        yield LEVELS[number % 3]
        if number % 3 == 2:
            yield "O1"


@pytest.mark.parametrize("seed", range(START, START + (COUNT + BATCH - 1) // BATCH))
def test_generated_models_are_kept(seed):
    done: Counter[str] = Counter()
    ops: set[str] = set()
    batch = min(BATCH, COUNT - (seed - START) * BATCH)
    for number, model in enumerate(sampled_models(batch, seed=seed)):
        ops.update(node.op_type for node in model.proto.graph.node)
        done["models"] += 1
        for level in levels_of(model, number):
            try:
                found = assert_equivalent(level, model, target=TARGET)
            except ExecutionError:
                done["not run"] += 1
                continue
            done["changed"] += found.changed
            done["compared"] += found.compared > 0
            if number % 8 == 0:
                assert_deterministic(level, model, target=TARGET)
    assert batch == done["models"]
    assert done["not run"] <= 0.02 * batch, "each was run when it was drawn"
    assert done["changed"] >= 0.6 * batch, "there is too little to do in these models"
    assert done["compared"] >= 0.5 * batch
    if batch == BATCH:
        assert len(ops) >= 80, "the generated models have become poor in operators"


def test_a_seed_gives_the_same_model_every_time():
    first, second = model_of(11), model_of(11)
    assert first is not None
    assert second is not None
    assert first.proto == second.proto
    assert [sorted(item) for item in first.feeds] == [sorted(item) for item in second.feeds]
