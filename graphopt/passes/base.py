"""What a pass is: a frozen dataclass whose fields are its options, and a ``run`` that edits a graph.

A pass looks at the whole graph it is given, subgraphs included. The manager gives it the main graph and then the body of each
function, unless the pass says that it wants the main graph only.
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np

from graphopt.ir import Array, Graph, Model, Node, Type
from graphopt.numerics import Exact, Numerics
from graphopt.passes.calibration import CalibrationSource
from graphopt.passes.memory import Memory
from graphopt.passes.pruning_log import PruningLog
from graphopt.passes.reference import Reference
from graphopt.rewriting import Applications, Explain, Journal, TypeInference
from graphopt.target import Target

if TYPE_CHECKING:
    from graphopt.analysis.dim_groups import PluginRoles

__all__ = ["Executor", "ModelTypes", "Pass", "PassContext", "PassResult"]

_T = TypeVar("_T")


class Executor(Protocol):
    """Runs a small model, for folding and calibration. Injected by the compiler; passes know no runtime."""

    def run(self, model: Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs of a model by name.

        Args:
            model: the model; its outputs are tensors.
            feeds: arrays for its inputs, by name.

        Raises:
            ExecutionError: if the runtime can't run it.
        """


class ModelTypes(TypeInference, Protocol):
    """Finds types, for one node or a whole model."""

    def infer_model(self, model: Model) -> int:
        """Set the type of each value of a model that can be found; returns how many it changed."""


class _NoTypes:
    """Finds nothing: what a context has unless the caller brings better."""

    def infer_node(self, node: Node) -> tuple[Type | None, ...]:
        return (None,) * len(node.outputs)

    def infer_model(self, model: Model) -> int:
        return 0


@dataclass(slots=True)
class PassContext:
    """What a pass may use besides the graph.

    Attributes:
        target: the device that the model is made for.
        executor: runs nodes, ``None`` when nothing can run.
        types: finds types.
        applications: admits and numbers rewrites.
        rng: the only source of random numbers.
        explain: told of each candidate at which a rule did not apply, ``None`` when nobody asks.
        progress: told what is going on, in a few words.
        calibration: data to look at, ``None`` when the caller gave none.
        dim_roles: what plugins say of the axes of their operators, by operator.
        reference: the model before a lossy pass took something away, for passes that make up for it; ``None`` if none did.
        pruned: what pruning passes took away so far.
        memory: what was found out about equal models in other runs with the same data, ``None`` to keep nothing.
        journal: keeps what rules have seen of the graphs from one run of a pass to the next, ``None`` outside a pipeline.
        typed: the model whose types were inferred with this context; rewriters keep them current from then on.
    """

    target: Target = field(default_factory=Target)
    executor: Executor | None = None
    types: ModelTypes = field(default_factory=_NoTypes)
    applications: Applications = field(default_factory=Applications)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    explain: Explain | None = None
    progress: Callable[[str], None] = field(default=lambda text: None)
    calibration: CalibrationSource | None = None
    dim_roles: Mapping[str, PluginRoles] = field(default_factory=dict)
    reference: Reference | None = None
    pruned: PruningLog = field(default_factory=PruningLog)
    memory: Memory | None = None
    journal: Journal | None = None
    typed: Model | None = None
    _memo: dict[object, Any] = field(default_factory=dict)

    def estimated_ms(self, node: Node) -> float | None:
        """What one run of a node is estimated to take, in milliseconds; ``None`` when its operator or a size is not known.

        The coefficients are those that ship with graphopt, so what is decided by them is the same on every machine.
        """
        from graphopt.analysis.cost_model import shipped_cost_model  # lazily: few passes ask

        seconds = shipped_cost_model().seconds_of(node)
        return None if seconds is None else seconds * 1e3

    def cached(self, key: object, graph: Graph, make: Callable[[], _T]) -> _T:
        """What ``make`` gives, kept until the graph's owner is edited.

        Args:
            key: names the question.
            graph: the graph it is asked of.
            make: works out the answer.
        """
        root = graph.root
        version = root.version
        slot = (key, id(root))
        found = self._memo.get(slot)
        if found is None or found[0] != version or found[1] is not root:
            found = (version, root, make())
            self._memo[slot] = found
        answer: _T = found[2]
        return answer


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a run of a pass did.

    Attributes:
        changed: whether it edited anything; the manager may check that.
        stats: counts by name, for people and reports.
    """

    changed: bool
    stats: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pass(abc.ABC):
    """One step of a pipeline.

    Subclasses are frozen dataclasses: fields are options (with defaults, annotated, validated by msgspec when they come from text), and
    the docstring's first line says what the pass does.

    Attributes:
        name: kebab-case, unique among all plugins.
        numerics: what it does to numbers.
        per_function: whether it runs on the body of each function too.
        needs_types: whether the manager infers types of the whole model before it, unless they are known already.
        keeps_types: whether values are as well known after it as before; else types are inferred again when it changed something.
        idempotent: whether it does all it can in one run, so that a second one right after it would change nothing.
    """

    name: ClassVar[str]
    numerics: ClassVar[Numerics] = Exact()
    per_function: ClassVar[bool] = True
    needs_types: ClassVar[bool] = True
    keeps_types: ClassVar[bool] = False
    idempotent: ClassVar[bool] = False

    @abc.abstractmethod
    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Edit a graph and its subgraphs.

        Args:
            graph: the outermost graph of a model or function.
            ctx: what else the pass may use.

        Returns:
            Whether anything changed, and counts.
        """

    @property
    def declared_numerics(self) -> Numerics:
        """What this pass, with its options, does to numbers."""
        return self.numerics

    @property
    def logger(self) -> logging.Logger:
        """Logger of the module in which the pass is defined."""
        return logging.getLogger(type(self).__module__)
