"""Runs generated models through the optimizer, many at a time in a child process, because a runtime may crash on some of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import onnx.printer

from graphopt.errors import ExecutionError
from graphopt.runtime.isolation import run_isolated
from tests.generated.models import generate
from tests.generated.oracle import Judgement, judge
from tests.generated.reduction import reduce_model

__all__ = ["Tally", "judge_seed", "judge_seeds", "report", "run_seeds"]


@dataclass
class Tally:
    """What came of many models.

    Attributes:
        models: how many there were.
        valid: how many ONNX Runtime runs.
        compared: how often outputs were compared.
        crashed: seeds on which the runtime ends its process, whatever graphopt does.
        faults: seeds with what is wrong.
        odd: seeds with what is worth a look.
        ops: operators in all models.
    """

    models: int = 0
    valid: int = 0
    compared: int = 0
    crashed: list[int] = field(default_factory=list)
    faults: dict[int, list[str]] = field(default_factory=dict)
    odd: dict[int, list[str]] = field(default_factory=dict)
    ops: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in what came of other models."""
        self.models += other.models
        self.valid += other.valid
        self.compared += other.compared
        self.crashed += other.crashed
        self.faults |= other.faults
        self.odd |= other.odd
        self.ops += other.ops


def _levels(seed: int, *, wild: bool) -> tuple[str, ...]:
    """Extreme numbers judge exact rewrites only; calm ones all, with every third model at two levels."""
    return ("O1",) if wild else ("O3", "O1") if seed % 3 == 0 else ("O3",) if seed % 3 == 1 else ("O2",)


def judge_seed(seed: int) -> tuple[Judgement, Counter[str]]:
    """What came of the model of a seed, and its operators."""
    made = generate(seed)
    found = judge(made.model, made.feeds, levels=_levels(seed, wild=made.wild), wild=made.wild, again=seed % 8 == 0)
    return found, Counter(node.op_type for node in made.model.graph.node)


def judge_seeds(start: int, count: int) -> Tally:
    """What came of the models of some seeds, in this process."""
    tally = Tally()
    for seed in range(start, start + count):
        found, ops = judge_seed(seed)
        tally.models += 1
        tally.valid += found.valid
        tally.compared += found.compared
        tally.ops += ops
        if found.faults:
            tally.faults[seed] = found.faults
        if found.odd:
            tally.odd[seed] = found.odd
    return tally


def _run_original(seed: int) -> None:
    made = generate(seed)
    judge(made.model, made.feeds, levels=(), wild=made.wild, again=False)


def run_seeds(start: int, count: int) -> Tally:
    """What came of the models of some seeds, in a child process; after a crash one by one."""
    try:
        return run_isolated(judge_seeds, start, count, timeout=60 + 5 * count)
    except ExecutionError:
        if count > 1:
            tally = Tally()
            for seed in range(start, start + count):
                tally.add(run_seeds(seed, 1))
            return tally
    try:
        run_isolated(_run_original, start, timeout=60)
    except ExecutionError:
        return Tally(models=1, crashed=[start])
    return Tally(models=1, valid=1, faults={start: ["the optimizer, or what it made, ends the process"]})


def report(seed: int, faults: list[str]) -> str:
    """What is wrong with a seed, shown on a model as small as can be."""
    made = generate(seed)
    level = faults[0].partition(":")[0]

    def shows(model: onnx.ModelProto, feeds: object) -> bool:
        return bool(judge(model, [feeds], levels=(level,), wild=made.wild, again=False).faults)  # type: ignore[list-item]

    for feeds in made.feeds:
        if level.startswith("O") and shows(made.model, feeds):
            model, small = reduce_model(made.model, feeds, shows)
            return f"seed {seed}: {faults}\n{onnx.printer.to_text(model)}\n{small}"
    return f"seed {seed}: {faults}"
