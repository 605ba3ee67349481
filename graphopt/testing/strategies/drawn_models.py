"""Strategies of whole models: plain graphs, and models with all that files in the wild have."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy

from graphopt.ir import DType
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.assembly import Style, assemble
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.element_types import WEIGHTS
from graphopt.testing.strategies.growth import families_at, grow, operators_at
from graphopt.testing.strategies.kernels import newest_runtime_opset
from graphopt.testing.strategies.motifs import grow_motifs
from graphopt.testing.strategies.plugin_operators import plugin_operator
from graphopt.testing.strategies.samplers import SAMPLERS
from graphopt.testing.strategies.scope import Scope, World

__all__ = ["draw_model", "graphs", "known_opsets", "models", "opsets"]

_OLDEST = 7


def opsets(*, min_opset: int = _OLDEST, max_opset: int | None = None) -> SearchStrategy[int]:
    """Opsets of the default domain that ONNX Runtime runs; shrinks to a recent one.

    Args:
        min_opset: oldest one, 7 at least: before that operators broadcast by attributes.
        max_opset: newest one; the newest that the installed ``onnx`` and ONNX Runtime know when ``None``.

    Example:
        >>> from hypothesis import find
        >>> find(opsets(), lambda opset: True)
        17
    """
    return st.sampled_from(known_opsets(min_opset, max_opset))


def known_opsets(low: int = _OLDEST, high: int | None = None) -> list[int]:
    """Opsets that ONNX Runtime runs, common ones first."""
    newest = newest_runtime_opset()
    low, high = max(_OLDEST, low), newest if high is None else min(newest, high)
    common = [version for version in (17, 21, 13, 18, 20, 22, 11, 15, 9) if low <= version <= high]
    return [*common, *(version for version in range(low, high + 1) if version not in common)]


def draw_model(
    choices: Choices,
    opset: int,
    *,
    nodes: int,
    ops: Sequence[str] | None,
    dtypes: Collection[DType],
    wild: bool,
    plain: bool,
) -> GeneratedModel | None:
    """A model, ``None`` when what came out is refused as a whole."""
    weights = {dtype: weight for dtype, weight in WEIGHTS.items() if dtype in dtypes}
    if choices.chance(0.25):  # many values of an element type that is rare otherwise
        weights[choices.of(list(weights))] += 30
    scope = Scope(World(choices, opset, wild, weights, empty=choices.chance(0.15)))
    favourite = "" if ops is not None or choices.chance(0.5) else choices.of(list(families_at(opset)))
    while nodes > 0:
        if not plain and ops is None and choices.chance(0.4):
            grow_motifs(scope)
            nodes -= 2
        else:
            grow(scope, 1, ops=ops, favourite=favourite)
            nodes -= 1
    if not scope.nodes:
        return None
    style = Style(symbolic=True, outputs=True, overridable=not plain, statements=not plain)
    return assemble(scope, style)


def _check(ops: Collection[str] | None, low: int, high: int) -> None:
    if not 1 <= low <= high:
        raise InvalidArgument(f"expected 1 <= min_nodes <= max_nodes, found min_nodes={low!r}, max_nodes={high!r}")
    unknown = sorted(op for op in ops or () if op not in SAMPLERS and plugin_operator(op) is None)
    if unknown:
        raise InvalidArgument(
            f"no nodes can be drawn of {', '.join(unknown)}; known operators: {', '.join(sorted(SAMPLERS))}"
        )


@st.composite
def _models(
    draw: DrawFn,
    op_types: Collection[str] | None,
    min_nodes: int,
    max_nodes: int,
    opset: SearchStrategy[int] | None,
    dtypes: Collection[DType] | None,
    allow_extremes: bool,
    plain: bool,
) -> GeneratedModel:
    _check(op_types, min_nodes, max_nodes)
    choices = Choices(draw)
    version = draw(opsets() if opset is None else opset)
    ops = None
    if op_types is not None:
        ops = [op for op in op_types if "::" in op or op in operators_at(version)]
        if not ops:
            reject()
    found = draw_model(
        choices,
        version,
        nodes=choices.integer(min_nodes, max_nodes),
        ops=ops,
        dtypes=WEIGHTS if dtypes is None else dtypes,
        wild=allow_extremes and choices.chance(0.4),
        plain=plain,
    )
    if found is None:
        reject()
    return found


def graphs(
    *,
    op_types: Collection[str] | None = None,
    min_nodes: int = 1,
    max_nodes: int = 6,
    opsets: SearchStrategy[int] | None = None,
    dtypes: Collection[DType] | None = None,
    allow_extremes: bool = True,
) -> SearchStrategy[GeneratedModel]:
    """Models of one plain graph: nodes without subgraphs, no functions, no constants that callers may override.

    Operands are chosen so that they fit, with broadcasting, scalars, empty tensors, absent optional inputs, unused outputs, values
    that are used many times or given out, shared and equal constants, symbolic dimensions. Each model passes ``onnx.checker`` and
    runs in ONNX Runtime on each of its ``feeds``.

    Args:
        op_types: operators to make nodes of, those of installed plugins as ``domain::Name``; any of about 160 of the default domain
            when ``None``.
        min_nodes: how many nodes are tried at least; what ONNX Runtime refuses is left out, so a model may have fewer.
        max_nodes: and at most.
        opsets: of the default domain; 7 to the newest by default.
        dtypes: element types of data.
        allow_extremes: whether NaN, infinities, denormals and huge numbers may be among the numbers; such models are tagged ``"wild"``.

    Raises:
        InvalidArgument: when drawn from, if an operator is unknown or numbers of nodes are none.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(graphs(op_types=["Relu", "Neg"]))
        ... def test_each_model_runs(model):
        ...     assert {"Relu", "Neg"} >= {node.op_type for node in model.proto.graph.node} and model.feeds
        >>> test_each_model_runs()
    """
    return _models(op_types, min_nodes, max_nodes, opsets, dtypes, allow_extremes, True)


def models(
    *,
    op_types: Collection[str] | None = None,
    min_nodes: int = 1,
    max_nodes: int = 10,
    opsets: SearchStrategy[int] | None = None,
    dtypes: Collection[DType] | None = None,
    allow_extremes: bool = True,
) -> SearchStrategy[GeneratedModel]:
    """Models with all that files in the wild have.

    What :func:`graphs` has, and besides: If, Loop and Scan with captured values, sequences, model-local functions with attributes,
    shape arithmetic, quantized pieces, normalizations and activations spelt out, constants that callers may override, inputs that
    nobody reads, types stated of inner values, all IR versions.

    Args:
        op_types: see :func:`graphs`; where stated, no other operators and none of the pieces above are in the model.
        min_nodes: see :func:`graphs`.
        max_nodes: see :func:`graphs`.
        opsets: see :func:`graphs`.
        dtypes: see :func:`graphs`.
        allow_extremes: see :func:`graphs`.

    Raises:
        InvalidArgument: see :func:`graphs`.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(models(max_nodes=3))
        ... def test_each_model_runs(model):
        ...     assert model.feeds
        >>> test_each_model_runs()
    """
    return _models(op_types, min_nodes, max_nodes, opsets, dtypes, allow_extremes, False)
