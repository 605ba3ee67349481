"""The models that a rule without a guard is tried on: some that it matches, some that it nearly matches, and any models at all.

They are drawn once, the same ones on every run, and kept in the folder for temporary files until the strategies or the rule change.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.guards.guard import Unit
from benchmarks.measure import ROOT, versions
from graphopt.testing import GeneratedModel, graphs_matching, models, near_misses

__all__ = ["collect", "models_for"]


def models_for(unit: Unit, count: int) -> list[GeneratedModel]:
    """Return models for a rule or pass, those that it matches first.

    Args:
        unit: the rule or pass.
        count: how many of each kind to draw; rules have three kinds, passes one, of which as many are drawn as of three.
    """
    path = _folder() / f"{unit.name}-{count}-{_digest(unit)}.pickle"
    if path.exists():
        found: list[GeneratedModel] = pickle.loads(path.read_bytes())
        return found
    found = [model for strategy, wanted in _strategies(unit, count) for model in collect(strategy, wanted)]
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(pickle.dumps(found))
    scratch.replace(path)
    return found


def _strategies(unit: Unit, count: int) -> Iterator[tuple[st.SearchStrategy[GeneratedModel], int]]:
    if unit.rule is None:
        yield models(), 3 * count
        return
    yield graphs_matching(unit.rule), count
    yield near_misses(unit.rule), count
    yield models(), count


def collect(strategy: st.SearchStrategy[GeneratedModel], count: int) -> list[GeneratedModel]:
    """Return examples of a strategy, the same ones on every run."""
    found: list[GeneratedModel] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(model: GeneratedModel) -> None:
        found.append(model)

    take()
    return found


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"graphopt-guards-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _digest(unit: Unit) -> str:
    """What the models depend on: strategies, the rule, and the packages that make and run models."""
    found = hashlib.sha256(repr(sorted(versions().items())).encode())
    for path in sorted((ROOT / "graphopt" / "testing").rglob("*.py")):
        found.update(path.read_bytes())
    source = inspect.getsourcefile(getattr(unit.rule, "body", None) or type(unit.rule or unit.pass_class))
    if source is not None:
        found.update(Path(source).read_bytes())
    return found.hexdigest()[:16]
