"""Whether an optimized model computes what the original computes; and if not, which rewrite is to blame.

Import from here, not from the modules inside; what needs a runtime is imported when it is first asked for. May import everything up to
``graphopt.runtime``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphopt.verify.bisection import Culprit, Repaired, find_culprit, repair
from graphopt.verify.comparator import Difference, compare
from graphopt.verify.hints import InputHint, ModelHints, model_hints
from graphopt.verify.tolerance import Noise, relative_tolerance
from graphopt.verify.user_inputs import check_inputs, load_inputs, save_inputs
from graphopt.verify.verdict import SampleVerdict, Verdict

if TYPE_CHECKING:
    from graphopt.verify.check import check_equivalence
    from graphopt.verify.expectation import Expectation, expect
    from graphopt.verify.feeds import Sample, Search, find_samples
    from graphopt.verify.interface import Interface, interface_changes
    from graphopt.verify.opening import CheckOptions, RuntimeOpener
    from graphopt.verify.reproducer import Reproducer, write_reproducer

__all__ = [
    "CheckOptions",
    "Culprit",
    "Difference",
    "Expectation",
    "InputHint",
    "Interface",
    "ModelHints",
    "Noise",
    "Repaired",
    "Reproducer",
    "RuntimeOpener",
    "Sample",
    "SampleVerdict",
    "Search",
    "Verdict",
    "check_equivalence",
    "check_inputs",
    "compare",
    "expect",
    "find_culprit",
    "find_samples",
    "interface_changes",
    "load_inputs",
    "model_hints",
    "relative_tolerance",
    "repair",
    "save_inputs",
    "write_reproducer",
]

_HOMES = {
    "CheckOptions": "opening",
    "Expectation": "expectation",
    "Interface": "interface",
    "Reproducer": "reproducer",
    "RuntimeOpener": "opening",
    "Sample": "feeds",
    "Search": "feeds",
    "check_equivalence": "check",
    "expect": "expectation",
    "find_samples": "feeds",
    "interface_changes": "interface",
    "write_reproducer": "reproducer",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
