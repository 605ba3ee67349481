"""What an oracle tests: a pass, a pipeline, rules or a function, brought into one form."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from onnx import ModelProto

from graphopt.compiler import Environment
from graphopt.errors import PipelineError
from graphopt.numerics import Exact, Numerics
from graphopt.passes import Fixpoint, Pass, Pipeline, RewritePass
from graphopt.rewriting import RewritePattern, Rule

__all__ = ["Subject", "Testable", "default_environment", "subject_of"]

#: What oracles test: a pass (or its class), a pipeline (or its text), one or several rules, a function from model to model.
Testable: TypeAlias = (
    Pass
    | Fixpoint
    | Pipeline
    | Rule
    | str
    | type[Pass]
    | type[RewritePattern]
    | Iterable[Rule]
    | Callable[[ModelProto], ModelProto]
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested.

    Attributes:
        name: as people call it, such as ``pass 'fold-constants'``.
        numerics: what it declares to do to numbers.
        pipeline: what to run, ``None`` for a function.
        function: what to call, ``None`` for a pipeline.
        text: the pipeline's text, ``""`` when it has none.
        imports: places of passes and rules in it that no plugin registers, for ``graphopt replay``; ``None`` when one has none.
    """

    name: str
    numerics: Numerics
    pipeline: Pipeline | None = None
    function: Callable[[ModelProto], ModelProto] | None = None
    text: str = ""
    imports: tuple[str, ...] | None = None

    @property
    def passes(self) -> tuple[Pass, ...]:
        """All passes of the pipeline."""
        return () if self.pipeline is None else tuple(self.pipeline.passes())

    @property
    def is_idempotent(self) -> bool:
        """Whether a second run is declared to change nothing: one pass that says so, or a group that is repeated until nothing changes.

        Passes one after the other declare no such thing: the last may make work for the first.
        """
        items = () if self.pipeline is None else self.pipeline.items
        return len(items) == 1 and (isinstance(items[0], Fixpoint) or items[0].idempotent)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all its passes that consist of rules."""
        found = (rule for item in self.passes if isinstance(item, RewritePass) for rule in item.active_rules())
        return tuple({rule.name: rule for rule in found}.values())


@functools.cache
def default_environment() -> Environment:
    """Built-in and installed plugins, found once in a process."""
    found = Environment()
    found.plugins.load()
    return found


def subject_of(testable: Testable, environment: Environment, numerics: Numerics | None = None) -> Subject:
    """The one form of what is tested.

    Args:
        testable: see :data:`Testable`.
        environment: where the names in a pipeline's text come from.
        numerics: what is declared, instead of what it declares by itself. A function declares nothing, so it is held to ``Exact()``.

    Raises:
        TypeError: if it is something else.
        PipelineError: if a pipeline's text is wrong.
    """
    if isinstance(testable, str):
        return _of_pipeline(environment.pipeline(testable, ""), environment, numerics)
    if isinstance(testable, Pipeline):
        return _of_pipeline(testable, environment, numerics)
    made = testable() if isinstance(testable, type) else testable
    if isinstance(made, Pass | Fixpoint):
        return _of_pipeline(Pipeline.of(made), environment, numerics)
    if isinstance(made, Rule):
        return _of_rules((made,), numerics)
    if callable(made):
        name = f"function {getattr(made, '__qualname__', type(made).__name__)!r}"
        return Subject(name, Exact() if numerics is None else numerics, function=made)
    rules = tuple(made) if isinstance(made, Iterable) else ()
    if rules and all(isinstance(rule, Rule) for rule in rules):
        return _of_rules(rules, numerics)
    raise TypeError(
        f"can't test a {type(made).__name__}; expected a pass, a pipeline or its text, rules, or a function from model to model"
    )


def _of_pipeline(pipeline: Pipeline, environment: Environment, numerics: Numerics | None) -> Subject:
    passes = tuple(pipeline.passes())
    try:
        text = pipeline.to_text()
    except PipelineError:  # an option without text form
        text = ""
    shown = text or ",".join(item.name for item in passes)
    return Subject(
        f"{'pass' if len(passes) == 1 else 'pipeline'} {shown!r}",
        pipeline.declared_numerics if numerics is None else numerics,
        pipeline,
        text=text,
        imports=_places(passes, environment),
    )


def _places(passes: tuple[Pass, ...], environment: Environment) -> tuple[str, ...] | None:
    registry = environment.plugins.passes
    strange = [type(item) for item in passes if item.name not in registry or registry[item.name] is not type(item)]
    found = [_place(kind, kind.__module__, kind.__qualname__) for kind in strange]
    return tuple(place for place in found if place) if all(found) else None


def _place(thing: object, module: str, name: str) -> str:
    """``path/to/file.py:name`` of something at the top of a module, ``""`` when it is not there."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return f"{file}:{name}" if file and getattr(sys.modules[module], name, None) is thing else ""


def _rule_place(rule: Rule) -> str:
    body = getattr(rule, "body", type(rule))
    module = str(getattr(body, "__module__", ""))
    names = [name for name, item in vars(sys.modules.get(module, sys)).items() if item is rule or item is body]
    return _place(getattr(sys.modules[module], names[0]), module, names[0]) if names else ""


def _of_rules(rules: tuple[Rule, ...], numerics: Numerics | None) -> Subject:
    names = [rule.name for rule in rules]
    made = type("Rules", (RewritePass,), {"name": "+".join(names), "rules": rules, "__doc__": "Rules under test."})()
    assert isinstance(made, RewritePass), "a class made from it"
    name = f"rule {names[0]!r}" if len(rules) == 1 else f"rules {', '.join(map(repr, names))}"
    places = [_rule_place(rule) for rule in rules]
    return Subject(
        name,
        made.declared_numerics if numerics is None else numerics,
        Pipeline.of(made),
        text=made.name,
        imports=tuple(places) if all(places) else None,
    )
