"""A model and its reference in one: both run on the same data at once, so that what they give is seen side by side."""

from __future__ import annotations

from collections.abc import Collection

from graphopt.errors import PassError
from graphopt.ir import Model, Value, clone_model, inline_graph, replace_all_uses
from graphopt.passes import Reference

__all__ = ["cut_to", "joined"]


def joined(model: Model, reference: Reference) -> tuple[Model, dict[str, str]]:
    """A copy of a model that also computes all that the reference does, and the names of the reference's tensors in it.

    Raises:
        PassError: if they are of other operator sets, or have other inputs.
    """
    both = clone_model(model)
    before = reference.model
    versions = {domain: version for domain, version in before.opset_imports.items() if domain in both.opset_imports}
    if any(both.opset_imports[domain] != version for domain, version in versions.items()):
        raise PassError("the model was pruned at another opset; raise the opset before that, or recover right after it")
    both.opset_imports.update({domain: before.opset_imports[domain] for domain in before.opset_imports})
    both.functions.update({key: function for key, function in before.functions.items() if key not in both.functions})
    inputs = {value.name: value for value in both.graph.inputs}
    lacking = [value.name for value in before.graph.inputs if value.name not in inputs and value.const is None]
    first = next(iter(both.graph.nodes), None)
    if lacking or first is None:
        raise PassError(
            f"the model has no input {lacking[:1]} any more, which it had before it was pruned; recover right after that"
        )
    given = {value: inputs[value.name] for value in before.graph.inputs if value.name in inputs}
    copies = inline_graph(before.graph, first, given)
    return both, {value.name: copy.name for value, copy in copies.items() if value.name}


def cut_to(model: Model, names: Collection[str], start: Collection[str] = ()) -> None:
    """Drop from a model what some tensors don't need; they become its outputs.

    Args:
        model: edited in place; all its inputs stay.
        names: of the tensors that are wanted.
        start: names of tensors that become further inputs, so that what gives them is dropped too.
    """
    graph = model.graph
    while graph.outputs:
        graph.remove_output(-1)
    for value in [value for value in graph.values() if value.name in start]:
        value.name, name = "", value.name
        replace_all_uses(value, graph.add_input(Value(name, value.type)))
    for value in list(graph.values()):
        if value.name in names and not value.is_input:
            graph.add_output(value)
    for node in reversed(graph.nodes):
        if not any(value.is_used for value in node.outputs):
            graph.erase(node)
