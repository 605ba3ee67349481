"""Strategies of inputs for a given model."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import DrawFn, SearchStrategy
from onnx import ModelProto

from graphopt.errors import ExecutionError
from graphopt.ir import Array, SymbolicDim
from graphopt.runtime.base import ValueSpec
from graphopt.runtime.onnxruntime_runner import OrtRunner
from graphopt.testing.generated import GeneratedModel
from graphopt.testing.strategies.arrays import draw_array
from graphopt.testing.strategies.choices import Choices
from graphopt.testing.strategies.traps import may_trap

__all__ = ["feeds"]

_SIZES = (1, 2, 3, 4, 5)
_TRIES = 5


@st.composite
def _feeds(draw: DrawFn, model: GeneratedModel | ModelProto, extremes: bool) -> dict[str, Array]:
    known = model.feeds[0] if isinstance(model, GeneratedModel) and model.feeds else {}
    proto = model.proto if isinstance(model, GeneratedModel) else model
    try:
        runner = OrtRunner(proto, threads=1)
    except ExecutionError as err:
        raise InvalidArgument(f"no inputs can be drawn: {err}") from err
    choices = Choices(draw)
    with runner:
        for _ in range(_TRIES):
            sizes: dict[str, int] = {}
            found = {spec.name: _one(choices, spec, sizes, known, extremes=extremes) for spec in runner.inputs}
            if may_trap(proto, [found]):
                continue
            try:
                runner.run(found)
            except ExecutionError:
                continue
            return found
    reject()


def _one(
    choices: Choices, spec: ValueSpec, sizes: dict[str, int], known: Mapping[str, Array], *, extremes: bool
) -> Array:
    tensor = spec.tensor
    if tensor is None:
        raise InvalidArgument(f"no inputs can be drawn: input {spec.name!r} is {spec.type}, expected a tensor")
    like = known.get(spec.name)
    dims = tensor.shape if tensor.shape is not None else (None,) * (2 if like is None else like.ndim)
    shape: list[int] = []
    for axis, dim in enumerate(dims):
        if isinstance(dim, int):
            shape.append(dim)
            continue
        usual = _SIZES if like is None else (like.shape[axis], *_SIZES)
        if isinstance(dim, SymbolicDim):
            shape.append(sizes.setdefault(str(dim), choices.of(usual)))
        else:
            shape.append(choices.of(usual))
    return draw_array(choices, tensor.dtype, shape, wild=extremes)


def feeds(model: GeneratedModel | ModelProto, *, allow_extremes: bool = False) -> SearchStrategy[dict[str, Array]]:
    """Inputs on which ONNX Runtime runs a model, of any sizes that its declarations leave open.

    Args:
        model: whose inputs are tensors.
        allow_extremes: whether NaN, infinities and the like may be among the numbers.

    Returns:
        Arrays by name.

    Raises:
        InvalidArgument: when drawn from, if ONNX Runtime does not load the model, or an input is no tensor.

    Example:
        >>> from hypothesis import Phase, given, settings
        >>> from onnx.parser import parse_model
        >>> model = parse_model('<ir_version: 8, opset_import: ["": 17]> g (float[n, 2] x) => (float[n, 2] y) { y = Neg(x) }')
        >>> @settings(max_examples=2, database=None, deadline=None, phases=[Phase.generate])
        ... @given(feeds(model))
        ... def test_sizes_fit(found):
        ...     assert found["x"].shape[1] == 2
        >>> test_sizes_fit()
    """
    return _feeds(model, allow_extremes)
