"""The models that a rule without a guard is tried on: matching ones, near misses, and any models at all, as drawn and with an edit.

They are drawn once, the same ones on every run, in portions of a seed each, and kept in the folder for temporary files until the
strategies or the rule change. A portion is drawn in a child process, because a model that is tried out may crash the runtime; it is
empty then.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import pickle
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmarks.guards.guard import Unit, units
from benchmarks.measure import ROOT, versions
from graphopt.testing import GeneratedModel
from graphopt.testing.strategies.bulk import sampled_edits, sampled_matching, sampled_models, sampled_near_misses
from tests.testing.handmade import HAND_MADE, made_by_hand

__all__ = ["KINDS_OF_MODELS", "KindOfModels", "Portion", "draw_here", "give_up", "models_for", "portions"]

KindOfModels = Literal["matching", "near", "any", "edited"]
KINDS_OF_MODELS: tuple[KindOfModels, ...] = get_args(KindOfModels)
_OWN: tuple[KindOfModels, ...] = ("matching", "near")
_COMMON: tuple[KindOfModels, ...] = ("any", "edited")
#: Models of a portion.
_SIZE = 20
#: How many models there are for each one that is asked for: near misses are as many as there are edits; the last two are for passes.
_SHARES: dict[KindOfModels, int] = {"matching": 1, "near": 4, "any": 6, "edited": 6}


@dataclass(frozen=True, slots=True)
class Portion:
    """Some models of one seed.

    Attributes:
        kind: what models.
        unit: name of the rule, `""` for models that all share.
        seed: which ones.
    """

    kind: KindOfModels
    unit: str
    seed: int

    @property
    def path(self) -> Path:
        """Return the file where they are kept."""
        return _folder() / f"{self.kind}-{self.unit}-{self.seed}-{_digest(self.unit)}.pickle"


def portions(unit: Unit, count: int) -> Iterator[Portion]:
    """Yield the portions of models for a rule or pass: matching ones, near misses, and those that are the same for all.

    Args:
        unit: the rule or pass; one that is not made of rules has the last two kinds only, and more of them.
        count: how many to match, rounded up to a multiple of 20; there are more near misses.
    """
    seeds = -(-count // _SIZE)
    if unit.rule is None:
        yield from (Portion(kind, "", seed) for kind in _COMMON for seed in range(seeds * _SHARES[kind]))
        return
    for kind in _OWN:
        yield from (Portion(kind, unit.name, seed) for seed in range(seeds * _SHARES[kind]))
    yield from (Portion(kind, "", seed) for kind in _COMMON for seed in range(seeds))


def models_for(unit: Unit, count: int) -> list[tuple[KindOfModels, GeneratedModel]]:
    """Return models for a rule or pass, each with its kind; see :func:`portions`."""
    found: list[tuple[KindOfModels, GeneratedModel]] = []
    for portion in portions(unit, count):
        draw_here(portion)
        kept: list[GeneratedModel] = pickle.loads(portion.path.read_bytes())
        found += [(portion.kind, made) for made in kept]
    return found


def draw_here(portion: Portion) -> None:
    """Draw a portion in this process, if it is not there."""
    if not portion.path.exists():
        _keep(portion, list(_drawn(portion)))


def give_up(portion: Portion) -> None:
    """Keep an empty portion, because drawing it ended the process that did."""
    _keep(portion, [])


def _keep(portion: Portion, models: list[GeneratedModel]) -> None:
    scratch = portion.path.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(pickle.dumps(models))
    scratch.replace(portion.path)


def _drawn(portion: Portion) -> Iterator[GeneratedModel]:
    if portion.kind == "any":
        return sampled_models(_SIZE, seed=portion.seed)
    if portion.kind == "edited":
        return sampled_edits(_SIZE, seed=portion.seed)
    rule = _units()[portion.unit].rule
    assert rule is not None, "a pass that is not made of rules has no models of its own"
    if rule.name in HAND_MADE:
        count = _SIZE * (portion.seed + 1)
        made = made_by_hand(rule, count)
        own = made[:count] if portion.kind == "matching" else made[count:]
        return iter(own[-_SIZE:])
    draw = sampled_matching if portion.kind == "matching" else sampled_near_misses
    return draw(rule, _SIZE, seed=portion.seed)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"graphopt-guards-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@functools.cache
def _units() -> dict[str, Unit]:
    return {unit.name: unit for unit in units()}


@functools.cache
def _digest(name: str) -> str:
    """What models depend on: the strategies, a rule, and the packages that make and run models."""
    found = hashlib.sha256(_common())
    rule = _units()[name].rule if name else None
    source = None if rule is None else inspect.getsourcefile(getattr(rule, "body", None) or type(rule))
    if source is not None:
        found.update(Path(source).read_bytes())
    return found.hexdigest()[:16]


@functools.cache
def _common() -> bytes:
    found = hashlib.sha256(repr(sorted(versions().items())).encode())
    folder = ROOT / "graphopt" / "testing"
    by_hand = sorted((ROOT / "tests" / "testing").glob("handmade*.py"))
    for path in (folder / "generated.py", *sorted((folder / "strategies").rglob("*.py")), *by_hand):
        found.update(path.read_bytes())
    return found.digest()
