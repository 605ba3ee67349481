"""Columns of an activation that are far larger than the others are multiplied apart, in floats, so that one scale does for the others.

``x @ W = (x * m) @ W' + x[cols] @ W[cols]`` where ``m`` is 0 for a few columns and 1 for the others, and ``W'`` is ``W`` with zeros in
their rows. Transformers have such columns: one number of 17 among thousands below 4 costs two of eight bits of all the others when a tensor
has one scale. Data say which columns they are, and how much the range shrinks without them. Both sides are exact, whatever comes later.

Products with constant matrices, float32, in the main graph; those that read one activation share its halves. Touches weights; needs types
and data. Numerics: re-associates. Source: Dettmers et al., LLM.int8(), 2022 (arXiv 2208.07339), section 3 (here by column for all rows).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from graphopt.errors import CalibrationError
from graphopt.ir import Graph, Model, Node, Value, constant_of
from graphopt.numerics import Numerics, Reassociates
from graphopt.passes import Pass, PassContext, PassResult
from graphopt.rewriting import NoMatch, Rewriter
from graphopt.transforms.quantization.dynamic.product import dynamic_product
from graphopt.transforms.quantization.layers import Selection
from graphopt.transforms.quantization.products import Product
from graphopt.transforms.statistics import ChannelExtremes

__all__ = ["SplitOutliers", "outlying_columns"]

#: Of so many columns one may be split off.
_SHARE: Final = 16
_Ends = NDArray[np.floating[Any]]


def outlying_columns(low: _Ends, high: _Ends, *, most: int, least: float) -> tuple[list[int], float]:
    """The columns without which a range is much smaller, and how much smaller, in dB.

    Each more column must bring 1 dB more.

    Args:
        low: smallest number of each column.
        high: largest number of each column.
        most: columns that may be found.
        least: dB that they must bring.

    Returns:
        Sorted columns, none where they bring too little.

    Example:
        >>> columns, gain = outlying_columns(np.array([-1.0, -1, -1]), np.array([1.0, 31, 1]), most=2, least=6)
        >>> columns, round(gain, 1)
        ([1], 24.1)
    """
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    order = np.argsort(np.maximum(-low, high), kind="stable")[::-1]
    whole = float(high.max() - low.min())
    best, gain = 0, 0.0
    for count in range(1, min(most, len(order) - 1) + 1):
        rest = order[count:]
        left = float(high[rest].max() - low[rest].min())
        found = 20 * math.log10(whole / left) if left > 0 else math.inf
        if found >= least and (not best or found - count > gain - best) and math.isfinite(found):
            best, gain = count, found
    return sorted(int(column) for column in order[:best]), gain


@dataclass(frozen=True)
class SplitOutliers(Pass):
    """Multiply a few columns of an activation that are far larger than the others apart, in floats.

    For layers that ``quantize-dynamic`` is to make integer ones afterwards. Touches weights; needs types and data. Numerics: re-associates.

    Attributes:
        most: columns that may be split off an activation.
        least: dB by which the range of the others must shrink.
        include: layers to work on, by name, pattern or ``op:MatMul``; all if empty.
        exclude: layers to leave as they are.
    """

    name: ClassVar[str] = "split-outliers"
    numerics: ClassVar[Numerics] = Reassociates()
    keeps_types: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    most: Annotated[int, msgspec.Meta(ge=1)] = 4
    least: Annotated[float, msgspec.Meta(gt=0)] = 4.0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Look at what the layers read, and split where that pays.

        Raises:
            CalibrationError: if there is no data, or it can't be looked at.
        """
        if not isinstance(graph.owner, Model):
            return PassResult(changed=False)
        layers = list(self._layers(graph))
        if not layers:
            return PassResult(changed=False)
        if ctx.calibration is None:
            raise CalibrationError(
                f"{self.name}: there is no data to see what {len(layers)} layers read; give some with --calibrate"
            )
        seen = {product.x.name: ChannelExtremes(axis=-1) for _node, product in layers}
        ctx.calibration.observe(graph.owner, seen)
        rewriter, columns = Rewriter(ctx.types), 0
        done = 0
        for node, product in layers:
            observer, site = seen[product.x.name], node.output.name
            if not observer.seen or not ctx.applications.admits(self.name, site):
                continue
            most = min(self.most, product.inner // _SHARE)
            found, _gain = outlying_columns(observer.low, observer.high, most=most, least=self.least)
            if not found:
                continue
            _split(node, product, found, rewriter)
            ctx.applications.record(self.name, site)
            done, columns = done + 1, columns + len(found)
        return PassResult(changed=done > 0, stats={"layers": done, "columns": columns} if done else {})

    def _layers(self, graph: Graph) -> Iterator[tuple[Node, Product]]:
        """Products in the main graph whose activations are seen there."""
        selection = Selection(self.include, self.exclude)
        for node in graph.nodes:
            product = dynamic_product(node)
            if isinstance(product, NoMatch) or not selection.admits(node) or (product.x.rank or 0) < 2:
                continue
            if product.inner >= _SHARE and not _is_masked(product.x):
                yield node, product


def _is_masked(x: Value) -> bool:
    """Whether columns were split off an activation already."""
    producer = x.producer
    if producer is None or producer.op != "Mul":
        return False
    constants = (constant_of(value) for value in producer.inputs)
    return any(item is not None and item.ndim == 1 and np.isin(item.numpy(), (0, 1)).all() for item in constants)


def _split(node: Node, product: Product, columns: list[int], rw: Rewriter) -> None:
    """``x @ W`` as a product of the masked activation and one of its columns, which is added behind a bias."""
    bias = _bias_behind(node, product.outer)
    root = node if bias is None else bias
    rw.start(root)
    rw.matched = [node] if bias is None else [bias, node]
    rest, picked = _halves(product, columns, rw)
    matrix = product.matrix().astype(np.float32)
    few = rw.constant(matrix[columns] * np.float32(product.alpha), f"{product.weight.name}_columns")
    matrix[columns] = 0
    weight = rw.constant(np.ascontiguousarray(matrix.T) if product.is_transposed else matrix, product.weight.name)
    weight.quantization = product.known
    inputs, name = [rest, weight, *node.inputs[2:]], node.name
    total = rw.new_node(node.op, inputs, attributes=dict(node.attributes), name=name).output
    if bias is not None:
        terms = [total if value is node.output else value for value in bias.inputs]
        total = rw.new_node("Add", terms, name=bias.name).output
    apart = rw.new_node("MatMul", [picked, few], name=rw.graph.fresh_name(f"{name}_columns")).output
    rw.finish(root, [rw.new_node("Add", [total, apart], name=rw.graph.fresh_name(f"{name}_sum")).output])


def _bias_behind(node: Node, columns: int) -> Node | None:
    """The node that adds a row to a product, where nothing else reads it: runtimes make one kernel of both."""
    user = node.output.users[0] if node.output.has_single_use else None
    if user is None or user.op != "Add" or user.graph is not node.graph:
        return None
    terms = [constant_of(value) for value in user.inputs if value is not node.output]
    return user if len(terms) == 1 and terms[0] is not None and terms[0].shape == (columns,) else None


def _halves(product: Product, columns: list[int], rw: Rewriter) -> tuple[Value, Value]:
    """An activation with zeros in some columns, and these columns; once for all that read it."""
    x, key = product.x, (_halves, product.x)
    known = rw.memo.get(key)
    if known is not None:
        return cast("tuple[Value, Value]", known)
    mask = np.ones(product.inner, np.float32)
    mask[columns] = 0
    rest = rw.new_node("Mul", [x, mask], name=rw.graph.fresh_name(f"{x.name}_rest"))
    picked = rw.new_node(
        "Gather", [x, np.array(columns)], attributes={"axis": -1}, name=rw.graph.fresh_name(f"{x.name}_columns")
    )
    for made in (rest, picked):
        rw.put_behind(x, made)
    rw.memo[key] = found = rest.output, picked.output
    return found
