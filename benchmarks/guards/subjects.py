"""The models that a rule without a guard is tried on: some that it matches, some that it nearly matches, and any models at all.

They are drawn once, the same ones on every run, and kept in the folder for temporary files until the strategies or the rule change.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.guards.guard import Unit
from benchmarks.measure import ROOT, versions
from graphopt.rewriting import Rule
from graphopt.testing import GeneratedModel
from graphopt.testing.strategies import graphs_matching, models, near_misses

__all__ = ["collect", "models_for"]


def models_for(unit: Unit, count: int) -> list[GeneratedModel]:
    """Return models for a rule or pass: those that it matches, near misses, and any models, which are the same for all.

    Args:
        unit: the rule or pass.
        count: how many of each of the three kinds; a pass that is not made of rules has the last kind only.
    """
    found: list[GeneratedModel] = []
    if unit.rule is not None:
        source = _source_of(unit.rule)
        found += _kept(f"matching-{unit.name}", count, functools.partial(graphs_matching, unit.rule), source)
        found += _kept(f"near-{unit.name}", count, functools.partial(near_misses, unit.rule), source)
    return [*found, *_kept("any", count, models)]


def _kept(
    name: str, count: int, strategy: Callable[[], st.SearchStrategy[GeneratedModel]], source: bytes = b""
) -> list[GeneratedModel]:
    """Examples of a strategy, from the folder for temporary files if they are there."""
    path = _folder() / f"{name}-{count}-{_digest(source)}.pickle"
    if path.exists():
        kept: list[GeneratedModel] = pickle.loads(path.read_bytes())
        return kept
    found = collect(strategy(), count)
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(pickle.dumps(found))
    scratch.replace(path)
    return found


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


def _source_of(rule: Rule) -> bytes:
    path = inspect.getsourcefile(getattr(rule, "body", None) or type(rule))
    return b"" if path is None else Path(path).read_bytes()


def _digest(source: bytes) -> str:
    """What models depend on: the strategies, a rule, and the packages that make and run models."""
    found = hashlib.sha256(repr(sorted(versions().items())).encode() + source)
    folder = ROOT / "graphopt" / "testing"
    for path in (folder / "generated.py", *sorted((folder / "strategies").rglob("*.py"))):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
