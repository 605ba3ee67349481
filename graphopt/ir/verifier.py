"""The invariants of the IR, one small check each.

:func:`verify` holds before and after each pass; inside a pass it need not. A check is a generator over a
:class:`~graphopt.ir.survey.Survey`, what one walk over all graphs found; it yields a sentence per problem. All of them are linear, and
none recurses over nodes or nested graphs.

Order and names are one question each about scopes: a node may read what stands before it in its graph, or before the node around its
graph, and so on outwards; and where it stands, the innermost value of that name must be the one it reads, or the emitted model would
mean another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphopt.errors import ModelError
from graphopt.ir.graph import Graph
from graphopt.ir.model import Function, FunctionKey, Model
from graphopt.ir.node import Node
from graphopt.ir.schema import find_schema
from graphopt.ir.survey import Survey, name_graph, name_node, name_value
from graphopt.ir.types import SparseTensorType, TensorType
from graphopt.ir.value import Value

__all__ = ["CHECKS", "find_problems", "verify"]

Check = Callable[["Survey"], Iterator[str]]


def verify(subject: Model | Graph) -> None:
    """Check all invariants of a model, or of one graph and those inside it.

    Raises:
        ModelError: naming the first place, what is wrong with it, and how many more problems there are.
    """
    problems = find_problems(subject)
    first = next(problems, None)
    if first is not None:
        more = sum(1 for _ in problems)
        others = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
        raise ModelError(f"{first}{others}")


def find_problems(subject: Model | Graph) -> Iterator[str]:
    """All problems, one sentence each; those of broken node lists alone, since nothing else can be trusted then."""
    survey = Survey.of(subject)
    broken = list(check_lists(survey))
    yield from broken
    if not broken:
        for check in CHECKS:
            if check is not check_lists:
                yield from check(survey)


def check_lists(survey: Survey) -> Iterator[str]:
    """Each node list leads to the same nodes in both directions, as many as it counts, all of them in that graph."""
    for graph, nodes in survey.nodes.items():
        if len(nodes) != len(graph.nodes):
            yield f"{name_graph(graph)}: counts {len(graph.nodes)} nodes, its list has {_count(nodes, graph)}"
        before = graph._sentinel
        for node in nodes:
            if node._prev is not before or before._next is not node:
                yield f"{name_node(node)}: its link to the node before it is broken"
            if node.graph is not graph:
                yield f"{name_node(node)}: stands in {name_graph(graph)}, but says that it stands in {node.graph!r}"
            before = node
        if len(nodes) == len(graph.nodes) and (
            before._next is not graph._sentinel or graph._sentinel._prev is not before
        ):
            yield f"{name_graph(graph)}: the end of its node list is broken"


def check_owners(survey: Survey) -> Iterator[str]:
    """Each graph knows the model, function or node that it belongs to, and belongs to one only."""
    seen: set[Graph] = set()
    for graph, owner in survey.roots:
        seen.add(graph)
        if graph._owner is not owner:
            yield f"{name_graph(graph)}: belongs to {owner!r}, but says {graph._owner!r}"
        if owner is not None and graph.parent is not None:
            yield f"{name_graph(graph)}: is the graph of {owner!r}, but says that it is inside {name_node(graph.parent)}"
    for nodes in survey.nodes.values():
        for node in nodes:
            stated = (
                [graph for item in node.attributes.values() for graph in _graphs_of(item.value)]
                if node.subgraphs
                else []
            )
            if list(node.subgraphs) != stated:
                yield f"{name_node(node)}: its list of subgraphs is not what its attributes hold; use set_attribute"
            for graph in node.subgraphs:
                if graph in seen:
                    yield f"{name_node(node)}: {name_graph(graph)} is in a second place; clone it"
                seen.add(graph)
                if graph.parent is not node:
                    yield f"{name_node(node)}: {name_graph(graph)} says that it is inside {graph.parent!r}"
                if graph._owner is not None:
                    yield f"{name_node(node)}: {name_graph(graph)} is a subgraph and the graph of {graph._owner!r} at once"


def check_definitions(survey: Survey) -> Iterator[str]:
    """Each value is defined once, and knows where."""
    seen: set[Value] = set()
    for graph, nodes in survey.nodes.items():
        given = [*graph.inputs, *(value for value in graph.initializers() if not value.is_input)]
        for value in given:
            if value in seen:
                yield f"{name_graph(graph)}: {name_value(value)} is defined twice"
            seen.add(value)
            if value.graph is not graph or value.producer is not None:
                yield f"{name_graph(graph)}: {name_value(value)} is an input or constant here, but says otherwise"
        for value in graph.inputs:
            if not value.is_input or (value.const is not None) != graph.has_initializer(value):
                yield f"{name_graph(graph)}: input {value.name!r} is not marked as one, or has a default that is no initializer"
        for node in nodes:
            for index, value in enumerate(node.outputs):
                if value in seen:
                    yield f"{name_node(node)}: output {index} {value.name!r} is defined twice"
                seen.add(value)
                if value.producer is not node or value.index != index:
                    yield f"{name_node(node)}: output {index} {value.name!r} says that it is output {value.index} of {value.producer!r}"
                if value.graph is not None or value.is_input:
                    yield f"{name_node(node)}: output {index} {value.name!r} is an input or constant of a graph as well"


def check_order(survey: Survey) -> Iterator[str]:
    """What is read is defined before, in the same graph or around it; so is what a graph gives out."""
    visible: set[Value] = set()
    for event, graph, node in survey.scopes():
        if event == "enter":
            visible.update(graph.inputs, graph.initializers())
        elif node is not None:
            for index, value in enumerate(node.inputs):
                if value is not None and value not in visible and value.home not in survey.around:
                    yield f"{name_node(node)}: input {index} {value.name!r} {_why_not_visible(value, survey)}"
            visible.update(node.outputs)
        else:
            for value in graph.outputs:
                if value not in visible and value.home not in survey.around:
                    yield f"{name_graph(graph)}: output {value.name!r} {_why_not_visible(value, survey)}"
            visible.difference_update(graph.inputs, graph.initializers())
            for inside in survey.nodes[graph]:
                visible.difference_update(inside.outputs)


def check_names(survey: Survey) -> Iterator[str]:
    """Each value that is used has a name, and where it is read that name means it and nothing else."""
    meaning: dict[str, Value] = {}
    hidden: list[list[tuple[str, Value | None]]] = []

    def define(value: Value) -> str | None:
        if not value.name:
            return "has no name; give it one" if value.is_used or value.is_input else None
        old = meaning.get(value.name)
        if old is not None and old.home is value.home:
            return f"has the name {value.name!r} of another value; names are unique in a graph"
        hidden[-1].append((value.name, old))
        meaning[value.name] = value
        return None

    for event, graph, node in survey.scopes():
        if event == "enter":
            hidden.append([])
            for value in (*graph.inputs, *(item for item in graph.initializers() if not item.is_input)):
                if problem := define(value):
                    yield f"{name_graph(graph)}: an input or constant {problem}"
        elif node is not None:
            for index, used in enumerate(node.inputs):
                if used is not None and meaning.get(used.name, used) is not used:
                    yield f"{name_node(node)}: input {index} {used.name!r} is hidden by another value of that name; rename one of them"
            for index, value in enumerate(node.outputs):
                if problem := define(value):
                    yield f"{name_node(node)}: output {index} {problem}"
        else:
            for value in graph.outputs:
                if meaning.get(value.name, value) is not value:
                    yield f"{name_graph(graph)}: output {value.name!r} is hidden by another value of that name; rename one of them"
            for name, old in reversed(hidden.pop()):
                if old is None:
                    del meaning[name]
                else:
                    meaning[name] = old


def check_uses(survey: Survey) -> Iterator[str]:
    """Uses of values and inputs of nodes say the same, in both directions."""
    for graph, nodes in survey.nodes.items():
        for node in nodes:
            for index, value in enumerate(node.inputs):
                if value is not None and (node, index) not in value._uses:
                    yield f"{name_node(node)}: reads {value.name!r} at input {index}, which does not know of it; use replace_input"
        for value in graph.values():
            for user, index in value._uses:
                if user not in survey.position:
                    yield f"{name_value(value)} is used by {name_node(user)}, which is in no graph of the model; drop its uses"
                elif index >= len(user.inputs) or user.inputs[index] is not value:
                    yield f"{name_value(value)} is used by {name_node(user)} at input {index}, which reads something else"


def check_output_counts(survey: Survey) -> Iterator[str]:
    """Each value knows how often it is given out."""
    counts: dict[Value, int] = {}
    for graph in survey.nodes:
        for value in graph.outputs:
            counts[value] = counts.get(value, 0) + 1
    for graph in survey.nodes:
        for value in graph.values():
            expected = counts.get(value, 0)
            if value.graph_outputs != expected:
                yield f"{name_value(value)} is given out {expected} times, but counts {value.graph_outputs}; use add_output and set_output"


def check_constants(survey: Survey) -> Iterator[str]:
    """The type of a constant is that of its numbers, or leaves open what it does not say."""
    for graph in survey.nodes:
        for value in graph.initializers():
            if value.const is None:
                yield f"{name_graph(graph)}: initializer {value.name!r} has no numbers"
        for value in graph.values():
            if value.const is not None and not _fits(value.type, value.const.type):
                yield f"{name_value(value)} has the type {value.type}, but its numbers are {value.const.type}"


def check_arity(survey: Survey) -> Iterator[str]:
    """Nodes have as many inputs and outputs as their operator takes, where the operator is known."""
    model = survey.model
    for graph, nodes in survey.nodes.items():
        owner = graph.owner
        if owner is None:
            continue
        for node in nodes:
            function = model.function_of(node.domain, node.op_type, node.overload) if model is not None else None
            if function is not None:
                yield from _call_arity(node, function)
                continue
            version = owner.opset_imports.get(node.domain)
            schema = None if version is None else find_schema(node.domain, node.op_type, version)
            if schema is None:
                continue
            given, made = len(node.inputs), len(node.outputs)
            if not schema.min_inputs <= given <= schema.max_inputs:
                yield f"{name_node(node)}: has {given} inputs, expected {_range(schema.min_inputs, schema.max_inputs)} at opset {version}"
            if not schema.min_outputs <= made <= schema.max_outputs:
                yield f"{name_node(node)}: has {made} outputs, expected {_range(schema.min_outputs, schema.max_outputs)} at opset {version}"
            for parameter, value in zip(schema.inputs, node.inputs, strict=False):
                if value is None and not parameter.optional and not parameter.variadic:
                    yield f"{name_node(node)}: input {parameter.name!r} is absent, but must be there"


def check_functions(survey: Survey) -> Iterator[str]:
    """Functions stand under their own key, and none calls itself, not even through others."""
    if survey.model is None:
        return
    functions = survey.model.functions
    for key, function in functions.items():
        if key != function.key:
            yield f"function {_key(function.key)}: is registered as {_key(key)}"
    finished: set[FunctionKey] = set()
    for start in functions:
        trail: dict[FunctionKey, Iterator[FunctionKey]] = {}
        called: FunctionKey | None = start
        while called is not None or trail:
            if called is None:
                key, calls = next(reversed(trail.items()))
                called = next(calls, None)
                if called is None:
                    finished.add(key)
                    del trail[key]
                continue
            if called in trail:
                yield f"function {_key(called)}: calls itself, by way of {' -> '.join(map(_key, (*trail, called)))}; break the circle"
            elif called not in finished:
                trail[called] = iter(_callees(functions[called], functions))
            called = None


#: Every invariant. Node lists come first: where they are broken, nothing else is looked at.
CHECKS: tuple[Check, ...] = (
    check_lists,
    check_owners,
    check_definitions,
    check_order,
    check_names,
    check_uses,
    check_output_counts,
    check_constants,
    check_arity,
    check_functions,
)


def _callees(function: Function, functions: dict[FunctionKey, Function]) -> list[FunctionKey]:
    found = {(node.domain, node.op_type, node.overload) for node in function.graph.walk()}
    return [key for key in functions if key in found]


def _call_arity(node: Node, function: Function) -> Iterator[str]:
    taken, made = len(function.graph.inputs), len(function.graph.outputs)
    if len(node.inputs) > taken:
        yield f"{name_node(node)}: has {len(node.inputs)} inputs, but the function takes {taken}"
    if len(node.outputs) > made:
        yield f"{name_node(node)}: has {len(node.outputs)} outputs, but the function gives {made}"


def _fits(stated: object, found: TensorType) -> bool:
    if isinstance(stated, SparseTensorType):
        stated = stated.tensor
    if stated is None:
        return True
    if not isinstance(stated, TensorType) or (stated.dtype and stated.dtype != found.dtype):
        return False
    if stated.shape is None or found.shape is None:
        return True
    if len(stated.shape) != len(found.shape):
        return False
    return all(not isinstance(dim, int) or dim == size for dim, size in zip(stated.shape, found.shape, strict=True))


def _why_not_visible(value: Value, survey: Survey) -> str:
    home = value.home
    if home is None:
        return "is defined nowhere; insert the node that gives it, or make it an input or a constant"
    if home not in survey.nodes:
        return f"is defined in {name_graph(home)}, which is not part of the model"
    return f"is read before it is defined, or outside {name_graph(home)} that defines it; sort the nodes"


def _graphs_of(value: object) -> list[Graph]:
    items = value if isinstance(value, tuple) else (value,)
    return [item for item in items if isinstance(item, Graph)]


def _count(nodes: list[Node], graph: Graph) -> str:
    return "more" if len(nodes) > len(graph.nodes) else str(len(nodes))


def _range(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most >= 1 << 30 else f"{least} to {most}"


def _key(key: FunctionKey) -> str:
    domain, name, overload = key
    return f"'{domain}::{name}{':' if overload else ''}{overload}'"
