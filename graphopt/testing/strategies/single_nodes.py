"""Strategies of what single nodes are made of: attributes by schema, and models of one node."""

from __future__ import annotations

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.ir import AttributeValue, find_schema, newest_opset
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.attribute_values import draw_attribute
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.drawn_models import graphs

__all__ = ["attributes", "nodes"]


@st.composite
def _attributes(draw: DrawFn, op: str, opset: int | None) -> dict[str, AttributeValue]:
    domain, _, name = op.rpartition("::")
    schema = find_schema(domain, name, (newest_opset() if not domain else 1 << 20) if opset is None else opset)
    if schema is None:
        raise InvalidArgument(f"no operator {op!r} at opset {'any' if opset is None else opset}; check the spelling")
    choices = Choices(draw)
    found = {
        key: draw_attribute(choices, spec)
        for key, spec in schema.attributes.items()
        if spec.required or choices.chance(0.6)
    }
    return {key: value for key, value in found.items() if value is not None}


def attributes(op: str, *, opset: int | None = None) -> SearchStrategy[dict[str, AttributeValue]]:
    """Attributes that the schema of an operator allows, each alone: whether they go together depends on the operands.

    Args:
        op: ``Name`` in the default domain, or ``domain::Name``.
        opset: of the domain; the newest when ``None``.

    Raises:
        InvalidArgument: when drawn from, if there is no such operator.

    Example:
        >>> from hypothesis import find
        >>> find(attributes("LeakyRelu"), lambda found: "alpha" in found)
        {'alpha': 0.009999999776482582}
    """
    return _attributes(op, opset)


@st.composite
def _nodes(draw: DrawFn, op: str, opset: SearchStrategy[int] | None, extremes: bool) -> GeneratedModel:
    found = draw(graphs(op_types=[op], min_nodes=1, max_nodes=1, opsets=opset, allow_extremes=extremes))
    if not any(node.op_type == op.rpartition("::")[2] for node in found.proto.graph.node):
        reject()
    return found


def nodes(
    op: str, *, opsets: SearchStrategy[int] | None = None, allow_extremes: bool = True
) -> SearchStrategy[GeneratedModel]:
    """Models of one node of an operator, with operands and attributes that go together (and Constant nodes for its constants).

    Args:
        op: an operator of the default domain, or of an installed plugin as ``domain::Name``.
        opsets: of the default domain.
        allow_extremes: whether NaN, infinities and the like may be among the numbers.

    Raises:
        InvalidArgument: when drawn from, if no nodes can be drawn of the operator.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(nodes("Conv"))
        ... def test_weights_are_there(model):
        ...     assert any(node.op_type == "Conv" for node in model.proto.graph.node)
        >>> test_weights_are_there()
    """
    return _nodes(op, opsets, allow_extremes)
